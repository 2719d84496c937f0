"""One look at an archive: its listing, or the beginning of one member."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from pipelines.archives import tars, zips
from pipelines.archives.dangers import Judge
from pipelines.archives.kinds import HEAD, kind_of, may_end_in_zip
from pipelines.archives.nouns import (
    BOUNDS,
    Bounds,
    Budget,
    Damaged,
    Listing,
    Member,
    MemberKind,
    OutOfTime,
    Stopped,
)
from pipelines.archives.streams import File, Forward, Stored, Unpacked
from pipelines.errors import Invalid

SUFFIXES = (".gz", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class Archive:
    """A file of `size` bytes; `name` says only what a lone compressed file would be called."""

    file: File
    size: int
    name: str = ""


@dataclass(slots=True)
class _Found:
    """A listing in the making."""

    bounds: Bounds
    kind: str
    members: list[Member] = field(default_factory=list)
    count: int = 0
    total: int = 0
    names: int = 0
    is_truncated: bool = False
    is_hurried: bool = False
    warnings: list[str] = field(default_factory=list)

    def has_room(self, member: Member) -> bool:
        """Whether the member is still shown; names that are too long in all count too."""
        self.names += len(member.path) + len(member.link_target)
        if len(self.members) == self.bounds.shown or self.names > self.bounds.names:
            self.is_truncated = True
        return not self.is_truncated

    def add(self, member: Member) -> None:
        if self.count >= self.bounds.counted:
            raise Stopped(f"It has more than {self.bounds.counted:,} members.")
        self.count += 1
        self.total += member.size or 0
        if self.has_room(member):
            self.members.append(member)

    def stop(self, why: Stopped | Damaged) -> None:
        """Keep what there is; with nothing at all there is nothing to show."""
        if isinstance(why, Damaged) and not self.count:
            raise Invalid(f"{why}, before any member. It cannot be looked into.") from why
        self.is_truncated = True
        self.is_hurried = isinstance(why, OutOfTime)
        end = ": what follows is not shown." if isinstance(why, Damaged) else ""
        self.warnings.append(f"{why}{end}")

    def listing(self) -> Listing:
        if len(self.members) < self.count:
            self.warnings.append(
                f"Only the first {len(self.members):,} of {self.count:,} members are shown."
            )
        return Listing(
            self.kind,
            tuple(self.members),
            self.count,
            self.total,
            self.is_truncated,
            tuple(self.warnings),
            self.is_hurried,
        )


def look(archive: Archive, bounds: Bounds = BOUNDS) -> Listing:
    """What is in the archive. Raises Invalid where it cannot be told."""
    budget = Budget(bounds, archive.size)
    form = form_of(archive)
    found = _Found(bounds, form)
    try:
        if form == "zip":
            _look_at_zip(found, archive, budget)
        else:
            _look_at_tar(found, archive, form, budget)
    except (Stopped, Damaged) as why:
        found.stop(why)
    return found.listing()


def form_of(archive: Archive) -> str:
    """The form of an archive. Raises Invalid where it is none that can be looked into."""
    archive.file.seek(0)
    head = archive.file.read(HEAD)
    kind = kind_of(head)
    if kind.form:
        return kind.form
    if not kind.why_not and may_end_in_zip(head) and _ends_in_zip(archive):
        return "zip"
    raise Invalid(
        f"This file is {kind.why_not or 'no archive'}. Tar archives, plain or packed with gzip, "
        "bzip2 or xz, and zips can be looked into."
    )


def _ends_in_zip(archive: Archive) -> bool:
    try:
        zips.find_directory(archive.file, archive.size)
    except Damaged:
        return False
    return True


def _look_at_tar(found: _Found, archive: Archive, form: str, budget: Budget) -> None:
    tar = _open_tar(archive, form, budget)
    if tar is None:
        found.add(Member(_lone_name(archive.name), None))
        return
    found.kind = "tar" if form == "tar" else f"tar.{form}"
    judge = Judge()
    for member, _ in tars.entries(tar, budget):
        found.add(judge.judge(member))


def _open_tar(archive: Archive, form: str, budget: Budget) -> Forward | None:
    """The tar, unpacked as it is read; None where what is compressed is no tar."""
    if form == "tar":
        return Forward(Stored(archive.file, 0, archive.size, budget))
    if tars.is_header(_unpacked(archive, form, budget).read(tars.BLOCK)):
        return _unpacked(archive, form, budget)
    return None


def _unpacked(archive: Archive, form: str, budget: Budget) -> Forward:
    return Forward(Unpacked(Stored(archive.file, 0, archive.size, budget), form, budget))


def _lone_name(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in SUFFIXES and path.stem else path.name or "content"


def _look_at_zip(found: _Found, archive: Archive, budget: Budget) -> None:
    directory = zips.find_directory(archive.file, archive.size)
    kept: list[zips.Where] = []
    places: list[tuple[int, int]] = []
    encrypted = 0
    try:
        for member, where in zips.entries(archive.file, directory, budget):
            found.add(member)
            places.append((where.offset, where.packed))
            encrypted += where.is_encrypted
            if len(kept) < len(found.members):
                kept.append(where)
    except (Stopped, Damaged) as why:
        found.stop(why)
    else:
        # Some tools count no further than to 65,535 and begin anew.
        if (found.count - directory.count) % 65_536:
            found.warnings.append(
                f"It says that it has {directory.count:,} members, and it has {found.count:,}."
            )
    budget.refuse_bomb(found.total)
    found.kind = zips.variety({member.path for member in found.members})
    if zips.overlap(places):
        found.warnings.append(
            "Some members share the same bytes: it was made to unpack to more than it is."
        )
    if encrypted:
        found.warnings.append(f"{encrypted:,} members are encrypted.")
    _judge_zip(found, archive, kept, budget)


def _judge_zip(found: _Found, archive: Archive, kept: list[zips.Where], budget: Budget) -> None:
    """Look at each member anew, now that the directory is read and links can be looked up."""
    judge = Judge()
    members, found.members = found.members, []
    try:
        for member, where in zip(members, kept, strict=True):
            known = member
            if member.kind == MemberKind.SYMLINK:
                target = zips.link_target(archive.file, archive.size, where, budget)
                known = replace(member, link_target=target)
            found.members.append(judge.judge(known))
    except Stopped as why:
        found.stop(why)


# ---- One member --------------------------------------------------------------------------------
def read_member(
    archive: Archive, index: int, most: int, bounds: Bounds = BOUNDS
) -> tuple[Member, bytes]:
    """The member at this position of the listing, and its first `most` bytes.

    Raises Invalid where there is none, where it is no file, or where its bytes cannot be read.
    """
    budget = Budget(bounds, archive.size)
    form = form_of(archive)
    try:
        if 0 <= index < bounds.shown:
            for at, (member, content) in enumerate(_contents(archive, form, budget)):
                if at == index:
                    _require_file(member)
                    return member, content.read(most)
    except Stopped as why:
        raise Invalid(f"{why} This member lies further on.") from why
    except Damaged as why:
        raise Invalid(f"{why}. This member cannot be read.") from why
    raise Invalid(f"The archive shows no member {index}.")


@dataclass(frozen=True, slots=True)
class _Content:
    """How to get at the bytes of one member, if they are wanted."""

    archive: Archive
    budget: Budget
    reader: Forward | None = None
    length: int | None = None
    where: zips.Where | None = None

    def read(self, most: int) -> bytes:
        if self.where is not None:
            content = zips.open_member(
                self.archive.file, self.archive.size, self.where, self.budget
            )
            return content.read(min(most, self.where.size))
        assert self.reader is not None
        return self.reader.read(most if self.length is None else min(most, self.length))


def _contents(archive: Archive, form: str, budget: Budget) -> Iterator[tuple[Member, _Content]]:
    if form == "zip":
        directory = zips.find_directory(archive.file, archive.size)
        for member, where in zips.entries(archive.file, directory, budget):
            yield member, _Content(archive, budget, where=where)
        return
    tar = _open_tar(archive, form, budget)
    if tar is None:
        whole = _unpacked(archive, form, budget)
        yield Member(_lone_name(archive.name), None), _Content(archive, budget, whole)
        return
    for member, length in tars.entries(tar, budget):
        yield member, _Content(archive, budget, tar, length)


def _require_file(member: Member) -> None:
    if member.kind != MemberKind.FILE:
        raise Invalid(
            f"“{member.path[:120]}” is no file but a {member.kind}: it is shown in the list and "
            "never followed."
        )


# ---- For a step that extracts ------------------------------------------------------------------
def members_of_tar(archive: Archive, bounds: Bounds) -> Iterator[Member]:
    """Each member of a tar, judged, however many there are; nothing of them is kept.

    Raises Invalid where it is no tar, is damaged, or goes beyond its bounds.
    """
    budget = Budget(bounds, archive.size)
    archive.file.seek(0)
    form = kind_of(archive.file.read(HEAD)).form
    judge = Judge(remembers_names=False)
    try:
        tar = None if form in {"", "zip"} else _open_tar(archive, form, budget)
        if tar is None:
            raise Invalid("It is no tar archive, plain or packed with gzip, bzip2 or xz.")
        for count, (member, _) in enumerate(tars.entries(tar, budget), start=1):
            if count > bounds.counted:
                raise Stopped(f"It has more than {bounds.counted:,} members.")
            yield judge.judge(member)
    except (Stopped, Damaged) as why:
        raise Invalid(f"{why}") from why
