"""Selections: a request becomes one exact version, with the reason, or a clear refusal.

"Latest" is never the answer to a question that nobody asked: a caller names an environment, a
version or a range.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from pipelines.canonical import canonical, digest, timestamp
from pipelines.errors import Invalid, NotFound
from promotion import images, rules, signing
from promotion.descriptors import PlacedImage
from promotion.errors import NoEligibleVersion, NotPromoted
from promotion.ledger import append as ledger
from promotion.models import (
    Environment,
    Package,
    Placement,
    Selection,
    Version,
    VersionState,
)
from promotion.naming import about, named
from promotion.publishing import require_usable
from promotion.ranges import Range, newest

#: How many versions an answer tells of; all are looked at.
MAX_CONSIDERED = 200


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for. `as_of` looks at what the environment had at that moment."""

    environment: str | None = None
    version: str | None = None
    range: str | None = None
    as_of: datetime | None = None

    def as_json(self) -> dict[str, str | None]:
        return {
            "environment": self.environment,
            "version": self.version,
            "range": self.range,
            "as_of": timestamp(self.as_of) if self.as_of else None,
        }


@dataclass(frozen=True, slots=True)
class Considered:
    """A version that was looked at; `why` it fell, or empty for the one that was taken."""

    version: str
    why: str

    def as_json(self) -> dict[str, str | bool]:
        return {"version": self.version, "eligible": not self.why, "why": self.why}


@dataclass(frozen=True, slots=True)
class Resolved:
    version: Version
    environment: Environment | None
    rule: str
    considered: tuple[Considered, ...]
    placed: PlacedImage | None = None

    def explanation(self, ledger_size: int) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "considered": [each.as_json() for each in self.considered],
            "ledger_size": ledger_size,
        }


def resolve(package: Package, query: Query) -> Resolved:
    """The one exact version that answers `query`. Changes nothing."""
    if query.as_of and query.as_of > timezone.now():
        raise Invalid("as_of lies in the future: what will be placed then is not known.")
    if query.environment:
        return _placed(package, query)
    if query.as_of:
        raise Invalid("as_of asks what an environment had: name the environment too.")
    if query.version:
        return _exact(package, query.version)
    if query.range:
        return _in_range(package, Range(query.range))
    raise Invalid("Name an environment, a version or a range: Sluice never guesses the latest.")


def select(package: Package, query: Query, *, by: User, consumer: str = "") -> Selection:
    """Resolve `query` and record who picked what, why, and at which ledger position."""
    rules.require(by, "selection.make")
    with transaction.atomic():
        # The lock makes the answer and its ledger position one: nothing is written in between.
        size = ledger.lock()
        resolved = resolve(package, query)
        version = resolved.version
        now = timezone.now()
        receipt = canonical(
            {
                "at": timestamp(now),
                "by": by.username,
                "consumer": consumer,
                "query": {
                    "repository": package.repository.name,
                    "package": package.name,
                    **query.as_json(),
                },
                **named(version),
                "explanation": resolved.explanation(size),
                "ledger_size": size,
                **_placed_image(resolved.placed),
            }
        )
        selection = Selection.objects.create(
            by=by,
            consumer=consumer,
            version=version,
            environment=resolved.environment,
            manifest_digest=version.manifest_digest,
            ledger_size=size,
            receipt=receipt.decode(),
            signature=signing.sign(receipt),
            at=now,
        )
        ledger.append(
            "selection.made",
            by=by,
            at=now,
            about=ledger.About(
                *_names(version), resolved.environment.name if resolved.environment else ""
            ),
            data={
                "selection": selection.pk,
                "consumer": consumer,
                "query": query.as_json(),
                "receipt": digest(receipt),
                **named(version),
            },
        )
    return selection


def receipt(selection: Selection) -> dict[str, Any]:
    """The answer as it was given, for ever the same, with its signature."""
    return {
        "id": selection.pk,
        **json.loads(selection.receipt),
        "signature": selection.signature,
    }


def placed_image(answered: Mapping[str, Any]) -> PlacedImage | None:
    """The image that a receipt, or a pin made of one, was given out with."""
    if "image" not in answered:
        return None
    return PlacedImage(answered["image"], answered["image_tag"])


def _placed_image(placed: PlacedImage | None) -> dict[str, str]:
    """Left out where the environment has none of its own, as in receipts of all times."""
    return {"image": placed.pinned, "image_tag": placed.tag} if placed else {}


def _names(version: Version) -> tuple[str, str]:
    found = about(version)
    return found.repository, found.package


def _placed(package: Package, query: Query) -> Resolved:
    environment = Environment.objects.filter(name=query.environment).first()
    if environment is None:
        raise NotFound(f"There is no environment “{(query.environment or '')[:64]}”.")
    placements = Placement.objects.filter(environment=environment, package=package)
    placements = placements.at(query.as_of) if query.as_of else placements.current()
    placement = placements.select_related("version__package__repository").first()
    when = f" at {timestamp(query.as_of)}" if query.as_of else ""
    rule = f"what is placed in {environment.name}{when}"
    if query.version and (placement is None or placement.version.name != query.version):
        _exact_version(package, query.version)
        placed = f"It has {placement.version.name}." if placement else "It has no version of it."
        raise NotPromoted(
            f"{package} {query.version} is not placed in {environment.name}{when}. {placed} "
            "Promote it there first.",
            current=placement.version.name if placement else None,
        )
    if placement is None:
        raise NoEligibleVersion(
            f"{environment.name} has no version of {package}{when}. Promote one there first.",
            considered=[],
        )
    version = placement.version
    require_usable(version)
    if query.range and (why := Range(query.range).refusal(version.name)):
        raise NoEligibleVersion(
            f"{environment.name} has {package} {version.name}, but {why}.",
            considered=[Considered(version.name, why).as_json()],
        )
    own = PlacedImage(placement.image, images.tag_of(version)) if placement.image else None
    return Resolved(version, environment, rule, (Considered(version.name, ""),), own)


def _exact(package: Package, name: str) -> Resolved:
    version = _exact_version(package, name)
    require_usable(version)
    return Resolved(version, None, "the version was named exactly", (Considered(name, ""),))


def _exact_version(package: Package, name: str) -> Version:
    version = package.versions.with_names().filter(name=name).first()
    if version is None:
        raise NotFound(f"{package} has no version “{name[:128]}”.")
    return version


def _in_range(package: Package, wanted: Range) -> Resolved:
    fallen = {
        name: _why_unusable(state, is_pruned=pruned_at is not None) or wanted.refusal(name)
        for name, state, pruned_at in package.versions.values_list("name", "state", "pruned_at")
    }
    eligible = [name for name, why in fallen.items() if not why]
    if not eligible:
        raise NoEligibleVersion(
            f"No version of {package} answers {wanted.text}.",
            considered=[each.as_json() for each in _told(fallen)],
        )
    chosen = newest(eligible)
    for name in eligible:
        fallen[name] = "" if name == chosen else f"{chosen} is newer"
    rule = f"the highest version in {wanted.text}"
    return Resolved(_exact_version(package, chosen), None, rule, _told(fallen, chosen))


def _why_unusable(state: str, *, is_pruned: bool) -> str:
    if state == VersionState.RECALLED:
        return "it was recalled"
    return "it was pruned: its bytes are no longer kept" if is_pruned else ""


def _told(fallen: Mapping[str, str], chosen: str = "") -> tuple[Considered, ...]:
    """The newest versions that were looked at, and in any case the one that was taken."""
    newest_names = list(fallen)[:MAX_CONSIDERED]
    if chosen and chosen not in newest_names:
        newest_names[-1] = chosen
    return tuple(Considered(name, fallen[name]) for name in newest_names)
