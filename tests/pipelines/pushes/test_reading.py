"""What deliveries of each server say, and why some start nothing."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.pushes import Kind, Nothing, Push, read
from tests.pipelines.pushes.deliveries import (
    AFTER,
    CODEUP_PUSH,
    COMMITS,
    DELETIONS,
    GITEE_PULL_REQUEST,
    GITEE_PUSH,
    GITHUB_PULL_REQUEST,
    GITHUB_PUSH,
    GITHUB_TAG,
    GITLAB_MERGE_REQUEST,
    GITLAB_MERGED,
    GITLAB_PUSH,
    GITLAB_TAG,
    MERGES,
    NONE,
    PATHS,
    PUSHES,
    REQUESTS,
    STAMP,
    TAGGED,
    TAGS,
    Delivery,
)


@pytest.mark.parametrize("server", PUSHES)
def test_a_push_names_branch_commit_files_and_who(server: str) -> None:
    push = PUSHES[server].push()
    assert (push.kind, push.ref, push.name, push.target) == (
        Kind.PUSH, "refs/heads/main", "main", "main",
    )  # fmt: skip
    assert (push.commit, push.sender, push.title) == (AFTER, "alice", "Fix the build")
    assert any(address.endswith("/shop/app.git") for address in push.repositories)
    assert push.paths == (None if server == "codeup" else PATHS)


@pytest.mark.parametrize("server", TAGS)
def test_a_tag_leads_to_the_commit_behind_it(server: str) -> None:
    push = TAGS[server].push()
    assert (push.kind, push.name, push.target) == (Kind.TAG, "v1.0", "v1.0")
    assert push.commit == AFTER
    assert push.paths is None


def test_a_tag_without_more_is_the_commit_that_it_names() -> None:
    for delivery in (GITHUB_TAG.having(head_commit=None), GITLAB_TAG.having(checkout_sha=None)):
        assert delivery.push().commit == TAGGED


@pytest.mark.parametrize("server", DELETIONS)
def test_a_deletion_starts_nothing(server: str) -> None:
    assert DELETIONS[server].nothing() == "The branch main was deleted."


@pytest.mark.parametrize("server", REQUESTS)
def test_a_merge_request_is_of_its_head_and_meant_for_its_target(server: str) -> None:
    push = REQUESTS[server].push()
    assert (push.kind, push.name, push.target) == (Kind.MERGE_REQUEST, "weights", "main")
    assert (push.commit, push.title, push.paths) == (AFTER, "Sell by weight", None)


@pytest.mark.parametrize("server", MERGES)
def test_a_merge_is_of_its_target(server: str) -> None:
    push = MERGES[server].push()
    assert (push.kind, push.name, push.target) == (Kind.MERGED, "main", "main")
    assert push.commit == "99" * 20


def test_a_fast_forward_merge_is_of_the_last_commit() -> None:
    assert GITLAB_MERGED.having(object_attributes__merge_commit_sha=None).push().commit == AFTER


@pytest.mark.parametrize(
    "delivery",
    [
        GITHUB_PULL_REQUEST.having(action="synchronize"),
        GITHUB_PULL_REQUEST.having(action="reopened"),
        GITLAB_MERGE_REQUEST.having(
            object_attributes__action="update", object_attributes__oldrev="ab" * 20
        ),
        GITLAB_MERGE_REQUEST.having(object_attributes__action="reopen"),
        GITEE_PULL_REQUEST.having(action="update", action_desc="source_branch_changed"),
    ],
)
def test_new_code_in_a_merge_request_is_an_update(delivery: Delivery) -> None:
    assert delivery.push().kind == Kind.MERGE_REQUEST


@pytest.mark.parametrize(
    "delivery",
    [
        GITHUB_PULL_REQUEST.having(action="labeled"),
        GITHUB_PULL_REQUEST.having(action="closed"),
        GITLAB_MERGE_REQUEST.having(object_attributes__action="update"),
        GITLAB_MERGE_REQUEST.having(object_attributes__action="approved"),
        GITLAB_MERGE_REQUEST.having(object_attributes__action="close"),
        GITEE_PULL_REQUEST.having(action="update", action_desc="update_label"),
        GITEE_PULL_REQUEST.having(action="close"),
    ],
)
def test_what_else_happens_to_a_merge_request_starts_nothing(delivery: Delivery) -> None:
    assert "no new code" in delivery.nothing()


@pytest.mark.parametrize(
    "delivery",
    [
        GITHUB_PULL_REQUEST.having(pull_request__head__repo={"id": 8, "full_name": "eve/app"}),
        GITHUB_PULL_REQUEST.having(pull_request__head__repo=None),
        GITLAB_MERGE_REQUEST.having(object_attributes__source_project_id=16),
        GITEE_PULL_REQUEST.having(pull_request__head__repo={"id": 32}),
    ],
)
def test_a_merge_request_out_of_a_fork_starts_nothing(delivery: Delivery) -> None:
    assert "whose code is not run here" in delivery.nothing()


@pytest.mark.parametrize(
    ("delivery", "why"),
    [
        (GITHUB_PUSH.titled(x_github_event="ping"), "asked whether the hook is there"),
        (GITEE_PUSH.titled(x_gitee_ping="true"), "tried the hook"),
        (GITHUB_PUSH.titled(x_github_event="issues"), "“issues” is no event"),
        (
            GITLAB_PUSH.having(object_kind="note").titled(x_gitlab_event="Note Hook"),
            "“Note Hook” is no event",
        ),
        (GITEE_PUSH.titled(x_gitee_event="Issue Hook"), "“Issue Hook” is no event"),
        (
            CODEUP_PUSH.having(object_kind="merge_request"),
            "Merge requests of Codeup are not read",
        ),
        (GITHUB_PUSH.having(ref="refs/pull/12/head"), "neither a branch nor a tag"),
        (GITHUB_PUSH.having(ref="refs/heads/"), "names no branch"),
        (GITHUB_PUSH.having(ref="refs/heads/" + "x" * 256), "names no branch"),
        (GITHUB_PUSH.having(ref="refs/heads/a\x00b"), "names no branch"),
        (GITHUB_PUSH.having(ref=["refs/heads/main"]), "neither a branch nor a tag"),
        (GITHUB_PUSH.having(after="HEAD", head_commit=None), "names no commit"),
        (GITLAB_PUSH.having(after="x" * 40, checkout_sha="--upload-pack=x"), "names no commit"),
        (Delivery(GITHUB_PUSH.headers, b"\xff"), "not JSON"),
        (Delivery(GITHUB_PUSH.headers, b"[" * 100_000), "not JSON"),
        (Delivery(GITHUB_PUSH.headers, b"[]"), "not a JSON object"),
    ],
)
def test_other_deliveries_say_why_they_start_nothing(delivery: Delivery, why: str) -> None:
    assert why in delivery.nothing()


def test_github_may_send_a_form() -> None:
    body = urlencode({"payload": GITHUB_PUSH.body.decode()}).encode()
    form = Delivery(
        {**GITHUB_PUSH.headers, "content-type": "application/x-www-form-urlencoded"}, body
    )
    assert form.push().commit == AFTER


@pytest.mark.parametrize(
    "delivery",
    [
        GITHUB_PUSH.having(forced=True),
        GITHUB_PUSH.having(created=True, before=NONE),
        GITHUB_PUSH.having(commits=[]),
        GITHUB_PUSH.having(commits=COMMITS * 1024),
        GITHUB_PUSH.having(commits=[COMMITS[0], {"id": AFTER}]),
        GITHUB_PUSH.having(commits=[{**COMMITS[0], "added": [f"f{n}" for n in range(4000)]}]),
        GITLAB_PUSH.having(total_commits_count=21),
        GITLAB_PUSH.having(before=NONE),
        GITEE_PUSH.having(commits_more_than_ten=True),
        GITEE_PUSH.having(total_commits_count=11),
    ],
)
def test_files_that_are_not_all_told_are_unknown(delivery: Delivery) -> None:
    assert delivery.push().paths is None


def test_what_is_shown_to_people_is_one_short_plain_line() -> None:
    push = GITHUB_PUSH.having(
        head_commit__message="\u202eevil\x1b[31m\t title" + "x" * 200 + "\nmore",
        sender__login="al\nice",
    ).push()
    assert push.title.startswith("evil [31m title")
    assert len(push.title) == 120
    assert push.sender == "al ice"


# ---- The same happening is the same --------------------------------------------------------------
def test_a_github_delivery_is_told_by_what_is_signed() -> None:
    other = GITHUB_PUSH.titled(x_github_delivery="another")
    assert other.push().once == GITHUB_PUSH.push().once
    assert GITHUB_PUSH.having(repository__pushed_at=2).push().once != GITHUB_PUSH.push().once


def test_a_gitlab_delivery_is_told_by_its_number_too() -> None:
    """Its pushes bear no time: the same change made again has the same body."""
    other = GITLAB_PUSH.titled(x_gitlab_event_uuid="another")
    assert other.push().once != GITLAB_PUSH.push().once
    numbered = GITLAB_PUSH.titled(idempotency_key="k")
    assert numbered.titled(x_gitlab_event_uuid="another").push().once == numbered.push().once


def test_a_gitee_delivery_is_told_by_what_happened() -> None:
    """A second attempt bears another time."""
    again = GITEE_PUSH.having(timestamp=STAMP[:-1] + "9").titled(x_gitee_timestamp="1")
    assert again.push().once == GITEE_PUSH.push().once
    assert GITEE_PUSH.having(before="ee" * 20).push().once != GITEE_PUSH.push().once
    again = GITEE_PULL_REQUEST.having(timestamp="1")
    assert again.push().once == GITEE_PULL_REQUEST.push().once


def test_happenings_are_told_apart() -> None:
    everything = [*PUSHES.values(), *TAGS.values(), *REQUESTS.values(), *MERGES.values()]
    keys = [each.push().once for each in everything]
    assert len(set(keys)) == len(keys)
    assert max(map(len, keys)) <= 80


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from([*PUSHES.values(), *REQUESTS.values(), *MERGES.values()]), st.data())
def test_whatever_stands_where_a_value_should_be_it_is_read_or_refused(
    delivery: Delivery, data: st.DataObject
) -> None:
    content = delivery.content
    deep = [key for key, value in content.items() if isinstance(value, dict)]
    key = data.draw(st.sampled_from(sorted(content)))
    changes = {key: data.draw(VALUES)}
    if key in deep and data.draw(st.booleans()):
        changes = {f"{key}__{data.draw(st.sampled_from(sorted(content[key])))}": changes[key]}
    changed = delivery.having(**changes)
    assert isinstance(read(changed.headers, changed.body), Push | Nothing)
