"""What is inside an artifact and its archives, for programs."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines import contents, forgetting
from pipelines.api.base import ApiView, has_already, query
from pipelines.api.schema import operation, shape
from pipelines.archives import Listing, Member
from pipelines.models import Artifact

TAG = "Runs"
ASKED = {
    "path": "Of a file that is an archive: what is inside it. Without it, the files themselves."
}


class MemberAnswer(TypedDict):
    path: str
    size: int | None
    kind: str
    link_target: str | None
    mode: str | None
    executable: bool
    danger: str | None
    sha256: str | None


class ContentsAnswer(TypedDict):
    """`count` and `total_size` are of all members that were counted, shown or not."""

    path: str
    kind: str
    members: list[MemberAnswer]
    count: int
    total_size: int
    truncated: bool
    warnings: list[str]


class ArtifactContentsView(ApiView):
    @operation(
        "What is inside an artifact, or inside an archive in it",
        {200: shape(ContentsAnswer)},
        refusals=(404, 410, 503),
        query=ASKED,
        tag=TAG,
    )
    def get(self, request: Request, artifact: int) -> Response:
        found = get_object_or_404(Artifact, pk=artifact)
        files = found.files.select_related("blob")
        return answer(request, files, lambda: forgetting.require_bytes(found))


def answer(request: Request, files: "QuerySet[Any]", require_bytes: Callable[[], None]) -> Response:
    """The files of an artifact or version, or what is inside the one that is named, whose bytes
    are required to be kept.

    A listing's tag is known without a look, so whoever has it already costs nothing.
    """
    path = query(request, "path", is_list=False).get("path", "")
    if not path:
        return Response(_of_files(files))
    file = get_object_or_404(files, path=path)
    require_bytes()
    tag = contents.tag(file.blob)
    headers: Mapping[str, str] = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if has_already(request, tag):
        return Response(status=304, headers=headers)
    listing = contents.look_into(file.blob, path.rpartition("/")[2], by=caller(request))
    # Another time one that time has cut short may be longer: its tag is told by what it says.
    return Response(_of_archive(path, listing), headers={} if listing.is_hurried else headers)


def _of_files(files: "QuerySet[Any]") -> ContentsAnswer:
    members: list[MemberAnswer] = [
        {
            "path": file.path,
            "size": file.blob.size,
            "kind": "file",
            "link_target": None,
            "mode": None,
            "executable": file.executable,
            "danger": None,
            "sha256": file.blob.sha256,
        }
        for file in files
    ]
    return {
        "path": "",
        "kind": "files",
        "members": members,
        "count": len(members),
        "total_size": sum(member["size"] or 0 for member in members),
        "truncated": False,
        "warnings": [],
    }


def _of_archive(path: str, listing: Listing) -> ContentsAnswer:
    return {
        "path": path,
        "kind": listing.kind,
        "members": [_member_answer(member) for member in listing.members],
        "count": listing.count,
        "total_size": listing.total,
        "truncated": listing.is_truncated,
        "warnings": list(listing.warnings),
    }


def _member_answer(member: Member) -> MemberAnswer:
    return {
        "path": member.path,
        "size": member.size,
        "kind": member.kind.value,
        "link_target": member.link_target or None,
        "mode": None if member.mode is None else f"{member.mode:04o}",
        "executable": member.executable,
        "danger": member.danger.value if member.danger else None,
        "sha256": None,
    }
