"""What gates may ask of the evidence on versions. Reads only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from promotion.models import Evidence, Version


@dataclass(frozen=True, slots=True)
class EvidenceFact:
    """One line of evidence as it stands now: `keys` are those that signed it and are trusted."""

    digest: str
    predicate_type: str
    kind: str
    result: str
    standing: str
    keys: tuple[str, ...] = ()


def of(versions: Iterable[Version]) -> Mapping[int, tuple[EvidenceFact, ...]]:
    """The evidence on each version by its primary key, in the order in which it came, in one
    query for all of them. A version without evidence has an empty tuple."""
    wanted = [version.pk for version in versions]
    rows = Evidence.objects.filter(version__in=wanted).order_by("pk")
    keys: dict[int, set[str]] = {}
    said: dict[int, tuple[int, tuple[str, str, str, str]]] = {}
    for pk, version, digest, type_, kind, result, key, revoked_at in rows.values_list(
        *("pk", "version_id", "digest", "predicate_type", "kind", "result"),
        *("signatures__key__name", "signatures__key__revoked_at"),
    ):
        said[pk] = (version, (digest, type_, kind, result))
        trusted = keys.setdefault(pk, set())
        if key is not None and revoked_at is None:
            trusted.add(key)
    found: dict[int, list[EvidenceFact]] = {pk: [] for pk in wanted}
    for pk, (version, what) in said.items():
        by = tuple(sorted(keys[pk]))
        found[version].append(EvidenceFact(*what, "verified" if by else "claimed", by))
    return {pk: tuple(each) for pk, each in found.items()}


def verified_by(evidence: Evidence, *, at: datetime) -> tuple[str, ...]:
    """The keys that had verified it at a moment and were trusted then. Its signatures and their
    keys are better loaded before, where many are asked."""
    return tuple(
        sorted(
            each.key.name
            for each in evidence.signatures.all()
            if each.checked_at <= at and (each.key.revoked_at is None or each.key.revoked_at > at)
        )
    )
