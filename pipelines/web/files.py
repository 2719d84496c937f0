"""Files as a tree, and the page of one file: what is in an archive, how a text begins.

Shared by the pages of artifacts and of versions, whose files are alike.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse

from accounts.models import User
from pipelines import contents, forgetting
from pipelines.archives import Listing, Member, MemberKind
from pipelines.errors import Invalid, NotFound, SluiceError
from pipelines.models import Artifact, Blob
from pipelines.web import paging
from pipelines.web.doors import PageRequest, one, page, shown
from pipelines.web.trees import Entry, Folder, tree

SIZE = 200
#: So long a page looks at the beginnings of its files; what is not known by then is just opened.
SNIFFING = 0.5
ACTS = {"archive": "Look inside", "text": "Preview", "": ""}
NOTES = {
    MemberKind.SYMLINK: "link to",
    MemberKind.HARDLINK: "hard link to",
    MemberKind.DEVICE: "device",
    MemberKind.OTHER: "neither file nor folder",
}


class StoredFile(Protocol):
    """A file of an artifact or of a version."""

    path: str
    blob: Any
    executable: bool


Address = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Shown:
    """One page of a tree, after the filter `sought`; `count` is of all there is."""

    top: Folder
    sought: str
    count: int
    found: int
    previous: str | None
    next: str | None
    #: The field that the filter is sent in, and what else its form sends along.
    field: str = "files"


@dataclass(frozen=True, slots=True)
class Owner:
    """What the file belongs to: how it is called, and what leads there."""

    name: str
    crumbs: Sequence[tuple[str, str]]
    download: str


# ---- All files ---------------------------------------------------------------------------------
def files_shown(
    request: PageRequest,
    files: "QuerySet[Any]",
    address: Address,
    download: Address,
    *,
    has_bytes: bool,
) -> Shown:
    """The files of an artifact or version as a tree, with what can be done with each: nothing once
    their bytes are no longer kept."""
    sought = request.GET.get("files", "").strip()[:200]
    count = files.count()
    matching = files.filter(path__icontains=sought) if sought else files
    rows = paging.in_order(request, matching.select_related("blob"), size=SIZE)
    end = time.monotonic() + SNIFFING
    entries = [
        Entry(
            path=file.path,
            size=file.blob.size,
            digest=file.blob.sha256,
            executable=file.executable,
            address=address(file.path) if has_bytes else "",
            act=_act(file.blob, end) if has_bytes else "",
            download=download(file.path) if has_bytes else "",
        )
        for file in rows.rows
    ]
    found = matching.count() if sought else count
    return Shown(tree(entries), sought, count, found, rows.previous, rows.next)


def _act(blob: Blob, end: float) -> str:
    found = contents.known_sniff(blob)
    if found is None and time.monotonic() < end:
        try:
            found = contents.sniff(blob)
        except SluiceError:
            # Its own page says what is wrong with it.
            found = None
    return "Open" if found is None else ACTS[found]


# ---- One file ----------------------------------------------------------------------------------
def file_page(request: PageRequest, file: StoredFile, owner: Owner) -> HttpResponse:
    """The page of one file, or of one member of it."""
    name = file.path.rpartition("/")[2]
    context: dict[str, Any] = {
        "owner": owner,
        "file": file,
        "name": name,
        "title": name,
        "here": request.path,
    }
    refused: SluiceError | None = None
    try:
        wanted = request.GET.get("member", "")
        if wanted:
            context |= _member(file, name, wanted, by=request.user)
        elif contents.sniff(file.blob) == "archive":
            context |= _listing(request, contents.look_into(file.blob, name, by=request.user))
        else:
            context["text"] = contents.read_text(file.blob)
    except Invalid as error:
        refused = error
    return shown(request, "pipelines/file.html", context, refused)


def _member(file: StoredFile, name: str, wanted: str, *, by: User) -> dict[str, Any]:
    if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 9:
        raise NotFound(f"There is no member “{wanted[:40]}” in {name}.")
    found = contents.read_member(file.blob, name, int(wanted), by=by)
    assert found.member is not None
    return {"text": found, "member": found.member, "title": found.member.path}


def _listing(request: PageRequest, listing: Listing) -> dict[str, Any]:
    sought = request.GET.get("files", "").strip()[:200]
    wanted = sought.casefold()
    members = [
        (at, member)
        for at, member in enumerate(listing.members)
        if wanted in member.path.casefold()
    ]
    members.sort(key=lambda each: each[1].path)
    rows = paging.of_list(request, members, size=SIZE)
    return {
        "listing": listing,
        "dangers": sum(member.danger is not None for member in listing.members),
        "shown": Shown(
            tree(_entry(at, member) for at, member in rows.rows),
            sought,
            len(listing.members),
            len(members),
            rows.previous,
            rows.next,
        ),
    }


def _entry(at: int, member: Member) -> Entry:
    is_file = member.kind == MemberKind.FILE
    note = NOTES.get(member.kind, "")
    return Entry(
        path=member.path,
        size=member.size,
        executable=member.executable,
        note=f"{note} {member.link_target}" if member.link_target else note,
        danger=member.danger or "",
        address=f"?{urlencode({'member': at})}" if is_file and member.size != 0 else "",
        act="Preview",
        is_folder=member.kind == MemberKind.FOLDER,
    )


# ---- Of an artifact ----------------------------------------------------------------------------
def address_in(artifact: Artifact) -> Address:
    return lambda path: reverse("pipelines:artifact_file", args=[artifact.pk, path])


def download_of(artifact: Artifact) -> Address:
    return lambda path: reverse("api:artifact-file", args=[artifact.pk, path])


@page("GET")
def artifact_file(request: PageRequest, artifact_id: int, path: str) -> HttpResponse:
    artifact = one(
        Artifact.objects.select_related("run__pipeline"),
        f"There is no artifact {artifact_id}.",
        pk=artifact_id,
    )
    file = one(
        artifact.files.select_related("blob"),
        f"{artifact.name} has no file “{path[:120]}”.",
        path=path,
    )
    forgetting.require_bytes(artifact)
    run = artifact.run
    crumbs = [
        ("Pipelines", reverse("pipelines:pipeline_list")),
        (run.pipeline.slug, reverse("pipelines:pipeline", args=[run.pipeline.slug])),
        (str(run), reverse("pipelines:run", args=[run.pipeline.slug, run.number])),
        (artifact.name, reverse("pipelines:artifact", args=[artifact.pk])),
    ]
    return file_page(request, file, Owner(artifact.name, crumbs, download_of(artifact)(path)))
