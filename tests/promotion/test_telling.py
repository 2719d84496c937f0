"""Who is told what, once and in order, whatever dies on the way."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import Role, User
from pipelines.errors import SluiceError
from promotion import (
    deciders,
    news,
    notices,
    overriding,
    policies,
    promoting,
    recalling,
    reminding,
    selection,
    telling,
)
from promotion.ledger.append import current_size
from promotion.models import Notice, Override, Promotion, PromotionState, Told, Verdict
from tests.cast import Site
from tests.promotion import acting
from tests.sealed import unsealed

pytestmark = pytest.mark.django_db

P = PromotionState


def told() -> set[tuple[str, str]]:
    return set(Notice.objects.values_list("recipient__username", "type"))


def unread(user: User) -> list[str]:
    return list(Notice.objects.unread_by(user).order_by("pk").values_list("type", flat=True))


def lease_ends() -> None:
    """As if the time of whoever holds it had passed."""
    Told.objects.update(lease_until=timezone.now() - timedelta(seconds=1))


def test_those_who_may_decide_are_told_of_a_request_with_the_way_to_it(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    telling.tell()
    assert told() == {("ben", "promotion.requested"), ("cleo", "promotion.requested")}
    notice = Notice.objects.get(recipient=site.cast.ben)
    assert notice.subject == (
        f"ada asks for your decision: app 1.0.0 to staging (promotion {promotion.pk})"
    )
    assert notice.path == f"/promotions/{promotion.pk}/"
    assert notice.asks


def test_whoever_requested_it_is_asked_only_where_the_policy_lets_them_decide(site: Site) -> None:
    ben = site.cast.ben
    version = site.publish("1.0.0")
    own = promoting.request(site.staging, [version], by=ben)
    assert [each.username for each in deciders.deciders_of(own)] == ["cleo"]
    policies.set_policy(site.production, {"self_approval": True}, by=site.cast.admin)
    lenient = promoting.request(site.production, [version], by=ben)
    assert [each.username for each in deciders.deciders_of(lenient)] == ["ben", "cleo"]


@pytest.mark.parametrize("self_approval", [True, False])
def test_the_set_of_deciders_is_just_those_whom_nothing_refuses(
    site: Site, self_approval: bool
) -> None:
    site.cast.cleo.is_active = False
    site.cast.cleo.save()
    boss = User.objects.create_user("boss", roles=list(Role))
    rules = {"approvals": 3, "self_approval": self_approval}
    policies.set_policy(site.staging, rules, by=site.cast.admin)
    promotion = promoting.request(site.staging, [site.publish("1.0.0")], by=boss)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    allowed = []
    for user in User.objects.order_by("username"):
        try:
            deciders.require_decider(promotion, by=user)
        except SluiceError:
            continue
        allowed.append(user)
    assert deciders.deciders_of(promotion) == allowed
    assert [each.username for each in allowed] == (["boss"] if self_approval else [])


def test_an_approval_settles_the_question_for_whoever_gave_it_and_the_last_for_all(
    site: Site,
) -> None:
    ada, ben, cleo = site.cast.ada, site.cast.ben, site.cast.cleo
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    dan = User.objects.create_user("dan", roles=[Role.RELEASE_MANAGER.value])
    promotion = site.request(site.staging, site.publish("1.0.0"))
    telling.tell()
    promoting.approve(promotion, by=ben, plan=promotion.plan_digest)
    telling.tell()
    assert unread(ben) == []
    assert unread(cleo) == unread(dan) == ["promotion.requested"]
    assert unread(ada) == ["promotion.approved"]
    promoting.approve(promotion, by=cleo, plan=promotion.plan_digest)
    telling.tell()
    assert unread(ben) == unread(cleo) == unread(dan) == []
    promoting.execute(promotion.pk)
    telling.tell()
    assert unread(ada) == ["promotion.approved", "promotion.approved", "promotion.completed"]
    assert unread(ben) == unread(cleo) == ["promotion.completed"]
    assert unread(dan) == []


def test_what_was_decided_before_anybody_was_told_asks_nobody(site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    telling.tell()
    assert {name for name, type_ in told() if type_ == "promotion.requested"} == set()
    assert ("ada", "promotion.completed") in told()


def test_the_requester_and_who_approved_are_told_how_it_ended(site: Site) -> None:
    cast = site.cast
    rejected = site.request(site.staging, site.publish("1.0.0"))
    promoting.reject(rejected, by=cast.ben, plan=rejected.plan_digest, comment="Not on a Friday.")
    withdrawn = site.request(site.staging, site.publish("1.1.0"))
    promoting.withdraw(withdrawn, by=cast.cleo)
    own = site.request(site.staging, site.publish("1.2.0"))
    promoting.withdraw(own, by=cast.ada)
    expired = site.request(site.staging, site.publish("1.3.0"))
    promoting.expire(expired)
    policies.set_policy(site.staging, {"approvals": 2}, by=cast.admin)
    stale = site.request(site.staging, site.publish("1.4.0"))
    promoting.approve(stale, by=cast.cleo, plan=stale.plan_digest)
    policies.set_policy(site.staging, {}, by=cast.admin)
    promoting.reconsider(stale)
    telling.tell()
    subjects = list(Notice.objects.filter(recipient=cast.ada).order_by("pk"))
    assert [each.subject.replace(f"promotion {each.path.split('/')[2]}", "#") for each in subjects
            ] == [
        "ben rejected app 1.0.0 to staging (#): Not on a Friday.",
        "cleo withdrew app 1.1.0 to staging (#)",
        "Not decided and placed in time: app 1.3.0 to staging (#)",
        "cleo approved app 1.4.0 to staging (#)",
        subjects[-1].subject.replace(f"promotion {stale.pk}", "#"),
    ]  # fmt: skip
    assert "No longer what was asked for: app 1.4.0" in subjects[-1].subject
    assert unread(cast.cleo) == ["promotion.stale"]


def test_a_failed_execution_is_told_and_so_is_that_somebody_had_it_tried_again(site: Site) -> None:
    version = site.publish("1.0.0")
    promotion = site.request(site.staging, version)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    Promotion.objects.filter(pk=promotion.pk).update(
        state=P.EXECUTING, attempt=settings.MAX_ATTEMPTS
    )
    promoting.take_over(Promotion.objects.get(pk=promotion.pk))
    promoting.retry(Promotion.objects.get(pk=promotion.pk), by=site.cast.admin)
    telling.tell()
    assert unread(site.cast.ada) == [
        "promotion.approved", "promotion.errored", "promotion.retried",
    ]  # fmt: skip
    assert unread(site.cast.ben) == ["promotion.errored"]


def test_a_recall_is_told_to_who_published_requested_and_selected_it_but_to_no_machine(
    site: Site,
) -> None:
    cast = site.cast
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    query = selection.Query(environment="staging")
    for by in (cast.production, cast.admin):
        selection.select(version.package, query, by=by)
    telling.tell()
    Notice.objects.all().delete()
    recalling.recall(version, by=cast.ben, reason="It loses\r\ndata.")
    telling.tell()
    assert told() == {("ada", "version.recalled"), ("admin", "version.recalled")}
    notice = Notice.objects.get(recipient=cast.admin)
    assert notice.subject == "ben recalled apps/app 1.0.0: It loses data."
    assert notice.path == "/repositories/apps/app/1.0.0/"


def test_everything_is_told_once_however_often_one_tells(site: Site) -> None:
    site.request(site.staging, site.publish("1.0.0"))
    assert telling.tell() == 1
    before = list(Notice.objects.values())
    assert telling.tell() == 0
    # A backup of the position alone would have all of it told again.
    Told.objects.update(position=0)
    assert telling.tell() == 1
    assert list(Notice.objects.values()) == before
    assert Told.objects.get().position == current_size()


def test_a_worker_that_died_before_the_commit_has_told_nothing_and_is_followed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.request(site.staging, site.publish("1.0.0"))

    def dies(entry: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("promotion.webhooks.queue", dies)
        telling.tell()
    assert told() == set()
    # Its lease still holds: nobody else tells yet.
    assert telling.tell() == 0
    lease_ends()
    assert telling.tell() == 1
    assert len(told()) == 2


def test_an_entry_that_cannot_be_told_is_passed_over_and_the_operators_hear_of_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = site.request(site.staging, site.publish("1.0.0"))
    promoting.withdraw(first, by=site.cast.cleo)

    def breaks(entry: Any, data: Any) -> Any:
        raise KeyError("a field of another release")

    monkeypatch.setitem(news.WRITERS, "promotion.requested", breaks)
    for _ in range(settings.MAX_ATTEMPTS):
        with pytest.raises(KeyError):
            telling.tell()
        lease_ends()
    assert told() == set()
    assert telling.tell() == 2
    assert told() == {("admin", "telling.passed_over"), ("ada", "promotion.withdrawn")}
    path = Notice.objects.get(recipient=site.cast.admin).path
    assert path.startswith("/history/")


def test_what_nobody_is_told_of_is_left_behind(site: Site) -> None:
    site.publish("1.0.0")
    assert telling.tell() == 0
    assert Told.objects.get().position == current_size()
    assert Told.objects.get().lease_until is None


def test_a_worker_that_lost_its_lease_tells_nothing_any_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.request(site.staging, site.publish("1.0.0"))
    next_entry = telling._next_entry

    def slowly(held: Told, end: int) -> Any:
        found = next_entry(held, end)
        Told.objects.update(attempt=held.attempt + 1)
        return found

    monkeypatch.setattr(telling, "_next_entry", slowly)
    assert telling.tell() == 0
    assert told() == set()


def test_a_type_is_told_by_one_writer_alone() -> None:
    with pytest.raises(ValueError, match="told already"):
        news.register("promotion.completed", news.WRITERS["promotion.completed"])


# ---- Reminders -----------------------------------------------------------------------------------
def expires_in(promotion: Promotion, left: timedelta, lived: timedelta) -> None:
    """Neither may change by itself; a test moves time by moving both."""
    now = timezone.now()
    with unsealed():
        Promotion.objects.filter(pk=promotion.pk).update(
            expires_at=now + left, requested_at=now - lived
        )


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("left", "lived", "is_told"),
    [
        (25 * HOUR, 300 * HOUR, False),
        (23 * HOUR, 300 * HOUR, True),
        (13 * HOUR, 35 * HOUR, False),
        (11 * HOUR, 37 * HOUR, True),
        (-HOUR, 300 * HOUR, False),
    ],
)
def test_those_who_may_still_decide_are_reminded_before_it_expires(
    site: Site, left: timedelta, lived: timedelta, is_told: bool
) -> None:
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    expires_in(promotion, left, lived)
    assert reminding.remind() == is_told
    assert told() == ({("cleo", "promotion.reminder")} if is_told else set())
    assert reminding.remind() == 0


def test_a_reminder_is_settled_by_the_decision(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    expires_in(promotion, HOUR, 300 * HOUR)
    telling.sweep()
    assert unread(site.cast.cleo) == ["promotion.requested", "promotion.reminder"]
    promoting.reject(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    telling.sweep()
    assert unread(site.cast.cleo) == []


def test_what_was_decided_meanwhile_reminds_nobody(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    expires_in(promotion, HOUR, 300 * HOUR)
    promoting.reject(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    assert reminding.remind() == 0
    assert told() == set()


def test_a_subject_is_one_line_of_bounded_length_whatever_is_in_it() -> None:
    assert notices.in_one_line("a\r\nBcc: x\x00\u202e  b") == "a Bcc: x b"
    assert len(notices.in_one_line("ä" * 5000)) == notices.LONGEST_SUBJECT


# ---- Break-glass ---------------------------------------------------------------------------------
def overridden(site: Site) -> Promotion:
    acting.on_call(site, "cleo")
    return acting.override(site, site.request(site.staging, site.publish("1.0.0")))


def test_an_override_is_told_and_its_review_asked_of_those_who_may_give_it(site: Site) -> None:
    promotion = overridden(site)
    telling.tell()
    assert unread(site.cast.ada) == ["promotion.overridden"]
    asked = Notice.objects.filter(asks=True, type="promotion.overridden").order_by("pk")
    assert set(asked.values_list("recipient__username", flat=True)) == {"ben", "dora", "admin"}
    assert asked[0].subject.startswith("Your review is owed. cleo overrode approvals for")
    overriding.review(promotion, by=site.cast.ben, verdict=Verdict.OBJECT, comment="Call first.")
    telling.tell()
    assert not Notice.objects.filter(
        topic=f"review:{promotion.pk}", asks=True, read_at=None
    ).exists()
    assert "override.reviewed" in unread(site.cast.cleo)


def test_who_owes_a_review_is_reminded_once_before_it_is_overdue(site: Site) -> None:
    promotion = overridden(site)
    assert reminding.remind() == 0
    with unsealed():
        Override.objects.update(review_due=timezone.now() + timedelta(hours=23))
    assert (reminding.remind(), reminding.remind()) == (1, 0)
    assert {who for who, type_ in told() if type_ == "override.reminder"} == {
        "ben", "dora", "admin",
    }  # fmt: skip
    overriding.review(promotion, by=site.cast.ben, verdict=Verdict.APPROVE)
    assert reminding.remind() == 0
