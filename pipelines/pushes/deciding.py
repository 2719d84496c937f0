"""Whether a source of a pipeline wants a run of what was pushed, and why or why not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from pipelines import patterns
from pipelines.flow.document import Source, Value, as_text
from pipelines.pushes.push import Kind, Push

MOST_PATTERNS: Final = 50
DEFAULT_BRANCH: Final = "master"
_SHORT_SSH: Final = re.compile(r"[^/@]+@[^/:]+:(?P<path>.+)")
_HAPPENED: Final = {
    Kind.PUSH: "Branch {name} was pushed",
    Kind.TAG: "Tag {name} was pushed",
    Kind.MERGED: "A merge request into {target} was merged",
    Kind.MERGE_REQUEST: "A merge request of {name} into {target} was opened or updated",
}


@dataclass(frozen=True, slots=True)
class Decision:
    starts: bool
    why: str


def decide(push: Push, source: Source) -> Decision:
    """By the source's `triggerEvents`, `branch`, `branchesFilter` and `pathFilter`."""
    happened = _HAPPENED[push.kind].format(name=push.name, target=push.target)
    against = (
        _wrong_event(push, source)
        or _wrong_repository(push, source)
        or _wrong_branch(push, source)
        or _wrong_paths(push, source)
    )
    if against:
        return Decision(False, f"{happened}: {against}")
    by = f" by {push.sender}" if push.sender else ""
    return Decision(True, f"{happened}{by}, commit {push.commit[:8]}.")


def _texts(value: Value) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [line for each in listed for line in map(str.strip, as_text(each).splitlines()) if line]


def _wrong_event(push: Push, source: Source) -> str:
    wanted = source.trigger_events
    if push.kind in wanted:
        return ""
    return (
        f"triggerEvents of the source are {', '.join(wanted)}, not {push.kind}."
        if wanted
        else "the source has no triggerEvents."
    )


def _wrong_repository(push: Push, source: Source) -> str:
    """A hook that was set up at another repository than the one that the run would fetch.

    Only paths are compared: a server often goes by several names.
    """
    endpoint = _path_of(as_text(source.fields.get("endpoint")))
    told = [path for path in map(_path_of, push.repositories) if path]
    if not endpoint or not told:
        return ""
    if any(endpoint == path or endpoint.endswith(f"/{path}") for path in told):
        return ""
    return f"the delivery is of {told[0]}, and the source fetches {endpoint}."


def _path_of(address: str) -> str:
    """The path of a repository on its server; nothing for a folder or what is not known yet."""
    if "${" in address:
        return ""
    if match := _SHORT_SSH.fullmatch(address):
        path = match["path"]
    else:
        try:
            parts = urlsplit(address)
        except ValueError:
            return ""
        if parts.scheme not in {"http", "https", "ssh", "git"}:
            return ""
        path = parts.path
    return path.strip("/").removesuffix(".git").lower()


def _wrong_branch(push: Push, source: Source) -> str:
    pattern = as_text(source.fields.get("branchesFilter"))
    if not pattern:
        branch = as_text(source.fields.get("branch")) or DEFAULT_BRANCH
        if push.kind == Kind.TAG or push.target == branch:
            return ""
        return f"the source is of branch {branch} and has no branchesFilter."
    try:
        matches = patterns.matches(pattern, push.target)
    except patterns.BadPattern as error:
        return f"its branchesFilter “{pattern[:80]}” does not work: {error}."
    return "" if matches else f"branchesFilter “{pattern[:80]}” does not match {push.target}."


def _wrong_paths(push: Push, source: Source) -> str:
    """A server that does not tell all files gets the benefit of the doubt: a run too many."""
    wanted = _texts(source.fields.get("pathFilter"))
    if not wanted or push.paths is None:
        return ""
    if len(wanted) > MOST_PATTERNS:
        return f"pathFilter has more than {MOST_PATTERNS} patterns."
    refused = [pattern[1:] for pattern in wanted if pattern.startswith("!")]
    taken = [pattern for pattern in wanted if not pattern.startswith("!")] or ["**"]
    for path in push.paths:
        if any(path_matches(pattern, path) for pattern in taken) and not any(
            path_matches(pattern, path) for pattern in refused
        ):
            return ""
    some = ", ".join(push.paths[:3]) + (", …" if len(push.paths) > 3 else "")
    return f"pathFilter matches none of the changed files ({some or 'none'})."


def path_matches(pattern: str, path: str) -> bool:
    """`src/` and `src` are all that is below, `*.md` a name in any folder, `**` any folders."""
    pattern = pattern.removeprefix("./").strip("/")
    if not any(char in pattern for char in "*?["):
        return path == pattern or path.startswith(f"{pattern}/")
    if "/" not in pattern and pattern != "**":
        return fnmatchcase(path.rsplit("/", 1)[-1], pattern)
    # reached[i]: whether the folders so far are what the first i parts of the pattern describe.
    parts = pattern.split("/")
    reached = [True] + [False] * len(parts)
    for index, part in enumerate(parts):
        reached[index + 1] = reached[index] and part == "**"
    for name in path.split("/"):
        after = [False] * (len(parts) + 1)
        for index, part in enumerate(parts):
            if part == "**":
                after[index + 1] = reached[index + 1] or after[index] or reached[index]
            else:
                after[index + 1] = reached[index] and fnmatchcase(name, part)
        reached = after
    return reached[-1]
