"""Whom the inbox asks, who may decide, and whose approval counts: one answer for every policy."""

from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Group
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Role, User
from pipelines.errors import SluiceError
from pipelines.models import Run, Trigger
from promotion import deciders, gates, gathering, plans, policies, promoting
from promotion.gates import GivenApproval, Rules
from promotion.models import Promotion
from tests.cast import Site

GROUPS = ("release", "security")
NAMES = st.lists(st.sampled_from(GROUPS), unique=True)
POLICIES = st.fixed_dictionaries(
    {"approvals": st.integers(2, 3)},
    optional={
        "self_approval": st.booleans(),
        "not_by": st.lists(st.sampled_from(["publisher", "run_starter"]), unique=True),
        "approvers": st.fixed_dictionaries({}, optional={"groups": NAMES, "one_from_each": NAMES}),
        "machines": st.fixed_dictionaries({}, optional={"approve": st.booleans()}),
        # What looks like a rule in the text of the revision, and is none.
        "custom": st.just([{"name": '"self_approval":true', "expression": "'\"not_by\":' != ''"}]),
    },
)


@pytest.fixture
def people(site: Site) -> list[User]:
    """Release managers in every combination of groups, and a machine; some had a hand in it."""
    for name in GROUPS:
        Group.objects.create(name=name)
    made = [site.cast.ben, site.cast.cleo]
    for number, (inside, is_machine) in enumerate(
        product([(), ("release",), ("security",), GROUPS], [False, True])
    ):
        user = User.objects.create_user(
            f"person{number}", roles=[Role.RELEASE_MANAGER.value], is_machine=is_machine
        )
        user.groups.set(Group.objects.filter(name__in=inside))
        made.append(user)
    # Whoever requests, publishes and starts runs may decide as well.
    User.objects.filter(username="ada").update(
        roles=[Role.DEVELOPER.value, Role.RELEASE_MANAGER.value]
    )
    return [*made, User.objects.get(username="ada")]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(written=POLICIES, requester=st.integers(0, 2))
def test_the_inbox_asks_whoever_may_decide_and_whose_approval_counts(
    site: Site, people: list[User], written: dict[str, Any], requester: int
) -> None:
    policies.set_policy(site.staging, written, by=site.cast.admin)
    version = version_of(site)
    by = [site.cast.ada, site.cast.ben, people[3]][requester]
    promotion = promoting.request(site.staging, [version], by=by)
    planned = plans.replan(promotion)
    rules: Rules = policies.rules_of(promotion.policy)
    facts = gathering.facts_of(planned, rules, promotion=promotion)
    for person in people:
        asked = deciders.awaiting(person).filter(pk=promotion.pk).exists()
        assert asked == may_decide(promotion, person), (written, person.username)
        given_now = GivenApproval(
            person.username,
            planned.digest,
            may_decide=True,
            at=facts.now,
            groups=gathering.groups_of(person),
            is_machine=person.is_machine,
        )
        assert asked == gates.counts(rules, facts, given_now), (written, person.username)
    promoting.withdraw(promotion, by=by)


def may_decide(promotion: Promotion, person: User) -> bool:
    try:
        deciders.require_decider(promotion, by=person)
    except SluiceError:
        return False
    return True


def version_of(site: Site) -> Any:
    found = site.repository.packages.filter(name="app").first()
    return found.versions.get() if found else site.publish("1.0.0")


def test_many_requests_are_asked_about_at_once(site: Site, django_assert_num_queries: Any) -> None:
    rules = {"not_by": ["publisher", "run_starter"], "approvers": {"groups": ["release"]}}
    Group.objects.get_or_create(name="release")
    policies.set_policy(site.staging, rules, by=site.cast.admin)
    for name in ("1.0.0", "1.1.0", "1.2.0"):
        site.request(site.staging, site.publish(name))
    with django_assert_num_queries(4):
        assert deciders.awaiting(site.cast.ben).count() == 0


@pytest.mark.parametrize(
    ("trigger", "is_machine", "is_by_hand"),
    [
        (Trigger.MANUAL, False, True),
        (Trigger.API, False, True),
        (Trigger.API, True, False),
    ],
)
@pytest.mark.parametrize("is_again", [False, True])
def test_variables_are_given_by_hand_where_a_person_gave_them(
    site: Site, trigger: Trigger, is_machine: bool, is_by_hand: bool, is_again: bool
) -> None:
    version = site.publish("1.0.0")
    pipeline, by = version.artifact.run.pipeline, User(username="x", is_machine=is_machine)
    run = Run(pipeline=pipeline, trigger=trigger, started_by=by, variables={"TARGET": "x"})
    if is_again:
        other = User(username="y", is_machine=not is_machine)
        run = Run(
            pipeline=pipeline,
            trigger=Trigger.AGAIN,
            started_by=other,
            variables=run.variables,
            again_of=run,
        )
    found = gathering.lasting(version, run, None)["overrides"]
    assert found == (("the variable TARGET was given by hand",) if is_by_hand else ())
