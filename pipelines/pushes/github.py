"""What GitHub sends, and Gitea in its likeness."""

from __future__ import annotations

from typing import Any, Final

from pipelines.pushes import payload
from pipelines.pushes.payload import inner, text
from pipelines.pushes.push import Headers, Kind, Nothing, Push

#: It lists no more commits of a push than these.
MOST_COMMITS: Final = 2048
NEW_CODE: Final = {"opened", "reopened", "synchronize", "synchronized"}


def read(headers: Headers, content: dict[str, Any], digest: str) -> Push | Nothing:
    """`digest` is that of the body: a header could be changed to pass a delivery off as new."""
    delivery, once = headers.get("x-github-delivery", ""), payload.once("github", digest)
    match headers["x-github-event"]:
        case "push":
            return _push(content, delivery, once)
        case "pull_request":
            return _pull_request(content, delivery, once)
        case "ping":
            return Nothing("GitHub asked whether the hook is there. It is.")
        case event:
            return Nothing(f"“{payload.shown(event)}” is no event that starts runs.")


def _push(content: dict[str, Any], delivery: str, once: str) -> Push | Nothing:
    after, head = text(content, "after"), inner(content, "head_commit")
    is_new = content.get("created") is True or content.get("forced") is True
    gone = content.get("deleted") is True or payload.is_nothing(after)
    return payload.pushed(
        text(content, "ref"),
        "" if gone else after,
        # `after` of an annotated tag is the tag, not the commit behind it.
        commit_id="" if gone else payload.commit(text(head, "id"), after),
        paths=None
        if is_new
        else payload.changed_paths(
            content.get("commits"), total=content.get("total_commits"), most=MOST_COMMITS
        ),
        repositories=payload.addresses(inner(content, "repository")),
        sender=text(content, "sender", "login") or text(content, "pusher", "name"),
        title=text(head, "message"),
        delivery=delivery,
        once=once,
    )


def _pull_request(content: dict[str, Any], delivery: str, once: str) -> Push | Nothing:
    request, action = inner(content, "pull_request"), text(content, "action")
    number = inner(request, "number")
    target = payload.branch(text(request, "base", "ref"))
    if action == "closed" and inner(request, "merged") is True:
        kind, name = Kind.MERGED, target
        commit = payload.commit(text(request, "merge_commit_sha"))
    elif action in NEW_CODE:
        if _repository(request, "head") != _repository(request, "base"):
            return Nothing(
                f"Pull request {number} comes from another repository, whose code is not run here."
            )
        kind, name = Kind.MERGE_REQUEST, payload.branch(text(request, "head", "ref"))
        commit = payload.commit(text(request, "head", "sha"))
    else:
        return Nothing(f"Pull request {number} was {payload.shown(action)}: that is no new code.")
    return Push(
        kind=kind,
        ref=f"refs/heads/{name}",
        name=name,
        target=target,
        commit=commit,
        paths=None,
        repositories=payload.addresses(inner(content, "repository")),
        sender=payload.shown(text(content, "sender", "login")),
        title=payload.title_of(text(request, "title")),
        delivery=payload.shown(delivery),
        once=once,
    )


def _repository(request: Any, side: str) -> Any:
    """Which repository a side is of; None of a fork that was deleted."""
    return inner(request, side, "repo", "id") or inner(request, side, "repo", "full_name")
