"""What is inside a version and its archives, for programs."""

from rest_framework.request import Request
from rest_framework.response import Response

from pipelines.api.base import ApiView
from pipelines.api.contents import ASKED, ContentsAnswer, answer
from pipelines.api.schema import operation, shape
from promotion import publishing
from promotion.api import lookups


class VersionContentsView(ApiView):
    @operation(
        "What is inside a version, or inside an archive in it",
        {200: shape(ContentsAnswer)},
        refusals=(404, 410, 503),
        query=ASKED,
        tag="Repositories",
    )
    def get(self, request: Request, repository: str, package: str, version: str) -> Response:
        found = lookups.version_for_bytes(repository, package, version)
        files = found.files.select_related("blob")
        return answer(request, files, lambda: publishing.require_bytes(found))
