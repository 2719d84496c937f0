"""Whatever people do in whatever order, the promises hold: a machine that acts at random.

Each rule is one act of the cast through the verbs. What they may not do is refused, and a refusal
is as good an end of an act as any; what must hold afterwards is asked after each act, and all that
`verify` asks at the end.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import User
from pipelines.errors import SluiceError
from promotion import policies, promoting, recalling
from promotion.evidence import keeping
from promotion.ledger.verify import Verification
from promotion.models import (
    Decision,
    Environment,
    Placement,
    Promotion,
    PromotionState,
    Version,
    VersionState,
)
from promotion.policies import rules_of
from tests.cast import Site, make_site

P = PromotionState
PEOPLE = ("ada", "ben", "cleo", "dora", "admin", "mallory")
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"approvals": 0},
    {"approvals": 2},
    {"approvals": 1, "self_approval": True},
    {"approvals": 1, "not_by": ["publisher"]},
    {"evidence": [{"type": "scan", "result": "passed"}]},
    {"approvals": 2, "rollback": {"approvals": 0}},
    {"versions": {"range": ">=1.1.0"}},
    {"freezes": [{"name": "Ever", "starts": "2000-01-01T00:00", "ends": "2999-01-01T00:00"}]},
)


class Promotions(RuleBasedStateMachine):
    site: Site

    def __init__(self) -> None:
        super().__init__()
        # Everything is rolled back at the end, so that each history begins with an empty site.
        self.all = transaction.atomic()
        self.all.__enter__()
        self.acts = 0

    def teardown(self) -> None:
        try:
            if hasattr(self, "site"):
                found = {each.promise: each.findings for each in Verification().run()}
                assert {name: said for name, said in found.items() if said} == {}
        finally:
            transaction.set_rollback(True)
            self.all.__exit__(None, None, None)

    @initialize()
    def begin(self) -> None:
        self.site = make_site()
        for name in ("1.0.0", "1.1.0"):
            self.site.publish(name)
        self.site.publish("1.0.0", package="tool")

    # ---- Choosing --------------------------------------------------------------------------------
    def person(self, name: str) -> User:
        return User.objects.prefetch_related("groups").get(username=name)

    def environment(self, is_production: bool) -> Environment:
        place = self.site.production if is_production else self.site.staging
        return Environment.objects.with_names().get(pk=place.pk)

    def promotion(self, number: int) -> Promotion | None:
        found = list(Promotion.objects.with_names().order_by("-pk")[:4])
        return found[number % len(found)] if found else None

    def version(self, number: int) -> Version:
        found = list(Version.objects.with_names().order_by("pk"))
        return found[number % len(found)]

    def attempt(self, act: Callable[[], object]) -> None:
        self.acts += 1
        try:
            act()
        except SluiceError as refusal:
            # A refusal that nobody could read would be no answer.
            assert refusal.detail

    # ---- Acts ------------------------------------------------------------------------------------
    @rule(
        is_production=st.booleans(),
        versions=st.lists(st.integers(0, 5), min_size=1, max_size=2),
        by=st.sampled_from(PEOPLE),
    )
    def request(self, is_production: bool, versions: list[int], by: str) -> None:
        wanted = [self.version(number) for number in versions]
        place = self.environment(is_production)
        self.attempt(lambda: promoting.request(place, wanted, by=self.person(by)))

    @rule(number=st.integers(0, 3), by=st.sampled_from(PEOPLE), approves=st.booleans())
    def decide(self, number: int, by: str, approves: bool) -> None:
        found = self.promotion(number)
        if found is not None:
            act = promoting.approve if approves else promoting.reject
            self.attempt(lambda: act(found, by=self.person(by), plan=found.plan_digest))

    @rule(number=st.integers(0, 3), by=st.sampled_from(("ben", "cleo")))
    def approve(self, number: int, by: str) -> None:
        self.decide(number, by, True)

    @rule(number=st.integers(0, 3))
    def execute(self, number: int) -> None:
        if (found := self.promotion(number)) is not None:
            promoting.execute(found.pk)

    @rule(number=st.integers(0, 3), by=st.sampled_from(PEOPLE))
    def withdraw(self, number: int, by: str) -> None:
        if (found := self.promotion(number)) is not None:
            self.attempt(lambda: promoting.withdraw(found, by=self.person(by)))

    @rule(number=st.integers(0, 3), by=st.sampled_from(PEOPLE))
    def retry(self, number: int, by: str) -> None:
        if (found := self.promotion(number)) is not None:
            self.attempt(lambda: promoting.retry(found, by=self.person(by)))

    @rule(number=st.integers(0, 3))
    def look_again(self, number: int) -> None:
        if (found := self.promotion(number)) is not None:
            promoting.reconsider(found)

    @rule(is_production=st.booleans(), policy=st.sampled_from(POLICIES))
    def change_policy(self, is_production: bool, policy: dict[str, Any]) -> None:
        place = self.environment(is_production)
        upstream = {"upstream": "staging"} if is_production else {}
        written = {**upstream, **policy}
        self.attempt(lambda: policies.set_policy(place, written, by=self.site.cast.admin))

    @rule(number=st.integers(0, 5), result=st.sampled_from(("passed", "failed")))
    def add_evidence(self, number: int, result: str) -> None:
        version = self.version(number)
        self.attempt(
            lambda: keeping.add_evidence(
                version, by=self.site.cast.ada, predicate_type="scan", result=result, payload={}
            )
        )

    @rule(is_production=st.booleans(), by=st.sampled_from(PEOPLE))
    def roll_back(self, is_production: bool, by: str) -> None:
        place, package = self.environment(is_production), self.version(0).package
        self.attempt(lambda: promoting.roll_back(place, package, by=self.person(by)))

    @precondition(lambda self: self.acts > 12)
    @rule(number=st.integers(0, 5))
    def recall(self, number: int) -> None:
        version = self.version(number)
        self.attempt(
            lambda: recalling.recall(version, by=self.site.cast.ben, reason="It loses data.")
        )

    # ---- What holds after each act -----------------------------------------------------------
    @invariant()
    def what_is_placed_was_promoted_there_last(self) -> None:
        for placement in Placement.objects.current().select_related("promotion"):
            last = (
                Promotion.objects.filter(
                    environment=placement.environment_id,
                    state=P.COMPLETED,
                    items__package=placement.package_id,
                )
                .order_by("-finished_at", "-pk")
                .first()
            )
            assert last is not None
            assert last.items.get(package=placement.package_id).version_id == placement.version_id

    @invariant()
    def what_is_not_completed_placed_nothing(self) -> None:
        assert not Placement.objects.exclude(promotion__state=P.COMPLETED).exists()

    @invariant()
    def what_is_completed_was_approved_as_its_policy_asked(self) -> None:
        completed = Promotion.objects.filter(state=P.COMPLETED)
        for promotion in completed.select_related("policy").prefetch_related("approvals__by"):
            policy = rules_of(promotion.policy)
            approvers = {
                each.by_id
                for each in promotion.approvals.all()
                if each.decision == Decision.APPROVE and each.plan_digest == promotion.plan_digest
            }
            if not policy.self_approval:
                assert promotion.requested_by_id not in approvers
            assert len(approvers) >= policy.approvals_for(rollback=promotion.kind == "rollback")

    @invariant()
    def an_open_promotion_is_of_the_plan_that_was_seen(self) -> None:
        for promotion in Promotion.objects.open():
            decided = promotion.approvals.exclude(plan_digest=promotion.plan_digest)
            assert not decided.exists()

    @invariant()
    def nothing_recalled_is_placed_anew(self) -> None:
        for placement in Placement.objects.filter(version__state=VersionState.RECALLED):
            assert placement.version.recalled_at is not None
            assert placement.recorded_at <= placement.version.recalled_at


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_whatever_people_do_the_promises_hold() -> None:
    run_state_machine_as_test(
        Promotions,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
