"""Hooks of pipelines: who delivers what, and the runs that come of it."""

from functools import partial

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.test import override_settings

from pipelines import definitions, hooks
from pipelines.errors import Invalid, NameTaken, NotGenuine
from pipelines.models import ExecutionState, PushHook, Run, Trigger
from tests.cast import Site, make_site
from tests.parallel import at_once
from tests.pipelines.pushes.deliveries import (
    AFTER,
    BEFORE,
    COMMITS,
    DELETIONS,
    GITEE_PUSH,
    GITHUB_PUSH,
    GITLAB_PUSH,
    MERGES,
    PUSHES,
    REQUESTS,
    TAGS,
    Delivery,
    signed,
    signed_by_github,
)
from tests.pipelines.pushes.hooking import HOOKED, Hooked, make_hooked
from tests.world import refused

Delivered = dict[str, Delivery]


@pytest.fixture
def hooked(site: Site) -> Hooked:
    return make_hooked(site)


# ---- Start -------------------------------------------------------------------------------------
@pytest.mark.parametrize("server", PUSHES)
def test_a_push_starts_one_run_of_the_very_commit(hooked: Hooked, site: Site, server: str) -> None:
    received = hooked.deliver(PUSHES[server])
    (run,) = hooked.runs
    assert received.run == run
    assert (run.trigger, run.state) == (Trigger.PUSH, ExecutionState.QUEUED)
    assert run.asked_sources == {"repo": {"branch": "main", "commit": AFTER}}
    assert run.comment == "alice: Fix the build"
    assert received.why == "Branch main was pushed by alice, commit c0ffee00."
    last = hooked.last
    assert (last.last_run, last.last_why) == (run, received.why)
    assert last.last_at is not None
    assert last.last_delivery == PUSHES[server].push().delivery


def test_the_run_is_in_the_name_of_who_was_shown_the_secret(hooked: Hooked, site: Site) -> None:
    """A secret of one's own is no way to what only the definition's author may use."""
    definitions.revise(hooked.pipeline, HOOKED + "# again\n", by=site.cast.admin)
    run = hooked.deliver(GITHUB_PUSH).run
    assert run is not None
    assert run.started_by == site.cast.ada
    hooked.secret = hooks.rotate(hooked.hook, by=site.cast.admin)
    assert hooked.last.holder == site.cast.admin


def test_a_holder_who_may_no_longer_start_runs_starts_none(hooked: Hooked, site: Site) -> None:
    site.cast.ada.is_active = False
    site.cast.ada.save()
    received = hooked.deliver(GITHUB_PUSH)
    (run,) = hooked.runs
    assert run.state == ExecutionState.ERRORED
    assert "ada may not start runs" in run.error
    assert "ada may not start runs" in received.why


@pytest.mark.parametrize(
    ("deliveries", "branch"), [(TAGS, "v1.0"), (REQUESTS, "weights"), (MERGES, "main")]
)
def test_tags_and_merge_requests_start_runs_too(
    hooked: Hooked, deliveries: Delivered, branch: str
) -> None:
    for number, delivery in enumerate(deliveries.values(), 1):
        assert hooked.deliver(delivery).run is not None
        assert len(hooked.runs) == number
        asked = hooked.runs[-1].asked_sources["repo"]
        assert asked == {"branch": branch, "commit": delivery.push().commit}


@pytest.mark.parametrize(
    ("delivery", "why"),
    [
        (GITHUB_PUSH.having(ref="refs/heads/other"), "is of branch main"),
        (GITHUB_PUSH.having(commits=[{**COMMITS[0], "added": ["docs/a.md"]}]), "docs/a.md"),
        (GITHUB_PUSH.having(commits=[{**COMMITS[0], "added": ["src/a.md"]}]), "src/a.md"),
        (
            GITHUB_PUSH.having(repository={"clone_url": "https://github.com/eve/app.git"}),
            "is of eve/app",
        ),
        (GITHUB_PUSH.titled(x_github_event="ping"), "whether the hook is there"),
        (Delivery(GITHUB_PUSH.headers, b"{"), "not JSON"),
        *((each, "was deleted") for each in DELETIONS.values()),
    ],
)
def test_what_starts_nothing_is_remembered_with_its_reason(
    hooked: Hooked, delivery: Delivery, why: str
) -> None:
    received = hooked.deliver(delivery)
    assert received.run is None
    assert hooked.runs == []
    last = hooked.last
    assert why in received.why == last.last_why
    assert last.last_run is None
    assert last.last_at is not None


def test_a_source_that_is_gone_starts_nothing(hooked: Hooked, site: Site) -> None:
    definitions.revise(hooked.pipeline, HOOKED.replace("repo", "code"), by=site.cast.ada)
    assert "no source repo any more" in hooked.deliver(GITHUB_PUSH).why
    assert hooked.runs == []


# ---- Once ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("deliveries", [PUSHES, TAGS, REQUESTS, MERGES])
def test_a_delivery_that_comes_twice_starts_one_run(hooked: Hooked, deliveries: Delivered) -> None:
    for delivery in deliveries.values():
        first = hooked.deliver(delivery)
        before = len(hooked.runs)
        again = hooked.deliver(delivery)
        assert again.run == first.run
        assert again.why == f"This was delivered before, and started {first.run}."
        assert len(hooked.runs) == before


def test_a_signed_delivery_cannot_be_passed_off_as_another(hooked: Hooked) -> None:
    """What GitHub signs is the body: whoever overhears it can change its headers."""
    first = hooked.deliver(GITHUB_PUSH)
    overheard = signed(GITHUB_PUSH, hooked.secret).titled(x_github_delivery="new")
    again = hooks.receive("hooked", "repo", overheard.headers, overheard.body)
    assert again.run == first.run
    assert len(hooked.runs) == 1


def test_another_push_is_another_run(hooked: Hooked) -> None:
    hooked.deliver(GITHUB_PUSH)
    back = GITHUB_PUSH.having(before=AFTER, after=BEFORE, head_commit__id=BEFORE)
    assert hooked.deliver(back).run == hooked.runs[1]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("deliveries", [[GITHUB_PUSH], [GITHUB_PUSH, GITLAB_PUSH]])
def test_fifty_of_the_same_at_once_start_one_run_each(deliveries: list[Delivery]) -> None:
    hooked = make_hooked(make_site())
    acts = [partial(hooked.deliver, deliveries[number % len(deliveries)]) for number in range(50)]
    received = at_once(acts)
    started = {answer.run.pk for answer in received if answer.run is not None}
    assert len(started) == len(deliveries)
    assert {run.pk for run in hooked.runs} == started
    assert [run.number for run in hooked.runs] == list(range(1, len(deliveries) + 1))
    assert {run.state for run in hooked.runs} == {ExecutionState.QUEUED}


# ---- Refused -------------------------------------------------------------------------------------
@pytest.mark.parametrize("server", PUSHES)
def test_a_forged_delivery_is_refused(hooked: Hooked, server: str) -> None:
    refused(NotGenuine, lambda: hooked.deliver(PUSHES[server], secret="guessed"))
    delivery = PUSHES[server]
    refused(NotGenuine, lambda: hooks.receive("hooked", "repo", delivery.headers, delivery.body))


def test_a_changed_body_is_refused(hooked: Hooked) -> None:
    whole = signed_by_github(GITHUB_PUSH, hooked.secret)
    changed = whole.having(after="ee" * 20)
    refused(NotGenuine, lambda: hooks.receive("hooked", "repo", changed.headers, changed.body))


def test_a_gitee_signature_is_good_for_an_hour(hooked: Hooked) -> None:
    stale = hooked.signed_by_time(GITEE_PUSH, ago=3700)
    refused(NotGenuine, lambda: hooks.receive("hooked", "repo", stale.headers, stale.body))
    fresh = hooked.signed_by_time(GITEE_PUSH, ago=60)
    assert hooks.receive("hooked", "repo", fresh.headers, fresh.body).run is not None


def test_an_unknown_hook_is_refused_in_the_same_words(hooked: Hooked) -> None:
    whole = signed(GITHUB_PUSH, hooked.secret)
    wrong = refused(NotGenuine, lambda: hooked.deliver(GITHUB_PUSH, secret="guessed"))
    for pipeline, source in (("hooked", "quiet"), ("hooked", "no"), ("app", "repo"), ("no", "no")):
        receive = partial(hooks.receive, pipeline, source, whole.headers, whole.body)
        assert refused(NotGenuine, receive).detail == wrong.detail
    nobodys = signed(GITHUB_PUSH, hooks.NOBODYS)
    receive = partial(hooks.receive, "no", "no", nobodys.headers, nobodys.body)
    refused(NotGenuine, receive)


# ---- Make, rotate, remove ------------------------------------------------------------------------
def test_a_secret_is_long_and_lies_encrypted(hooked: Hooked) -> None:
    assert len(hooked.secret) >= 43
    assert hooked.secret not in hooked.last.sealed


def test_a_rotated_secret_is_the_only_one(hooked: Hooked, site: Site) -> None:
    new = hooks.rotate(hooked.hook, by=site.cast.ada)
    assert new != hooked.secret
    refused(NotGenuine, lambda: hooked.deliver(GITHUB_PUSH))
    assert hooked.deliver(GITHUB_PUSH, secret=new).run is not None


def test_a_hook_that_was_removed_is_no_hook(hooked: Hooked, site: Site) -> None:
    hooked.deliver(GITHUB_PUSH)
    hooks.remove(hooked.hook, by=site.cast.ada)
    refused(NotGenuine, lambda: hooked.deliver(GITLAB_PUSH))
    assert Run.objects.filter(pipeline=hooked.pipeline).count() == 1


@pytest.mark.parametrize("source", ["quiet", "upstream", "no", "x" * 300])
def test_only_a_code_source_that_listens_gets_a_hook(
    hooked: Hooked, site: Site, source: str
) -> None:
    refusal = refused(Invalid, lambda: hooks.make(hooked.pipeline, source, by=site.cast.ada))
    assert "With them it has: repo." in refusal.detail


def test_a_source_has_one_hook(hooked: Hooked, site: Site) -> None:
    refused(NameTaken, lambda: hooks.make(hooked.pipeline, "repo", by=site.cast.ada))


def test_a_hook_outlives_a_change_of_keys(hooked: Hooked) -> None:
    old, new = settings.CONNECTION_KEYS[0], Fernet.generate_key().decode()
    with override_settings(CONNECTION_KEYS=[new, old]):
        assert hooks.rotate_keys() == PushHook.objects.count() == 1
    with override_settings(CONNECTION_KEYS=[new]):
        assert hooked.deliver(GITHUB_PUSH).run is not None
