"""The page of the workers that execute jobs."""

from django.http import HttpResponse
from django.shortcuts import render

from pipelines.models import Runner
from pipelines.web.doors import PageRequest, page
from pipelines.web.paging import in_order


@page("GET")
def runner_list(request: PageRequest) -> HttpResponse:
    listed = in_order(request, Runner.objects.all())
    return render(request, "pipelines/runner_list.html", {"page": listed})
