"""The page of the storage: what is kept, what is about to go, and what takes most of it."""

from django.http import HttpResponse
from django.shortcuts import render

from pipelines.web.doors import PageRequest, page
from promotion import rules, usage


@page("GET")
def overview(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "retention.preview")
    context = {"storage": usage.overview(), "packages": usage.biggest_packages()}
    return render(request, "promotion/storage.html", context)
