"""What is on record of versions and of how they were built, read for many at a time.

For whoever compares versions (diffs.py): the number of questions to the database does not depend on
the number of versions.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.db.models.functions import Length

from pipelines.canonical import canonical
from pipelines.definitions import definition_of
from pipelines.errors import Invalid
from pipelines.flow.document import as_text
from pipelines.models import Revision, Run
from promotion.comparing import claims, contents, lists, origins
from promotion.evidence import boms
from promotion.models import Evidence, ImageDetails, Version

Pair = tuple[Version, Version | None]
Pins = Mapping[str, origins.Pin]

#: How many runs between two are looked at for their commits, the newest first.
RUNS_BETWEEN = 20
#: Of bills of materials in all. To read so much takes about a second.
MOST_OF_BILLS = 16 * 1024**2
#: What the types of statements that are bills of materials have in them.
BILLS = ("cyclonedx", "spdx")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one version. None of all this is known of no version."""

    files: Mapping[str, contents.File] = field(default_factory=dict)
    image: contents.Image | None = None
    pins: Pins = field(default_factory=dict)
    #: Variables that whoever started the run gave, and those that its definition declares.
    given: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, str] = field(default_factory=dict)
    #: Of the statements about it, by their type.
    results: Mapping[str, list[str]] = field(default_factory=dict)
    #: None where the bill of materials is too large to be read.
    components: tuple[claims.Component, ...] | None = ()


@dataclass(frozen=True, slots=True)
class _Built:
    """The run that built a version."""

    number: int
    pipeline: int
    revision: int
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Read:
    facts: Mapping[int, Facts]
    runs: Mapping[int, _Built]
    #: The runs between two, newest first, by pipeline and number.
    others: Mapping[tuple[int, int], Pins]

    def of(self, version: Version | None) -> Facts:
        return self.facts[version.pk] if version else Facts()

    def between(
        self, replaced: Version | None, version: Version
    ) -> dict[str, lists.Cut[origins.BuiltFrom]]:
        """The commits that runs between those of the two were built from, by source."""
        window = _window(self.runs[replaced.pk], self.runs[version.pk]) if replaced else None
        if replaced is None or window is None:
            return {}
        found = {}
        old, new = self.facts[replaced.pk].pins, self.facts[version.pk].pins
        for source, pin in new.items():
            seen = {pin.commit, *((old[source].commit,) if source in old else ())}
            commits = []
            for number in reversed(window.numbers):
                other = self.others.get((window.pipeline, number), {}).get(source)
                if other and other.endpoint == pin.endpoint and other.commit not in seen:
                    seen.add(other.commit)
                    commits.append(origins.BuiltFrom(number, other.commit))
            found[source] = lists.Cut(tuple(commits), len(commits) + window.left_out)
        return found


@dataclass(frozen=True, slots=True)
class _Window:
    """The numbers between two runs of a pipeline: the last few, and how many are left out."""

    pipeline: int
    numbers: range
    left_out: int


def _window(one: _Built, other: _Built) -> _Window | None:
    low, high = sorted((one.number, other.number))
    if one.pipeline != other.pipeline or high - low < 2:
        return None
    first = max(low + 1, high - RUNS_BETWEEN)
    return _Window(one.pipeline, range(first, high), first - low - 1)


def read(pairs: Iterable[Pair], as_of: datetime | None = None) -> Read:
    """All that is compared of the versions in `pairs`; evidence as it was `as_of`."""
    pairs = tuple(pairs)
    versions = {each.pk: each for pair in pairs for each in pair if each is not None}
    runs = _runs(versions)
    declared = _declared(pairs, runs)
    platforms = _platforms(versions)
    results, components = _evidence(versions, as_of)
    facts = {}
    for pk, version in versions.items():
        manifest = json.loads(version.manifest)
        facts[pk] = Facts(
            files=contents.files_of(manifest),
            image=contents.Image(manifest["digest"], platforms.get(pk)) if version.image else None,
            pins=_pins(version.provenance.get("sources", {}), version.provenance.get("commit", "")),
            given=runs[pk].variables,
            declared=declared.get(runs[pk].revision, {}),
            results=results.get(pk, {}),
            components=components.get(pk, ()),
        )
    return Read(facts, runs, _others(pairs, runs))


# ---- Runs --------------------------------------------------------------------------------------
def _runs(versions: Iterable[int]) -> dict[int, _Built]:
    rows = Version.objects.filter(pk__in=versions).values_list(
        "pk",
        "artifact__run__number",
        "artifact__run__pipeline",
        "artifact__run__revision",
        "artifact__run__variables",
    )
    return {pk: _Built(*rest) for pk, *rest in rows}


def _declared(pairs: Iterable[Pair], runs: Mapping[int, _Built]) -> dict[int, dict[str, str]]:
    """Variables of the definitions by revision; of those alone that differ within a pair."""
    wanted: set[int] = set()
    for version, replaced in pairs:
        both = {runs[each.pk].revision for each in (version, replaced) if each is not None}
        wanted |= both if len(both) > 1 else set()
    if not wanted:
        return {}
    return {pk: _variables(each) for pk, each in Revision.objects.in_bulk(list(wanted)).items()}


def _variables(revision: Revision) -> dict[str, str]:
    try:
        declared = definition_of(revision).variables
    except Invalid:
        # A text of an older language: what it declared cannot be told, and nobody is stopped.
        return {}
    return {each.key: as_text(each.value) or canonical(each.value).decode() for each in declared}


def _others(pairs: Iterable[Pair], runs: Mapping[int, _Built]) -> dict[tuple[int, int], Pins]:
    within = Q()
    for version, replaced in pairs:
        window = _window(runs[replaced.pk], runs[version.pk]) if replaced else None
        if window:
            numbers = window.numbers
            within |= Q(
                pipeline=window.pipeline, number__gte=numbers.start, number__lt=numbers.stop
            )
    if not within:
        return {}
    rows = Run.objects.filter(within).values_list("pipeline", "number", "sources", "commit")
    return {
        (pipeline, number): _pins(sources, commit) for pipeline, number, sources, commit in rows
    }


def _pins(sources: Mapping[str, Mapping[str, Any]], commit: str) -> dict[str, origins.Pin]:
    """Of a run that another system executed nothing is known but its commit, of no named source."""
    pins = {
        source: origins.Pin(
            str(pinned["commit"]),
            str(pinned.get("endpoint", "")),
            str(pinned.get("branch", "")),
            str(pinned.get("type", "")),
        )
        for source, pinned in sources.items()
        if "commit" in pinned
    }
    return pins or ({"": origins.Pin(commit)} if commit else {})


# ---- Images ------------------------------------------------------------------------------------
def _platforms(versions: Mapping[int, Version]) -> dict[int, dict[str, contents.Platform]]:
    images = [pk for pk, version in versions.items() if version.image]
    if not images:
        return {}
    kept = ImageDetails.objects.filter(version__in=images).values_list("version", "details")
    return {version: _by_name(json.loads(details)["platforms"]) for version, details in kept}


def _by_name(platforms: Iterable[Mapping[str, Any]]) -> dict[str, contents.Platform]:
    found: dict[str, contents.Platform] = {}
    for each in platforms:
        name = each["platform"] or "of no named platform"
        if name in found:
            # An index may list several for one platform.
            name = f"{name} ({each['digest'][7:19]})"
        layers = tuple(contents.Layer(layer["digest"], layer["size"]) for layer in each["layers"])
        found[name] = contents.Platform(each["digest"], layers)
    return found


# ---- Evidence ----------------------------------------------------------------------------------
def _evidence(
    versions: Iterable[int], as_of: datetime | None
) -> tuple[dict[int, dict[str, list[str]]], dict[int, tuple[claims.Component, ...] | None]]:
    rows = Evidence.objects.filter(version__in=versions)
    if as_of is not None:
        rows = rows.filter(added_at__lte=as_of)
    results: dict[int, dict[str, list[str]]] = {}
    bills: dict[int, tuple[int, int]] = {}
    listed = rows.order_by("pk").annotate(length=Length("payload"))
    for pk, version, kind, result, length in listed.values_list(
        "pk", "version", "predicate_type", "result", "length"
    ):
        results.setdefault(version, {}).setdefault(kind, []).append(result)
        if any(word in kind.lower() for word in BILLS):
            # The last one says it anew.
            bills[version] = (pk, length)
    return results, _components(bills)


def _components(
    bills: Mapping[int, tuple[int, int]],
) -> dict[int, tuple[claims.Component, ...] | None]:
    """Of each version's bill, as long as together they are not too much to read."""
    found: dict[int, tuple[claims.Component, ...] | None] = {}
    wanted, left = [], MOST_OF_BILLS
    for version, (pk, length) in bills.items():
        left -= length
        found[version] = None
        if left >= 0:
            wanted.append(pk)
    if wanted:
        for statement in Evidence.objects.filter(pk__in=wanted).iterator(chunk_size=1):
            found[statement.version_id] = components_of(statement)
    return found


def components_of(statement: Evidence) -> tuple[claims.Component, ...]:
    """What a bill of materials lists; nothing where it cannot be read, which its own line says."""
    try:
        return boms.components(statement)
    except Invalid:
        return ()
