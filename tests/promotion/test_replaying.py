"""What another policy would have said of promotions that were carried out, as things were then."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from accounts.models import User
from pipelines.errors import Forbidden
from promotion import policies, promoting, recalling, replaying
from promotion.evidence import keeping
from promotion.gates import Rules
from promotion.models import Placement, Promotion
from promotion.replaying import Replay
from tests.cast import Site
from tests.sealed import unsealed
from tests.world import nothing_changes, refused

pytestmark = pytest.mark.django_db

NO_WAY = {"approvals": 1}


def replay(site: Site, last: int = 50, **written: Any) -> Replay:
    policy = policies.check_rules(written, site.production.name)
    with nothing_changes():
        return replaying.replay(site.production, policy, by=site.cast.admin, last=last)


def stopped(told: Replay) -> dict[int, list[str]]:
    return {each.promotion.pk: [gate.name for gate in each.gates] for each in told.stopped}


def unknown(told: Replay) -> dict[int, list[str]]:
    return {each.promotion.pk: [gate.name for gate in each.gates] for each in told.unknown}


def join(user: User, *names: str) -> None:
    for name in names:
        user.groups.add(Group.objects.get_or_create(name=name)[0])


def promoted(site: Site, name: str = "1.0.0") -> Promotion:
    version = site.publish(name)
    site.promote(site.staging, version)
    return site.promote(site.production, version)


def test_the_policy_that_was_there_would_have_stopped_nothing(site: Site) -> None:
    promoted(site)
    told = replay(site, upstream="staging")
    assert (told.checked, told.stopped, told.unknown) == (1, (), ())


def test_more_approvals_would_have_stopped_it(site: Site) -> None:
    promotion = promoted(site)
    told = replay(site, approvals=2)
    assert stopped(told) == {promotion.pk: ["approvals"]}
    assert told.stopped[0].gates[0].reason == "1 of 2 approvals (by ben)."


def test_it_is_told_of_the_last_ones_only(site: Site) -> None:
    promoted(site)
    last = promoted(site, "1.1.0")
    told = replay(site, last=1, approvals=2)
    assert (told.checked, list(stopped(told))) == (1, [last.pk])


def test_what_is_upstream_is_what_was_there_then(site: Site) -> None:
    """Another version has taken the place in staging since."""
    promotion = promoted(site)
    site.promote(site.staging, site.publish("1.1.0"))
    assert replay(site, upstream="staging").stopped == ()
    assert stopped(replay(site, upstream="staging", soak="1h")) == {promotion.pk: ["soak"]}
    with unsealed():
        Placement.objects.filter(version__name="1.0.0", environment=site.staging).update(
            since=timezone.now() - timedelta(hours=2)
        )
    assert replay(site, upstream="staging", soak="1h").stopped == ()


def test_what_came_upstream_afterwards_was_not_there_then(site: Site) -> None:
    policies.set_policy(site.production, NO_WAY, by=site.cast.admin)
    version = site.publish("1.0.0")
    promotion = site.promote(site.production, version)
    site.promote(site.staging, version)
    assert stopped(replay(site, upstream="staging")) == {promotion.pk: ["upstream"]}


def test_evidence_that_came_afterwards_was_not_there_then(site: Site) -> None:
    early, late = site.publish("1.0.0"), site.publish("1.1.0")
    tests: dict[str, Any] = {"predicate_type": "tests", "result": "passed", "payload": {}}
    keeping.add_evidence(early, by=site.cast.ada, **tests)
    policies.set_policy(site.production, NO_WAY, by=site.cast.admin)
    site.promote(site.production, early)
    promotion = site.promote(site.production, late)
    keeping.add_evidence(late, by=site.cast.ada, **tests)
    told = replay(site, evidence=[{"type": "tests", "result": "passed"}])
    assert stopped(told) == {promotion.pk: ["evidence: tests"]}


def test_a_recall_since_is_no_reason(site: Site) -> None:
    promotion = promoted(site)
    version = promotion.items.get().version
    recalling.recall(version, by=site.cast.cleo, reason="It loses data.")
    assert replay(site).stopped == ()


def test_a_freeze_is_looked_for_at_the_time_of_then(site: Site) -> None:
    promotion = promoted(site)
    assert promotion.finished_at is not None
    day = promotion.finished_at.date()

    def freeze(ends: int, repeats: str = "") -> dict[str, Any]:
        starts, over = day + timedelta(days=ends - 1), day + timedelta(days=ends + 1)
        return {"name": "Fair", "starts": f"{starts}", "ends": f"{over}", "repeats": repeats}

    assert stopped(replay(site, freezes=[freeze(0)])) == {promotion.pk: ["freeze"]}
    assert replay(site, freezes=[freeze(-7)]).stopped == ()
    weekly = replay(site, freezes=[freeze(-7, "weekly")])
    assert stopped(weekly) == {promotion.pk: ["freeze"]}


def test_groups_that_no_gate_kept_cannot_be_told(site: Site) -> None:
    join(site.cast.ben, "release")
    promotion = promoted(site)
    told = replay(site, approvers={"groups": ["release"]})
    assert (told.stopped, unknown(told)) == ((), {promotion.pk: ["approvals"]})
    # Whatever the groups were, one person is not two.
    told = replay(site, approvals=2, approvers={"groups": ["release"]})
    assert (stopped(told), told.unknown) == ({promotion.pk: ["approvals"]}, ())


def test_groups_are_those_that_the_gates_kept(site: Site) -> None:
    join(site.cast.ben, "release", "watch")
    Group.objects.create(name="security")
    policies.set_policy(
        site.production, {"upstream": "staging", "approvers": {"groups": ["release"]}},
        by=site.cast.admin,
    )  # fmt: skip
    promotion = promoted(site)
    site.cast.ben.groups.clear()
    told = replay(site, approvers={"one_from_each": ["watch"]})
    assert (told.stopped, told.unknown) == ((), ())
    told = replay(site, approvers={"one_from_each": ["security"]})
    assert stopped(told) == {promotion.pk: ["approvals"]}


def test_who_requested_is_known_as_far_as_a_gate_looked(site: Site) -> None:
    join(site.cast.ada, "shop", "till")
    Group.objects.create(name="other")
    policies.set_policy(
        site.production, {"upstream": "staging", "may_request": ["shop", "other"]},
        by=site.cast.admin,
    )  # fmt: skip
    promotion = promoted(site)
    assert replay(site, may_request=["shop"]).stopped == ()
    assert stopped(replay(site, may_request=["other"])) == {promotion.pk: ["requester"]}
    assert unknown(replay(site, may_request=["till"])) == {promotion.pk: ["requester"]}


def test_a_rollback_is_asked_as_a_rollback(site: Site) -> None:
    first = promoted(site)
    promoted(site, "1.1.0")
    back = promoting.roll_back(site.production, first.items.get().package, by=site.cast.ada)
    promoting.approve(back, by=site.cast.ben, plan=back.plan_digest)
    promoting.execute(back.pk)
    told = replay(site, approvals=2, rollback={"approvals": 1})
    assert back.pk not in stopped(told)
    assert len(told.stopped) == 2
    assert list(stopped(replay(site, rollback={"approvals": 2}))) == [back.pk]


def test_a_machine_with_many_requests_of_then(site: Site) -> None:
    builder = User.objects.create_user(
        "builder", is_machine=True, roles=["developer"], password=None
    )
    policies.set_policy(site.production, NO_WAY, by=site.cast.admin)
    one, two = site.publish("1.0.0"), site.publish("2.0.0", package="other")
    first = promoting.request(site.production, [one], by=builder)
    second = promoting.request(site.production, [two], by=builder)
    for each in (first, second):
        promoting.approve(each, by=site.cast.ben, plan=each.plan_digest)
        promoting.execute(each.pk)
    told = replay(site, machines={"open_requests": 1})
    assert stopped(told) == {first.pk: ["requester"]}
    assert set(stopped(replay(site, machines={"request": False}))) == {first.pk, second.pk}


def test_own_gates_are_asked_of_what_was(site: Site) -> None:
    small, large = promoted(site), promoted(site, "2.0.0")
    custom = [{"name": "First", "expression": "items.all(i, i.version.startsWith('1.'))"}]
    assert stopped(replay(site, custom=custom)) == {large.pk: ["custom: First"]}
    custom = [{"name": "Shop", "expression": "'shop' in requester.groups"}]
    told = replay(site, custom=custom)
    assert unknown(told) == {pk: ["custom: Shop"] for pk in (large.pk, small.pk)}
    assert "were not kept" in told.unknown[0].gates[0].reason
    custom = [{"name": "Typo", "expression": "itmes.size() > 0"}]
    told = replay(site, custom=custom)
    assert set(stopped(told)) == {small.pk, large.pk}
    assert "itmes" in told.stopped[0].gates[0].reason


def test_an_own_gate_that_takes_too_long_cannot_be_told(site: Site) -> None:
    promotion = promoted(site)
    many = "[1,2,3,4,5,6,7,8,9,10]"
    deep = "true"
    for depth in range(12):
        deep = f"{many}.all(x{depth}, {deep})"
    told = replay(site, custom=[{"name": "Slow", "expression": deep}])
    assert unknown(told) == {promotion.pk: ["custom: Slow"]}


def test_what_was_broken_open_then_would_have_been_again(site: Site) -> None:
    promotion = promoted(site)
    broken = [
        each | {"overridden": True} for each in promotion.gates if each["name"] == "approvals"
    ]
    others = [each for each in promotion.gates if each["name"] != "approvals"]
    Promotion.objects.filter(pk=promotion.pk).update(gates=[*others, *broken])
    assert replay(site, approvals=3).stopped == ()


def test_more_promotions_take_no_more_questions(site: Site, django_assert_num_queries: Any) -> None:
    policy = Rules.read(
        {"upstream": "staging", "soak": "1h", "evidence": [{"type": "x"}], "not_by": ["publisher"],
         "custom": [{"name": "True", "expression": "true"}]}
    )  # fmt: skip
    for number in range(3):
        promoted(site, f"1.{number}.0")
        with django_assert_num_queries(6):
            replaying.replay(site.production, policy, by=site.cast.admin)


def test_operators_alone_replay(site: Site) -> None:
    for who in (site.cast.ada, site.cast.ben, site.cast.dora, site.cast.mallory):
        refused(Forbidden, lambda who=who: replaying.replay(site.production, Rules(), by=who))  # type: ignore[misc]
