"""Two of everything at once, with real threads and real locks: one winner, and the rest refused."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Role, User
from pipelines import runs
from pipelines.errors import AlreadyDecided, SluiceError, WrongState
from promotion import policies, promoting, publishing, recalling, selection, sweeping
from promotion.errors import PlanChanged, Recalled, VersionExists
from promotion.intervals import NO_TWO_PLACEMENTS
from promotion.ledger.verify import Verification
from promotion.models import (
    Affected,
    Approval,
    Download,
    Environment,
    LedgerEntry,
    LedgerHead,
    Package,
    Placement,
    Promotion,
    PromotionState,
    Selection,
    Version,
)
from tests.cast import Site, make_artifact, make_site
from tests.parallel import at_once, outcomes
from tests.sealed import unsealed

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

P = PromotionState
Queue = list[tuple[str, int]]


@pytest.fixture(autouse=True)
def site(transactional_db: None) -> Site:
    return make_site()


def refusals(answers: list[Any]) -> list[type[SluiceError]]:
    return [type(answer) for answer in answers if isinstance(answer, SluiceError)]


def types(prefix: str) -> list[str]:
    found = LedgerEntry.objects.filter(type__startswith=prefix).order_by("sequence")
    return list(found.values_list("type", flat=True))


def assert_all_holds() -> None:
    assert [each for result in Verification(scrub=True).run() for each in result.findings] == []
    sequences = list(LedgerEntry.objects.order_by("sequence").values_list("sequence", flat=True))
    assert sequences == list(range(LedgerHead.objects.get().size))


def executions(queue: list[tuple[str, int]]) -> list[int]:
    """The promotions that were sent off to be carried out."""
    return [row_id for task, row_id in queue if task == promoting.EXECUTE]


def fetch(promotion: Promotion) -> Promotion:
    return Promotion.objects.get(pk=promotion.pk)


# ---- Decisions -----------------------------------------------------------------------------------
def test_many_approvals_of_one_person_at_once_count_once(
    site: Site, nobody_listens_to_the_queue: Queue
) -> None:
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    approve = partial(promoting.approve, by=site.cast.ben, plan=promotion.plan_digest)
    answers = outcomes([partial(approve, fetch(promotion)) for _ in range(20)])
    assert refusals(answers) == [AlreadyDecided] * 19
    assert Approval.objects.count() == 1
    assert types("promotion.approved") == ["promotion.approved"]
    assert fetch(promotion).state == P.REQUESTED
    assert executions(nobody_listens_to_the_queue) == []
    assert_all_holds()


def test_many_approvals_of_one_person_send_off_once(
    site: Site, nobody_listens_to_the_queue: Queue
) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    approve = partial(promoting.approve, by=site.cast.ben, plan=promotion.plan_digest)
    answers = outcomes([partial(approve, fetch(promotion)) for _ in range(20)])
    assert refusals(answers) == [WrongState] * 19
    assert executions(nobody_listens_to_the_queue) == [promotion.pk]
    assert_all_holds()


def test_two_approvers_at_once_make_one_transition_and_one_execution(
    site: Site, nobody_listens_to_the_queue: Queue
) -> None:
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    answers = outcomes(
        [
            partial(promoting.approve, fetch(promotion), by=by, plan=promotion.plan_digest)
            for by in (site.cast.ben, site.cast.cleo)
        ]
    )
    assert refusals(answers) == []
    assert fetch(promotion).state == P.APPROVED
    assert executions(nobody_listens_to_the_queue) == [promotion.pk]
    at_once([partial(promoting.execute, promotion.pk)] * 8)
    assert fetch(promotion).state == P.COMPLETED
    assert fetch(promotion).attempt == 1
    assert Placement.objects.count() == 1
    assert types("promotion.completed") == ["promotion.completed"]
    assert_all_holds()


@pytest.mark.parametrize("turn", range(5))
def test_of_approve_and_reject_one_wins(site: Site, turn: int) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    approve, reject = outcomes(
        [
            partial(promoting.approve, fetch(promotion), by=site.cast.ben,
                    plan=promotion.plan_digest),
            partial(promoting.reject, fetch(promotion), by=site.cast.cleo,
                    plan=promotion.plan_digest),
        ]
    )  # fmt: skip
    assert refusals([approve, reject]) == [WrongState]
    winner = P.REJECTED if isinstance(approve, SluiceError) else P.APPROVED
    assert fetch(promotion).state == winner
    assert Approval.objects.count() == 1
    assert_all_holds()


@pytest.mark.parametrize("turn", range(5))
def test_of_withdraw_and_execute_one_wins(site: Site, turn: int) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    withdrawn, _ = outcomes(
        [
            partial(promoting.withdraw, fetch(promotion), by=site.cast.ada),
            partial(promoting.execute, promotion.pk),
        ]
    )
    if isinstance(withdrawn, SluiceError):
        assert type(withdrawn) is WrongState
        assert (fetch(promotion).state, Placement.objects.count()) == (P.COMPLETED, 1)
    else:
        assert (fetch(promotion).state, Placement.objects.count()) == (P.WITHDRAWN, 0)
    assert_all_holds()


@pytest.mark.parametrize("turn", range(3))
def test_an_approval_and_a_change_of_policy_take_turns(site: Site, turn: int) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    set_policy = partial(policies.set_policy, site.staging, {"approvals": 2}, by=site.cast.admin)
    approve = partial(
        promoting.approve, fetch(promotion), by=site.cast.ben, plan=promotion.plan_digest
    )
    outcomes([set_policy, approve])
    promoting.execute(promotion.pk)
    sweeping.sweep()
    assert fetch(promotion).state == P.STALE
    assert Placement.objects.count() == 0
    assert_all_holds()


# ---- Publishing ----------------------------------------------------------------------------------
def test_the_same_bytes_published_at_once_are_one_version(site: Site) -> None:
    artifact = make_artifact(site.cast.ada, site.pipeline)
    publish = partial(
        publishing.publish, site.repository, "app", "1.0.0", artifact, by=site.cast.ada
    )
    answers = at_once([publish] * 8)
    assert sorted(answer.is_new for answer in answers) == [False] * 7 + [True]
    assert len({answer.version.pk for answer in answers}) == 1
    assert (Version.objects.count(), Package.objects.count()) == (1, 1)
    assert types("version.published") == ["version.published"]
    assert_all_holds()


def test_other_bytes_published_at_once_under_one_name_have_one_winner(site: Site) -> None:
    made = [make_artifact(site.cast.ada, site.pipeline) for _ in range(8)]
    answers = outcomes(
        [
            partial(publishing.publish, site.repository, "app", "1.0.0", each, by=site.cast.ada)
            for each in made
        ]
    )
    assert refusals(answers) == [VersionExists] * 7
    (winner,) = [each for each in answers if not isinstance(each, SluiceError)]
    assert winner.is_new
    assert Version.objects.get().manifest_digest == winner.version.manifest_digest
    assert_all_holds()


# ---- Executions ----------------------------------------------------------------------------------
def test_of_two_approved_promotions_replacing_the_same_version_the_second_is_stale(
    site: Site,
) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    both = [site.request(site.staging, site.publish(name)) for name in ("1.1.0", "1.2.0")]
    for promotion in both:
        promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    at_once([partial(promoting.execute, promotion.pk) for promotion in both])
    # Whoever waited its turn is nudged once the other one has ended.
    for promotion in both:
        promoting.execute(promotion.pk)
    states = sorted(str(fetch(promotion).state) for promotion in both)
    assert states == [P.COMPLETED, P.STALE]
    (winner,) = [each for each in both if fetch(each).state == P.COMPLETED]
    assert Placement.objects.current().get().promotion == winner
    assert Placement.objects.count() == 2
    assert_all_holds()


def test_promotions_of_other_packages_do_not_disturb_each_other(site: Site) -> None:
    all_ = [site.request(site.staging, site.publish("1.0.0", package=f"p{n}")) for n in range(6)]
    for promotion in all_:
        promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    at_once([partial(promoting.execute, promotion.pk) for promotion in all_])
    assert {str(fetch(promotion).state) for promotion in all_} == {"completed"}
    assert Placement.objects.current().count() == 6
    assert_all_holds()


@pytest.mark.parametrize("turn", range(5))
def test_a_recall_and_an_execution_take_turns(site: Site, turn: int) -> None:
    version = site.publish("1.0.0")
    promotion = site.request(site.staging, version)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    recall = partial(recalling.recall, version, by=site.cast.cleo, reason="It is bad.")
    answers = outcomes([recall, partial(promoting.execute, promotion.pk)])
    assert refusals(answers) == []
    order = [each for each in types("") if each in {"version.recalled", "promotion.completed"}]
    if fetch(promotion).state == P.COMPLETED:
        assert order == ["promotion.completed", "version.recalled"], (
            "what was recalled first was placed all the same"
        )
    else:
        assert fetch(promotion).state == P.FAILED
        assert Placement.objects.count() == 0
    assert_all_holds()


# ---- Recalls -------------------------------------------------------------------------------------
@pytest.mark.parametrize("turn", range(4))
def test_a_selection_comes_before_a_recall_and_is_listed_or_after_it_and_is_refused(
    site: Site, turn: int
) -> None:
    version = site.publish("1.0.0")
    query = selection.Query(version="1.0.0")
    select = partial(selection.select, version.package, query, by=site.cast.production)
    recall = partial(recalling.recall, version, by=site.cast.cleo, reason="It is bad.")
    answers = outcomes([select, recall, select, partial(select, by=site.cast.ada)])
    assert set(refusals(answers)) <= {Recalled}
    picked = set(Selection.objects.values_list("by__username", flat=True))
    assert {user.username for user in recalling.owners_of(version)} == picked
    assert types("version.recalled") == ["version.recalled"]
    assert_all_holds()


@pytest.mark.parametrize("turn", range(4))
def test_a_download_at_the_moment_of_a_recall_is_listed_once(site: Site, turn: int) -> None:
    version = site.publish("1.0.0")
    fetch_it = partial(recalling.note_download, version, by=site.cast.ada.pk)
    recall = partial(
        recalling.recall, Version.objects.get(), by=site.cast.cleo, reason="It is bad."
    )
    assert refusals(outcomes([fetch_it, recall, fetch_it])) == []
    assert [user.username for user in recalling.owners_of(version)] == ["ada"]
    assert Download.objects.count() == 1
    assert_all_holds()


@pytest.mark.parametrize("turn", range(4))
def test_a_request_comes_before_a_recall_and_is_listed_or_after_it_and_is_refused(
    site: Site, turn: int
) -> None:
    version = site.publish("1.0.0")
    request = partial(site.request, site.staging, version)
    recall = partial(recalling.recall, version, by=site.cast.cleo, reason="It is bad.")
    answers = outcomes([request, recall])
    assert set(refusals(answers)) <= {Recalled, WrongState}
    requested = Promotion.objects.count()
    assert recalling.owners_of(version).count() == requested
    assert (Recalled in refusals(answers)) is (requested == 0)
    assert_all_holds()


def test_of_two_recalls_at_once_one_is_made_and_each_owner_listed_once(site: Site) -> None:
    version = site.publish("1.0.0")
    recalling.note_download(version, by=site.cast.dora.pk)
    answers = outcomes(
        [
            partial(recalling.recall, Version.objects.get(), by=by, reason="It is bad.")
            for by in (site.cast.ben, site.cast.cleo, site.cast.admin)
        ]
    )
    assert refusals(answers) == [WrongState] * 2
    assert Affected.objects.count() == 1
    assert types("version.recalled") == ["version.recalled"]
    assert_all_holds()


def test_a_recall_acknowledged_by_several_at_once_is_acknowledged_by_one(site: Site) -> None:
    version = site.publish("1.0.0")
    recalling.note_download(version, by=site.cast.ada.pk)
    recalling.recall(version, by=site.cast.cleo, reason="It is bad.")
    people = (site.cast.ada, site.cast.ben, site.cast.cleo)
    listed = Affected.objects.get()
    answers = outcomes([partial(recalling.acknowledge, listed, by=by) for by in people])
    assert refusals(answers) == [WrongState] * 2
    assert types("recall.acknowledged") == ["recall.acknowledged"]
    assert_all_holds()


def test_two_placements_written_at_once_past_the_code_are_one(site: Site) -> None:
    """In two transactions that see nothing of each other, and with no index on current ones to help
    out: the intervals have ended."""
    promotion = site.request(site.staging, site.publish("1.0.0"))
    item = promotion.items.get()
    begins = promotion.requested_at

    def write(minutes: int) -> bool:
        try:
            Placement.objects.create(
                package=item.package, environment=site.staging, version=item.version,
                promotion=promotion, since=begins, recorded_at=begins,
                until=begins + timedelta(minutes=minutes),
            )  # fmt: skip
        except IntegrityError as error:
            assert NO_TWO_PLACEMENTS in str(error)
            return False
        return True

    assert sorted(at_once([partial(write, number) for number in (1, 2, 3)])) == [False, False, True]
    assert Placement.objects.count() == 1


# ---- The ledger ----------------------------------------------------------------------------------
def test_entries_appended_at_once_leave_no_gap(site: Site) -> None:
    before = LedgerHead.objects.get().size
    names = [f"repository-{number}" for number in range(20)]
    at_once([partial(publishing.create_repository, name, by=site.cast.ada) for name in names])
    assert LedgerHead.objects.get().size == before + 20
    assert_all_holds()


def test_the_first_entries_of_all_may_come_at_once(transactional_db: None) -> None:
    with unsealed():
        Environment.objects.update(policy=None)
        for model in (LedgerEntry, LedgerHead):
            model._default_manager.all().delete()
    ada = User.objects.create_user("first", password="x", roles=[Role.DEVELOPER.value])
    at_once([partial(publishing.create_repository, f"r{number}", by=ada) for number in range(8)])
    sequences = LedgerEntry.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(sequences) == list(range(8))
    assert LedgerHead.objects.get().size == 8


def test_selections_made_at_once_each_know_their_own_position(site: Site) -> None:
    version = site.publish("1.0.0")
    select = partial(
        selection.select,
        version.package,
        selection.Query(version="1.0.0"),
        by=site.cast.production,
    )
    picked = at_once([select] * 10)
    assert len({each.ledger_size for each in picked}) == 10
    for each in Selection.objects.all():
        assert LedgerEntry.objects.get(sequence=each.ledger_size).type == "selection.made"
    assert_all_holds()


# ---- Runs ----------------------------------------------------------------------------------------
def test_runs_started_at_once_are_numbered_without_gap_or_double(site: Site) -> None:
    started = at_once([partial(runs.start, site.pipeline, by=site.cast.ada)] * 10)
    assert sorted(run.number for run in started) == list(range(1, 11))


def test_a_run_begins_and_its_job_is_claimed_once(
    site: Site, nobody_listens_to_the_queue: Queue
) -> None:
    run = runs.start(site.pipeline, by=site.cast.ada)
    nobody_listens_to_the_queue.clear()
    at_once([partial(runs.begin, run.pk)] * 6)
    job = run.jobs.get()
    assert nobody_listens_to_the_queue == [(runs.EXECUTE, job.pk)]
    claimed = at_once([partial(runs.claim, job.pk)] * 6)
    assert len([each for each in claimed if each is not None]) == 1


def test_two_requests_that_go_stale_are_told_so_in_the_answer(site: Site) -> None:
    version = site.publish("1.0.0")
    promotion = site.request(site.staging, version)
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    answers = outcomes(
        [
            partial(promoting.approve, fetch(promotion), by=by, plan=promotion.plan_digest)
            for by in (site.cast.ben, site.cast.cleo)
        ]
    )
    assert sorted(each.__name__ for each in refusals(answers)) == [
        PlanChanged.__name__,
        WrongState.__name__,
    ]
    assert types("promotion.stale") == ["promotion.stale"]
    assert_all_holds()


def test_a_selection_never_waits_for_whoever_holds_the_environment(site: Site) -> None:
    """It has the ledger's lock by then, for which the holder may be waiting in turn."""
    site.promote(site.staging, site.publish("1.0.0"))
    package = Package.objects.get()

    def select() -> Selection:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '10s'")
        query = selection.Query(environment="staging")
        return selection.select(package, query, by=site.cast.production)

    with transaction.atomic():
        Environment.objects.locked().get(pk=site.staging.pk)
        (picked,) = at_once([select])
    assert picked.environment == site.staging
    assert_all_holds()
