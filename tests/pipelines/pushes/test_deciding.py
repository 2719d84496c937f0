"""Which pushes start a run of which sources, and what is said about it."""

import pytest

from pipelines.flow.document import Position, Source, Value
from pipelines.pushes import Decision, Push, decide
from pipelines.pushes.deciding import path_matches
from tests.pipelines.pushes.deliveries import (
    GITHUB_MERGED,
    GITHUB_PULL_REQUEST,
    GITHUB_PUSH,
    GITHUB_TAG,
)

PUSH = GITHUB_PUSH.push()
TAG = GITHUB_TAG.push()
REQUEST = GITHUB_PULL_REQUEST.push()
MERGED = GITHUB_MERGED.push()


EVENTS: list[Value] = [str(push.kind) for push in (PUSH, TAG, REQUEST, MERGED)]


def decided(push: Push, **fields: Value) -> Decision:
    written: dict[str, Value] = {
        "endpoint": "https://github.com/shop/app.git",
        "branch": "main",
        "triggerEvents": EVENTS,
        **fields,
    }
    return decide(push, Source("repo", "github", written, Position(1, 1)))


def stays_away(push: Push, **fields: Value) -> str:
    decision = decided(push, **fields)
    assert not decision.starts
    return decision.why


def test_a_push_to_the_branch_of_the_source_starts_a_run() -> None:
    assert decided(PUSH) == Decision(True, "Branch main was pushed by alice, commit c0ffee00.")


def test_each_event_starts_what_asks_for_it_and_nothing_else() -> None:
    for push in (PUSH, TAG, REQUEST, MERGED):
        assert decided(push, triggerEvents=str(push.kind)).starts
        others = [str(other.kind) for other in (PUSH, TAG, REQUEST, MERGED) if other is not push]
        why = stays_away(push, triggerEvents=list(others))
        assert f"not {push.kind}." in why
        assert "no triggerEvents" in stays_away(push, triggerEvents=None)


def test_another_branch_than_the_sources_stays_away() -> None:
    assert "is of branch release" in stays_away(PUSH, branch="release")
    assert "is of branch master" in stays_away(PUSH, branch=None)


def test_without_a_filter_every_tag_starts_a_run() -> None:
    assert decided(TAG, branch="release").starts


@pytest.mark.parametrize("pattern", ["main", "main|release/.*", "^((?!release).)*$", "m.*"])
def test_a_filter_that_matches_the_whole_branch_lets_it_in(pattern: str) -> None:
    assert decided(PUSH, branch="release", branchesFilter=pattern).starts


@pytest.mark.parametrize("pattern", ["mai", "ain", "release/.*", "^((?!main).)*$", "Main"])
def test_a_filter_that_does_not_match_keeps_it_out(pattern: str) -> None:
    assert "does not match main" in stays_away(PUSH, branchesFilter=pattern)


def test_a_filter_looks_at_tags_and_at_what_merge_requests_are_meant_for() -> None:
    assert decided(TAG, branchesFilter="v1.*").starts
    assert "does not match v1.0" in stays_away(TAG, branchesFilter="main")
    assert decided(REQUEST, branchesFilter="main").starts
    assert decided(MERGED, branchesFilter="main").starts
    assert "does not match main" in stays_away(REQUEST, branchesFilter="weights")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "unterminated subpattern"),
        ("x" * 1001, "longer than 1000"),
        ("(?:(?:(?:(?:m?){99}){99}){99}){99}b", "too much memory"),
    ],
)
def test_a_filter_that_cannot_be_used_says_so(pattern: str, why: str) -> None:
    assert why in stays_away(PUSH, branchesFilter=pattern)


def test_a_hostile_filter_is_given_up() -> None:
    long = GITHUB_PUSH.having(ref="refs/heads/" + "m" * 200).push()
    assert "takes too long" in stays_away(long, branchesFilter="(m+)+b")


def test_a_hook_at_another_repository_is_found_out() -> None:
    why = stays_away(PUSH, endpoint="https://github.com/shop/web.git")
    assert "is of shop/app, and the source fetches shop/web" in why


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://github.com/Shop/App",
        "git@github.com:shop/app.git",
        "ssh://git@internal.example/shop/app.git",
        "https://proxy.example/github/shop/app.git",
        "/srv/mirrors/app",
        "https://git.example/${REPOSITORY}.git",
    ],
)
def test_the_same_repository_under_another_address_is_the_same(endpoint: str) -> None:
    assert decided(PUSH, endpoint=endpoint).starts


@pytest.mark.parametrize("filter_", ["src/", "src", ["docs/", "*.py"], "**/*.txt", "!tests/"])
def test_a_changed_file_that_the_filter_names_starts_a_run(filter_: Value) -> None:
    assert decided(PUSH, pathFilter=filter_).starts


@pytest.mark.parametrize("filter_", ["docs/", "sr", ["*.md", "lib/**"], ["src/", "!*.py"]])
def test_files_that_it_does_not_name_start_none(filter_: Value) -> None:
    why = stays_away(PUSH, pathFilter=filter_)
    assert "matches none of the changed files (tests/test_app.py, src/app.py, old.txt)" in why


def test_files_that_are_unknown_start_a_run() -> None:
    assert decided(REQUEST, pathFilter="docs/").starts


def test_too_many_patterns_start_none() -> None:
    assert "more than 50" in stays_away(PUSH, pathFilter=["src/"] * 51)


@pytest.mark.parametrize(
    ("pattern", "path", "does"),
    [
        ("src/**/x.py", "src/x.py", True),
        ("src/**/x.py", "src/a/b/x.py", True),
        ("src/**/x.py", "lib/src/x.py", False),
        ("src/*/x.py", "src/a/b/x.py", False),
        ("src/*.py", "src/x.py", True),
        ("src/*.py", "src/a/x.py", False),
        ("**", "any/thing", True),
        ("**/src", "a/src", True),
        ("src/**", "src/a/b", True),
        ("/src/", "src/a", True),
        ("./src", "src/a", True),
        ("src/[ab].c", "src/b.c", True),
        ("**/" * 40 + "x", "a/" * 60 + "y", False),
        ("*a" * 40, "a" * 250 + "b", False),
    ],
)
def test_paths(pattern: str, path: str, does: bool) -> None:
    assert path_matches(pattern, path) is does
