"""Whom each type of ledger entry concerns, and what they are told.

The one table of it: an act that people are to hear of adds a line here, or registers one from its
own module in AppConfig.ready(). A writer reads the entry and answers what is to be told and what is
settled; it writes nothing, so it may be called again.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from accounts.models import User
from promotion import deciders, overriding, recalling
from promotion.models import (
    Decision,
    LedgerEntry,
    Promotion,
    PromotionState,
    Verdict,
    Version,
)

P = PromotionState
Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """One thing to tell some people. `asks` where they are to act until its `topic` is settled."""

    to: tuple[User, ...]
    subject: str
    path: str
    topic: str = ""
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """What waited for people's decision waits no longer: for nobody, or not for `of`."""

    topic: str
    of: User | None = None


Writer = Callable[[LedgerEntry, Data], Iterable[News | Settled]]


def of_entry(entry: LedgerEntry) -> list[News | Settled]:
    """What an entry means for people; nothing for a type that concerns nobody."""
    write = WRITERS.get(entry.type)
    if write is None:
        return []
    return list(write(entry, json.loads(bytes(entry.body))["data"]))


def register(type_: str, writer: Writer) -> None:
    """Have entries of one more type told."""
    if type_ in WRITERS:
        raise ValueError(f"Entries of type {type_} are told already.")
    WRITERS[type_] = writer


# ---- Who ---------------------------------------------------------------------------------------
def but(actor: User | None, *people: User) -> tuple[User, ...]:
    """Each of `people` once, without whoever did it: they know."""
    return tuple({each.pk: each for each in people if each != actor}.values())


def requester_and_approvers(promotion: Promotion) -> list[User]:
    approvals = promotion.approvals.filter(decision=Decision.APPROVE).select_related("by")
    return [promotion.requested_by, *(each.by for each in approvals)]


def topic_of(promotion: Promotion) -> str:
    return f"promotion:{promotion.pk}"


def page_of(promotion: Promotion) -> str:
    return reverse("promotion:promotion", args=[promotion.pk])


def what(promotion: Promotion) -> str:
    """The promotion as a subject names it: what goes where."""
    items = list(promotion.items.select_related("package", "version")[:4])
    named = ", ".join(f"{each.package.name} {each.version.name}" for each in items[:3])
    if len(items) > 3:
        named += " and more"
    return f"{named} to {promotion.environment.name} (promotion {promotion.pk})"


def _promotion(data: Data) -> Promotion:
    rows = Promotion.objects.select_related("environment", "policy", "requested_by")
    return rows.get(pk=data["promotion"])


def _name(entry: LedgerEntry) -> str:
    return entry.actor.username if entry.actor else "Sluice"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


# ---- Promotions --------------------------------------------------------------------------------
def _requested(entry: LedgerEntry, data: Data) -> Iterable[News | Settled]:
    """Asks those who may decide now. What was decided before anybody was told needs nobody."""
    promotion = _promotion(data)
    yield News(
        tuple(deciders.deciders_of(promotion)),
        f"{_name(entry)} asks for your decision: {what(promotion)}",
        page_of(promotion),
        topic_of(promotion),
        asks=True,
    )


def _approved(entry: LedgerEntry, data: Data) -> Iterable[News | Settled]:
    """Each approval has an entry; whether it was the last one needed, the state says."""
    promotion = _promotion(data)
    yield Settled(topic_of(promotion), entry.actor if promotion.state == P.REQUESTED else None)
    yield News(
        but(entry.actor, promotion.requested_by),
        f"{_name(entry)} approved {what(promotion)}",
        page_of(promotion),
    )


def _ended(said: str) -> Writer:
    """A writer for what ends or moves a promotion. `said` has the places {who} and {what}."""

    def write(entry: LedgerEntry, data: Data) -> Iterable[News | Settled]:
        promotion = _promotion(data)
        reason = str(data.get("reason") or data.get("comment") or "")
        yield Settled(topic_of(promotion))
        yield News(
            but(entry.actor, *requester_and_approvers(promotion)),
            said.format(who=_name(entry), what=what(promotion)) + _because(reason),
            page_of(promotion),
        )

    return write


def _retried(entry: LedgerEntry, data: Data) -> Iterable[News | Settled]:
    promotion = _promotion(data)
    yield News(
        but(entry.actor, promotion.requested_by),
        f"{_name(entry)} had it tried again: {what(promotion)}",
        page_of(promotion),
    )


# ---- Break-glass -------------------------------------------------------------------------------
def review_topic(promotion: Promotion) -> str:
    return f"review:{promotion.pk}"


def _overridden(entry: LedgerEntry, data: Data) -> Iterable[News | Settled]:
    """Tells whoever had a part in it, and asks for the reviews that are owed."""
    promotion = _promotion(data)
    yield Settled(topic_of(promotion))
    said = f"{_name(entry)} overrode {', '.join(data['gates'])} for {what(promotion)}"
    said += _because(str(data["reason"]))
    reviewers = overriding.reviewers_of(promotion.override)
    others = [each for each in requester_and_approvers(promotion) if each not in reviewers]
    yield News(but(entry.actor, *others), said, page_of(promotion))
    yield News(
        tuple(reviewers),
        f"Your review is owed. {said}",
        page_of(promotion),
        review_topic(promotion),
        asks=True,
    )


def _reviewed(entry: LedgerEntry, data: Data) -> Iterable[News | Settled]:
    promotion = _promotion(data)
    override = promotion.override
    is_owed = bool(overriding.reviewers_of(override))
    yield Settled(review_topic(promotion), entry.actor if is_owed else None)
    objects = data["verdict"] == Verdict.OBJECT
    said = "objects to the override of" if objects else "agrees to the override of"
    yield News(
        but(entry.actor, override.by, promotion.requested_by),
        f"{_name(entry)} {said} {what(promotion)}" + _because(str(data["comment"])),
        page_of(promotion),
    )


# ---- Versions ----------------------------------------------------------------------------------
def _recalled(entry: LedgerEntry, data: Data) -> Iterable[News | Settled]:
    """Tells who published it and everybody who took it."""
    version = Version.objects.select_related("published_by").get(
        package__repository__name=data["repository"],
        package__name=data["package"],
        name=data["version"],
    )
    people = recalling.owners_of(version)
    names = (data["repository"], data["package"], data["version"])
    yield News(
        but(entry.actor, version.published_by, *people),
        f"{_name(entry)} recalled {names[0]}/{names[1]} {names[2]}"
        + _because(str(data.get("reason") or "")),
        reverse("promotion:version", args=names),
    )


WRITERS: dict[str, Writer] = {
    "promotion.requested": _requested,
    "promotion.approved": _approved,
    "promotion.rejected": _ended("{who} rejected {what}"),
    "promotion.withdrawn": _ended("{who} withdrew {what}"),
    "promotion.expired": _ended("Not decided and placed in time: {what}"),
    "promotion.stale": _ended("No longer what was asked for: {what}"),
    "promotion.completed": _ended("Placed: {what}"),
    "promotion.failed": _ended("Could not be placed: {what}"),
    "promotion.errored": _ended("Broke while it was placed: {what}"),
    "promotion.retried": _retried,
    "promotion.overridden": _overridden,
    "override.reviewed": _reviewed,
    "version.recalled": _recalled,
}
