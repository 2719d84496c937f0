"""What a delivery says, whichever server sent it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

#: A request's headers, with their names in lower case.
Headers: TypeAlias = Mapping[str, str]


class Kind(StrEnum):
    """What happened, in the words of a source's `triggerEvents`."""

    PUSH = "push"
    TAG = "tagPush"
    MERGED = "mergeRequestMerged"
    MERGE_REQUEST = "mergeRequestOpenedOrUpdate"


@dataclass(frozen=True, slots=True)
class Push:
    """Something that a run can be started of: one commit, and how it came about."""

    kind: Kind
    ref: str
    #: The branch or tag that is built.
    name: str
    #: The branch that the commit is meant for: of a merge request the one it is merged into.
    target: str
    commit: str
    #: The files that changed, or None when the server does not tell all of them.
    paths: tuple[str, ...] | None
    #: The addresses of the repository, as the server knows them.
    repositories: tuple[str, ...]
    sender: str
    title: str
    #: What the server calls this delivery, to be looked up there.
    delivery: str
    #: The same text whenever the same happening is delivered again, and no other's.
    once: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """A delivery that starts no run, whatever the source wants."""

    why: str
