"""What a member's name, link and mode would do to whoever unpacks it."""

import re
from dataclasses import replace

from pipelines.archives.nouns import Danger, Member, MemberKind, Stopped
from pipelines.unseen import has_unseen

DRIVE = re.compile(r"^[A-Za-z]:")
LINKS = frozenset({MemberKind.SYMLINK, MemberKind.HARDLINK})
MAX_LINKS = 100_000
MAX_PARTS = 256


class Judge:
    """Looks at members in the order in which they would be unpacked.

    Remembers hashes of names, not the names: so many members cost little, and two names that meet
    by chance would only mark one of them without need.
    """

    def __init__(self, *, remembers_names: bool = True) -> None:
        self._links: set[int] = set()
        self._names: set[int] | None = set() if remembers_names else None

    def judge(self, member: Member) -> Member:
        danger = self._danger(member)
        return replace(member, danger=danger) if danger else member

    def _danger(self, member: Member) -> Danger | None:
        parts = parts_of(member.path)
        key = hash("/".join(parts))
        is_behind = self._is_behind_link(parts)
        came_before = self._names is not None and key in self._names
        if self._names is not None and member.kind != MemberKind.FOLDER:
            self._names.add(key)
        if member.kind == MemberKind.SYMLINK:
            if len(self._links) >= MAX_LINKS:
                raise Stopped(f"It has more than {MAX_LINKS} links.")
            self._links.add(key)
        if leads_out(member.path) or (member.kind in LINKS and link_leads_out(member)):
            return Danger.OUTSIDE
        if member.kind in {MemberKind.DEVICE, MemberKind.OTHER}:
            return Danger.DEVICE
        if is_behind:
            return Danger.BEHIND_LINK
        if member.danger:
            return member.danger
        if (member.mode or 0) & 0o6000 and member.kind == MemberKind.FILE:
            return Danger.SETUID
        if came_before:
            return Danger.TWICE
        return Danger.HIDDEN if has_unseen(member.path + member.link_target) else None

    def _is_behind_link(self, parts: list[str]) -> bool:
        if not self._links:
            return False
        # A path of so many folders only serves to make this look take long.
        return len(parts) > MAX_PARTS or any(
            hash("/".join(parts[:end])) in self._links for end in range(1, len(parts))
        )


def parts_of(path: str) -> list[str]:
    """The names along a path, as the systems see them that take either slash."""
    return [part for part in path.replace("\\", "/").split("/") if part not in {"", "."}]


def leads_out(path: str) -> bool:
    return path[:1] in {"/", "\\"} or bool(DRIVE.match(path)) or ".." in parts_of(path)


def link_leads_out(member: Member) -> bool:
    """Whether a link's target lies outside, or takes turns that cannot be told without following.

    A hard link's target counts from the archive's top, a symbolic link's from where the link is.
    Its `..` may only stand in front: behind a name, which may be a link itself, they lead anywhere.
    """
    if member.kind == MemberKind.HARDLINK:
        return leads_out(member.link_target)
    target = member.link_target
    if not target or target[0] in "/\\" or DRIVE.match(target):
        return True
    steps = parts_of(target)
    up = next((at for at, step in enumerate(steps) if step != ".."), len(steps))
    return ".." in steps[up:] or up > len(parts_of(member.path)) - 1
