"""What GitLab sends, and Codeup, whose pushes look the same."""

from __future__ import annotations

from typing import Any, Final

from pipelines.pushes import payload
from pipelines.pushes.payload import inner, text
from pipelines.pushes.push import Headers, Kind, Nothing, Push

NEW_CODE: Final = {"open", "reopen"}


def read(headers: Headers, content: dict[str, Any], digest: str) -> Push | Nothing:
    is_gitlab = "x-gitlab-event" in headers
    delivery = headers.get("idempotency-key") or headers.get("x-gitlab-event-uuid") or ""
    once = payload.once("gitlab" if is_gitlab else "codeup", delivery, digest)
    event = text(content, "object_kind")
    if event in {"push", "tag_push"}:
        return _push(content, delivery, once)
    if event == "merge_request" and is_gitlab:
        return _merge_request(content, delivery, once)
    if event == "merge_request":
        return Nothing("Merge requests of Codeup are not read; its pushes are.")
    named = headers.get("x-gitlab-event") or headers.get("x-codeup-event") or event
    return Nothing(f"“{payload.shown(named)}” is no event that starts runs.")


def _push(content: dict[str, Any], delivery: str, once: str) -> Push | Nothing:
    after, before = text(content, "after"), text(content, "before")
    gone = payload.is_nothing(after)
    commits = content.get("commits")
    listed = commits if isinstance(commits, list) else []
    last = next((each for each in listed if text(each, "id") == after), None)
    return payload.pushed(
        text(content, "ref"),
        after,
        # `after` of an annotated tag is the tag; what is checked out is the commit behind it.
        commit_id="" if gone else payload.commit(text(content, "checkout_sha"), after),
        paths=None
        if payload.is_nothing(before)
        else payload.changed_paths(commits, total=content.get("total_commits_count")),
        repositories=_addresses(content),
        sender=text(content, "user_username") or text(content, "user_name"),
        title=text(last, "message"),
        delivery=delivery,
        once=once,
    )


def _merge_request(content: dict[str, Any], delivery: str, once: str) -> Push | Nothing:
    request = inner(content, "object_attributes")
    action, number = text(request, "action"), inner(request, "iid")
    target = payload.branch(text(request, "target_branch"))
    if action == "merge":
        kind, name = Kind.MERGED, target
        # A fast-forward makes no commit of its own.
        commit = payload.commit(
            text(request, "merge_commit_sha"),
            text(request, "squash_commit_sha"),
            text(request, "last_commit", "id"),
        )
    elif action in NEW_CODE or (action == "update" and inner(request, "oldrev")):
        if inner(request, "source_project_id") != inner(request, "target_project_id"):
            return Nothing(
                f"Merge request {number} comes from another project, whose code is not run here."
            )
        kind, name = Kind.MERGE_REQUEST, payload.branch(text(request, "source_branch"))
        commit = payload.commit(text(request, "last_commit", "id"))
    else:
        return Nothing(f"Merge request {number}: “{payload.shown(action)}” is no new code.")
    return Push(
        kind=kind,
        ref=f"refs/heads/{name}",
        name=name,
        target=target,
        commit=commit,
        paths=None,
        repositories=_addresses(content),
        sender=payload.shown(text(content, "user", "username") or text(content, "user", "name")),
        title=payload.title_of(text(request, "title")),
        delivery=payload.shown(delivery),
        once=once,
    )


def _addresses(content: dict[str, Any]) -> tuple[str, ...]:
    return payload.addresses(inner(content, "project"), inner(content, "repository"))
