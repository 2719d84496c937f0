"""Take from a body what is there, whatever it is. A server's word is not taken for its type."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from pipelines.pushes.push import Kind, Nothing, Push

#: Beyond these a list of files tells no more than that much has changed.
MOST_PATHS: Final = 3000
LONGEST_NAME: Final = 255
COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_UNSHOWN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_ADDRESSES: Final = (
    "clone_url",
    "git_http_url",
    "http_url",
    "ssh_url",
    "git_ssh_url",
    "html_url",
    "web_url",
    "homepage",
    "url",
)


class Unreadable(ValueError):
    """What a body lacks, as a sentence."""


def inner(value: Any, *keys: str) -> Any:
    """What lies below `keys`, or None as soon as one of them is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text(value: Any, *keys: str) -> str:
    found = inner(value, *keys)
    return found if isinstance(found, str) else ""


def shown(words: str) -> str:
    """One short line for people, without what would turn or break it."""
    return " ".join(_UNSHOWN.sub(" ", words).split())[:120]


def title_of(message: str) -> str:
    return shown(message.strip().split("\n", 1)[0])


def branch(name: str) -> str:
    """A name that the server gave to a branch or tag, if it can be one."""
    if not name or len(name) > LONGEST_NAME or _UNSHOWN.search(name):
        raise Unreadable("The delivery names no branch or tag that Sluice could fetch.")
    return name


def commit(*candidates: str) -> str:
    for candidate in candidates:
        if COMMIT.fullmatch(candidate) and candidate.strip("0"):
            return candidate
    raise Unreadable("The delivery names no commit.")


def is_nothing(commit_id: str) -> bool:
    """Whether it is the id that stands for no commit: a branch that is made or deleted."""
    return not commit_id.strip("0")


def once(server: str, *told: Any) -> str:
    """One short text for what was told, the same whenever it is told again."""
    return f"{server}:{hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()}"


def addresses(*places: Any) -> tuple[str, ...]:
    found = (text(place, key) for place in places for key in _ADDRESSES)
    return tuple(dict.fromkeys(address for address in found if address))


def changed_paths(commits: Any, *, total: Any = None, most: int = 0) -> tuple[str, ...] | None:
    """All files that the listed commits touch; None unless that is known of every commit.

    `total` is how many commits the server counts, and `most` how many it lists at the most.
    """
    if not isinstance(commits, list) or not commits or (most and len(commits) >= most):
        return None
    if isinstance(total, int) and total > len(commits):
        return None
    paths: dict[str, None] = {}
    for each in commits:
        lists = [inner(each, kind) for kind in ("added", "modified", "removed")]
        if not any(isinstance(listed, list) for listed in lists):
            return None
        for listed in lists:
            paths.update(dict.fromkeys(_texts(listed)))
        if len(paths) > MOST_PATHS:
            return None
    return tuple(paths)


def _texts(listed: Any) -> Iterable[str]:
    return (each for each in listed or () if isinstance(each, str))


def pushed(
    ref: str,
    after: str,
    *,
    commit_id: str,
    paths: tuple[str, ...] | None,
    repositories: tuple[str, ...],
    sender: str,
    title: str,
    delivery: str,
    once: str,
) -> Push | Nothing:
    """A push of a branch or tag, which all servers tell in much the same way."""
    for start, kind, noun in (
        ("refs/heads/", Kind.PUSH, "branch"),
        ("refs/tags/", Kind.TAG, "tag"),
    ):
        if ref.startswith(start):
            name = branch(ref.removeprefix(start))
            if is_nothing(after):
                return Nothing(f"The {noun} {name} was deleted.")
            return Push(
                kind=kind,
                ref=ref,
                name=name,
                target=name,
                commit=commit_id,
                paths=paths,
                repositories=repositories,
                sender=shown(sender),
                title=title_of(title),
                delivery=shown(delivery),
                once=once,
            )
    return Nothing(f"“{shown(ref)}” is neither a branch nor a tag.")
