"""Calls on the workers that execute jobs."""

from rest_framework.request import Request
from rest_framework.response import Response

from pipelines.api.base import ApiView, page, query
from pipelines.api.schema import operation, page_of
from pipelines.api.shapes_of_places import RunnerAnswer, runner_answer
from pipelines.models import Runner


class RunnersView(ApiView):
    @operation("List the runners", {200: page_of(RunnerAnswer)}, tag="Runners", is_list=True)
    def get(self, request: Request) -> Response:
        query(request)
        return page(self, request, Runner.objects.all(), runner_answer)
