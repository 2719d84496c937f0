"""What Gitee sends."""

from __future__ import annotations

from typing import Any

from pipelines.pushes import payload
from pipelines.pushes.payload import inner, text
from pipelines.pushes.push import Headers, Kind, Nothing, Push


def read(headers: Headers, content: dict[str, Any]) -> Push | Nothing:
    event = headers["x-gitee-event"]
    if headers.get("x-gitee-ping", "").lower() == "true":
        return Nothing("Gitee tried the hook. It works.")
    if event in {"Push Hook", "Tag Push Hook"}:
        return _push(content)
    if event == "Merge Request Hook":
        return _pull_request(content)
    return Nothing(f"“{payload.shown(event)}” is no event that starts runs.")


def _push(content: dict[str, Any]) -> Push | Nothing:
    before, after = text(content, "before"), text(content, "after")
    ref, head = text(content, "ref"), inner(content, "head_commit")
    gone = content.get("deleted") is True or payload.is_nothing(after)
    is_new = content.get("created") is True or content.get("commits_more_than_ten") is True
    return payload.pushed(
        ref,
        "" if gone else after,
        commit_id="" if gone else payload.commit(text(head, "id"), after),
        paths=None
        if is_new
        else payload.changed_paths(
            content.get("commits"), total=content.get("total_commits_count")
        ),
        repositories=_addresses(content),
        sender=_sender(content),
        title=text(head, "message"),
        delivery="",
        # It numbers no deliveries and stamps each anew: what happened is what tells them apart.
        once=payload.once("gitee", ref, before, after, text(head, "timestamp")),
    )


def _pull_request(content: dict[str, Any]) -> Push | Nothing:
    request, action = inner(content, "pull_request"), text(content, "action")
    number = inner(request, "number")
    what = text(content, "action_desc") or "source_branch_changed"
    target = payload.branch(text(request, "base", "ref"))
    if action == "merge":
        kind, name = Kind.MERGED, target
        commit = payload.commit(text(request, "merge_commit_sha"))
    elif action == "open" or (action == "update" and what == "source_branch_changed"):
        if inner(request, "head", "repo", "id") != inner(request, "base", "repo", "id"):
            return Nothing(
                f"Pull request {number} comes from another repository, whose code is not run here."
            )
        kind, name = Kind.MERGE_REQUEST, payload.branch(text(request, "head", "ref"))
        commit = payload.commit(text(request, "head", "sha"))
    else:
        return Nothing(f"Pull request {number}: “{payload.shown(action)}” is no new code.")
    return Push(
        kind=kind,
        ref=f"refs/heads/{name}",
        name=name,
        target=target,
        commit=commit,
        paths=None,
        repositories=_addresses(content),
        sender=payload.shown(_sender(content)),
        title=payload.title_of(text(request, "title")),
        delivery="",
        once=payload.once("gitee", number, action, commit, text(request, "updated_at")),
    )


def _sender(content: dict[str, Any]) -> str:
    return text(content, "sender", "login") or text(content, "user_name")


def _addresses(content: dict[str, Any]) -> tuple[str, ...]:
    return payload.addresses(inner(content, "repository"), inner(content, "project"))
