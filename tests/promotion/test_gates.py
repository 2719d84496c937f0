"""What each rule of a policy says of a promotion: decisions without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from promotion.gates import (
    APPROVALS,
    CustomAnswer,
    Facts,
    GateResult,
    GivenApproval,
    ItemFacts,
    KnownEvidence,
    Requester,
    Rules,
    closed,
    evaluate,
    lowered,
    overriding,
    refused,
)

NOW = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLAN = "sha256:" + "1" * 64
OTHER_PLAN = "sha256:" + "2" * 64
SHOP = ItemFacts(
    "files/shop 1.4.2",
    "1.4.2",
    is_recalled=False,
    upstream_since=NOW - 3 * HOUR,
    publisher="cleo",
    run_starter="dora",
    branches=("main",),
    pipeline="shop",
)


def approval(who: str, **besides: Any) -> GivenApproval:
    return GivenApproval(who, PLAN, may_decide=True, at=NOW - HOUR, **besides)


def facts(**changes: Any) -> Facts:
    known = Facts(
        environment="production",
        now=NOW,
        requester=Requester("ada"),
        plan_digest=PLAN,
        approvals=(),
        items=(SHOP,),
    )
    return replace(known, **changes)


def items(**changes: Any) -> tuple[ItemFacts, ...]:
    return (replace(SHOP, **changes),)


def rules(**written: Any) -> Rules:
    return Rules.read(written)


def gate(name: str, policy: Rules, known: Facts) -> GateResult:
    (found,) = (each for each in evaluate(policy, known) if each.name == name)
    return found


def names(policy: Rules, known: Facts) -> list[str]:
    return [each.name for each in evaluate(policy, known)]


# ---- Approvals ---------------------------------------------------------------------------------
def counted(policy: Rules, *given: GivenApproval, **besides: Any) -> list[str]:
    told = gate(APPROVALS, policy, facts(approvals=given, **besides)).inputs["counted"]
    assert isinstance(told, list)
    return told


def test_one_person_counts_once() -> None:
    policy = rules(approvals=2)
    found = gate(APPROVALS, policy, facts(approvals=(approval("ben"), approval("ben"))))
    assert (found.open, found.reason) == (False, "1 of 2 approvals (by ben).")


def test_the_requester_counts_only_where_the_policy_says_so() -> None:
    assert counted(rules(), approval("ada")) == []
    assert counted(rules(self_approval=True), approval("ada")) == ["ada"]


def test_an_approval_of_another_plan_counts_nothing() -> None:
    assert counted(rules(), replace(approval("ben"), plan_digest=OTHER_PLAN)) == []


def test_whoever_may_no_longer_decide_counts_nothing() -> None:
    assert counted(rules(), replace(approval("ben"), may_decide=False)) == []


@pytest.mark.parametrize(("separated", "who"), [("publisher", "cleo"), ("run_starter", "dora")])
def test_whoever_made_it_is_kept_apart(separated: str, who: str) -> None:
    assert counted(rules(), approval(who)) == [who]
    assert counted(rules(not_by=[separated]), approval(who)) == []


def test_only_members_of_the_groups_count() -> None:
    policy = rules(approvers={"groups": ["release"]})
    release = frozenset({"release", "cooks"})
    assert counted(policy, approval("ben"), approval("cleo", groups=release)) == ["cleo"]


def test_one_from_each_group_is_asked() -> None:
    policy = rules(approvals=2, approvers={"one_from_each": ["release", "security"]})
    release, security = frozenset({"release"}), frozenset({"security"})
    ben, cleo = approval("ben", groups=release), approval("cleo", groups=release)
    found = gate(APPROVALS, policy, facts(approvals=(ben, cleo)))
    assert not found.open
    assert found.reason == "2 of 2 approvals (by ben, cleo), and none from security."
    dora = approval("dora", groups=security)
    assert gate(APPROVALS, policy, facts(approvals=(ben, dora))).open


def test_an_approval_expires() -> None:
    assert counted(rules(approvals_expire_after="2h"), approval("ben")) == ["ben"]
    assert counted(rules(approvals_expire_after="60m"), approval("ben")) == []


def test_a_machine_approves_only_where_the_policy_lets_it() -> None:
    machine = approval("builder", is_machine=True)
    assert counted(rules(), machine) == []
    assert counted(rules(machines={"approve": True}), machine) == ["builder"]


def test_an_approval_without_a_second_factor_counts_nothing_where_one_is_asked() -> None:
    policy = rules(second_factor=True)
    assert counted(policy, approval("ben"), approval("cleo", second_factor=True)) == ["cleo"]


def test_a_rollback_has_approvals_of_its_own() -> None:
    policy = rules(approvals=3, rollback={"approvals": 1})
    assert gate(APPROVALS, policy, facts(approvals=(approval("ben"),), is_rollback=True)).open
    assert not gate(APPROVALS, policy, facts(approvals=(approval("ben"),))).open


# ---- Upstream and soak -------------------------------------------------------------------------
def test_what_is_not_upstream_is_refused() -> None:
    found = gate("upstream", rules(upstream="staging"), facts(items=items(upstream_since=None)))
    assert found.reason == "files/shop 1.4.2 is not in staging. Promote it there first."
    assert found in refused([found])


def test_soaking_says_how_long_and_when_it_opens() -> None:
    policy = rules(upstream="staging", soak="24h")
    found = gate("soak", policy, facts())
    assert found.reason == "Soaked in staging for 3 h of 24 h; opens on 24 Nov 2026 10:00 UTC."
    assert found.opens_at == NOW + 21 * HOUR
    assert refused([found]) == ()
    assert closed([found]) == (found,)
    assert gate("soak", policy, facts(now=NOW + 21 * HOUR)).open


def test_the_youngest_of_a_train_decides_when_it_has_soaked() -> None:
    younger = replace(SHOP, name="files/till 2.0.0", upstream_since=NOW - HOUR)
    found = gate("soak", rules(upstream="staging", soak="2h"), facts(items=(SHOP, younger)))
    assert found.opens_at == NOW + HOUR


def test_a_rollback_walks_no_way_again() -> None:
    policy = rules(
        upstream="staging",
        soak="24h",
        versions={"range": "^2"},
        run={"branches": ["release/*"]},
        evidence=[{"type": "junit"}],
        freezes=[{"name": "Now", "starts": "2026-11-01T00:00", "ends": "2026-12-01T00:00"}],
    )
    assert names(policy, facts(is_rollback=True)) == ["not_recalled", APPROVALS]
    strict = rules(
        **policy.as_json() | {"rollback": {"evidence": True, "freezes": True}},
    )
    again = ["not_recalled", "evidence: junit", "freeze", APPROVALS]
    assert names(strict, facts(is_rollback=True)) == again


# ---- Versions and runs -------------------------------------------------------------------------
def test_a_version_outside_the_range_is_refused() -> None:
    policy = rules(versions={"range": "^2"})
    found = gate("versions", policy, facts(items=items(outside_range="it is outside ^2")))
    assert (found.open, found.reason) == (False, "files/shop 1.4.2: it is outside ^2.")


def test_pre_releases_are_refused_where_the_policy_wants_none() -> None:
    known = facts(items=items(is_pre_release=True))
    assert not gate("versions", rules(versions={"pre_releases": False}), known).open
    assert "versions" not in names(rules(), known)


@pytest.mark.parametrize(
    ("branches", "is_open"),
    [(("main",), True), (("release/7",), True), (("topic",), False), ((), False)],
)
def test_the_branch_must_be_one_of_the_allowed(branches: tuple[str, ...], is_open: bool) -> None:
    policy = rules(run={"branches": ["main", "release/*"]})
    assert gate("branch", policy, facts(items=items(branches=branches))).open is is_open


def test_every_source_must_be_of_an_allowed_branch() -> None:
    known = facts(items=items(branches=("main", "topic")))
    assert not gate("branch", rules(run={"branches": ["main"]}), known).open


def test_the_pipeline_must_be_one_of_the_allowed() -> None:
    assert gate("pipeline", rules(run={"pipelines": ["sh*"]}), facts()).open
    assert not gate("pipeline", rules(run={"pipelines": ["till"]}), facts()).open


def test_what_was_changed_by_hand_is_named() -> None:
    known = facts(items=items(overrides=("the variable X was given by hand",)))
    found = gate("no_manual_override", rules(run={"no_manual_override": True}), known)
    assert found.reason == "files/shop 1.4.2: the variable X was given by hand."


# ---- Evidence ----------------------------------------------------------------------------------
def statement(result: str = "passed", *keys: str) -> KnownEvidence:
    return KnownEvidence("sha256:" + "e" * 64, "junit", "https://example.com/junit", result, keys)


@pytest.mark.parametrize(
    ("required", "there", "lacking"),
    [
        ({"type": "junit"}, (), "junit is missing"),
        ({"type": "sarif"}, (statement(),), "sarif is missing"),
        ({"type": "junit"}, (statement("failed"),), ""),
        ({"type": "junit", "result": "passed"}, (statement(),), ""),
        (
            {"type": "https://example.com/junit", "result": "passed"},
            (statement("failed"),),
            "https://example.com/junit says failed, not passed",
        ),
        (
            {"type": "junit", "result": "passed"},
            (statement(), statement("failed")),
            "junit says passed and failed",
        ),
        (
            {"type": "junit", "signed_by": ["ci"]},
            (statement(),),
            "junit is there, but not signed by ci",
        ),
        ({"type": "junit", "signed_by": ["ci", "lab"]}, (statement("", "lab"),), ""),
        (
            {"type": "junit", "result": "passed", "signed_by": ["ci"]},
            (statement("passed"), statement("failed", "ci")),
            "junit says failed, not passed",
        ),
    ],
)
def test_required_evidence(
    required: dict[str, Any], there: tuple[KnownEvidence, ...], lacking: str
) -> None:
    known = facts(items=items(evidence=there))
    found = gate(f"evidence: {required['type']}", rules(evidence=[required]), known)
    told = {"files/shop 1.4.2": lacking} if lacking else {}
    assert (found.open, found.inputs["lacking"]) == (not lacking, told)


# ---- Requests, holds, reviews, own gates -------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "requester", "fault"),
    [
        ({}, Requester("ada", may_request=False), "ada may no longer request promotions."),
        ({"may_request": ["shop"]}, Requester("ada"), "ada is in none of shop."),
        (
            {"machines": {"request": False}},
            Requester("builder", is_machine=True),
            "builder is a machine, and only people request promotions here.",
        ),
        (
            {"machines": {"open_requests": 2}},
            Requester("builder", is_machine=True, open_requests=2),
            "builder has 2 open requests here of at most 2.",
        ),
    ],
)
def test_who_may_not_request(written: dict[str, Any], requester: Requester, fault: str) -> None:
    found = gate("requester", rules(**written), facts(requester=requester))
    assert (found.open, found.reason) == (False, fault)
    assert refused([found]) == (found,)


def test_rolling_back_has_groups_of_its_own() -> None:
    policy = rules(may_request=["shop"], may_roll_back=["watch"])
    watch = Requester("ada", groups=frozenset({"watch"}))
    assert gate("requester", policy, facts(requester=watch, is_rollback=True)).open
    assert not gate("requester", policy, facts(requester=watch)).open


def test_a_hold_stops_machines_and_warns_people() -> None:
    known = facts(items=items(hold="it was rolled back by ben"))
    assert gate("no_hold", rules(), known).open
    machine = replace(known, requester=Requester("sluice", is_machine=True))
    assert not gate("no_hold", rules(), machine).open


def test_overdue_reviews_stop_everything_but_rollbacks() -> None:
    known = facts(overdue_reviews=("promotion 7, due on 20 Nov",))
    assert not gate("reviews", rules(), known).open
    assert "reviews" not in names(rules(), replace(known, is_rollback=True))


def test_an_own_gate_says_its_message() -> None:
    policy = rules(custom=[{"name": "Size", "expression": "x", "message": "Too large."}])
    asked = facts(custom={"Size": CustomAnswer(False)})
    assert gate("custom: Size", policy, asked).reason == "Too large."
    assert gate("custom: Size", policy, facts(custom={"Size": CustomAnswer(True)})).open
    broken = facts(custom={"Size": CustomAnswer(False, "it took too long")})
    assert (
        gate("custom: Size", policy, broken).reason == "Size could not be told: it took too long."
    )
    assert not gate("custom: Size", policy, facts()).open


# ---- Breaking the glass ------------------------------------------------------------------------
def test_an_override_opens_what_it_names_and_stays_visible() -> None:
    policy = rules(approvals=2, upstream="staging")
    told = evaluate(policy, facts(items=items(upstream_since=None)))
    assert [each.name for each in closed(told)] == ["upstream", APPROVALS]
    broken = overriding(told, frozenset({"upstream", APPROVALS}))
    assert closed(broken) == ()
    overridden = {each.name for each in broken if each.as_json().get("overridden")}
    assert overridden == {"upstream", APPROVALS}
    assert [each.name for each in closed(overriding(told, frozenset({"upstream"})))] == [APPROVALS]


def test_nothing_overrides_a_recall() -> None:
    told = evaluate(rules(), facts(items=items(is_recalled=True, is_pruned=True)))
    everything = frozenset(each.name for each in told)
    left = [each.name for each in closed(overriding(told, everything))]
    assert left == ["not_recalled", "not_pruned"]


# ---- Windows that meet -------------------------------------------------------------------------
def test_windows_that_end_within_each_other_open_when_the_last_has_ended() -> None:
    """Nights and working days, for a whole week."""
    nights = {"name": "Night", "starts": "2026-11-23T20:00", "ends": "2026-11-24T08:00"}
    days = [
        {"name": f"Day {day}", "starts": f"2026-11-{day}T08:00", "ends": f"2026-11-{day}T20:00"}
        for day in range(23, 28)
    ]
    policy = rules(freezes=[nights | {"repeats": "daily"}, *days])
    found = gate("freeze", policy, facts())
    assert found.opens_at == datetime(2026, 11, 28, 8, tzinfo=UTC)


def test_windows_that_never_all_end_are_said_to() -> None:
    day = {"name": "Day", "starts": "2026-11-01T00:00", "ends": "2026-11-01T12:00"}
    night = {"name": "Night", "starts": "2026-11-01T12:00", "ends": "2026-11-02T00:00"}
    policy = rules(freezes=[day | {"repeats": "daily"}, night | {"repeats": "daily"}])
    found = gate("freeze", policy, facts())
    assert (found.open, found.opens_at) == (False, None)
    assert found.reason == "Frozen (Night, Day), and no end of it is in sight: the windows meet."


def test_an_own_gate_about_time_or_approvers_may_wait() -> None:
    late = {"name": "Late", "expression": "approvers.size() > 0"}
    asked = facts(custom={"Late": CustomAnswer(False)})
    at_once = gate("custom: Late", rules(custom=[late]), asked)
    waiting = gate("custom: Late", rules(custom=[late | {"waits": True}]), asked)
    assert refused([at_once]) == (at_once,)
    assert (closed([waiting]), refused([waiting])) == ((waiting,), ())


# ---- What a new policy takes away --------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"approvals": 2}, {}, ["A promotion needs 1 approval, not 2.",
                                "A rollback needs 1 approval, not 2."]),
        ({"approvals": 2, "rollback": {"approvals": 1}}, {"rollback": {"approvals": 0}},
         ["A promotion needs 1 approval, not 2.", "A rollback needs no approval, not 1."]),
        ({}, {"self_approval": True}, ["The requester may approve."]),
        ({"not_by": ["publisher"]}, {}, ["Whoever published a version may approve it."]),
        ({"second_factor": True}, {}, ["Approvals need no passkey."]),
        ({}, {"machines": {"approve": True}}, ["Machines may approve."]),
        ({"approvers": {"one_from_each": ["a"]}}, {}, ["No approval from a is needed."]),
        ({"approvers": {"groups": ["a"]}}, {},
         ["Anybody with the role may approve, in whichever group."]),
        ({"approvers": {"groups": ["a"]}}, {"approvers": {"groups": ["a", "b"]}},
         ["Members of b may approve."]),
        ({}, {"approvals": 3, "second_factor": True, "not_by": ["publisher"]}, []),
        ({"upstream": "staging"}, {}, []),
    ],
)  # fmt: skip
def test_what_a_new_policy_lowers_is_said(
    old: dict[str, Any], new: dict[str, Any], said: list[str]
) -> None:
    assert list(lowered(rules(**old), rules(**new))) == said
