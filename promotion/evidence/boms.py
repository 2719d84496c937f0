"""Bills of materials: which components, which licences. CycloneDX and SPDX 2 in JSON. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.errors import Invalid
from promotion.evidence import statements, strict

MAX_COMPONENTS = 50_000
#: Longer names and licences are cut: they are to be read and compared, not to be kept.
LONGEST = 500
CYCLONEDX = "https://cyclonedx.org/bom"
SPDX = "https://spdx.dev/Document"
SAYS_NOTHING = frozenset({"", "NOASSERTION", "NONE"})


@dataclass(frozen=True, slots=True, order=True)
class Component:
    name: str
    version: str
    purl: str
    licences: tuple[str, ...]


class Kept(Protocol):
    """What is asked of a row of evidence."""

    @property
    def kind(self) -> str: ...
    @property
    def payload(self) -> str: ...


def components(evidence: Kept) -> tuple[Component, ...]:
    """What a bill of materials lists, sorted, each once; nothing for evidence of another kind."""
    if evidence.kind not in {"cyclonedx", "spdx"}:
        return ()
    value = strict.load_object(evidence.payload)
    statement, _ = statements.opened(value)
    return listed(statement.predicate if statement else value)


def listed(bill: Mapping[str, Any]) -> tuple[Component, ...]:
    """The components of a bill, which is refused where it cannot be read."""
    each = _cyclonedx(bill) if "bomFormat" in bill else _spdx(bill)
    found: set[Component] = set()
    for component in each:
        found.add(component)
        if len(found) > MAX_COMPONENTS:
            raise Invalid(f"A bill of materials may list at most {MAX_COMPONENTS:,} components.")
    return tuple(sorted(found))


def _cyclonedx(bill: Mapping[str, Any]) -> Iterator[Component]:
    if bill.get("bomFormat") != "CycloneDX":
        raise Invalid("The bomFormat of a bill of materials is “CycloneDX”.")
    waiting = _objects(bill, "components")
    while waiting:
        each = waiting.pop()
        waiting.extend(_objects(each, "components"))
        group, name = _text(each, "group"), _text(each, "name")
        if not name:
            raise Invalid("A component of the bill of materials has no name.")
        licences = []
        for licence in _objects(each, "licenses"):
            inner = licence.get("license")
            named = inner if isinstance(inner, dict) else {}
            licences.append(
                _text(licence, "expression") or _text(named, "id") or _text(named, "name")
            )
        yield Component(
            f"{group}/{name}" if group else name,
            _text(each, "version"),
            _text(each, "purl"),
            _known(licences),
        )


def _spdx(bill: Mapping[str, Any]) -> Iterator[Component]:
    if not _text(bill, "spdxVersion").startswith("SPDX-2."):
        raise Invalid("The spdxVersion of a bill of materials is SPDX-2.2 or SPDX-2.3.")
    for each in _objects(bill, "packages"):
        name = _text(each, "name")
        if not name:
            raise Invalid("A package of the bill of materials has no name.")
        purls = [
            _text(reference, "referenceLocator")
            for reference in _objects(each, "externalRefs")
            if reference.get("referenceType") == "purl"
        ]
        concluded = _text(each, "licenseConcluded")
        licence = _text(each, "licenseDeclared") if concluded in SAYS_NOTHING else concluded
        yield Component(name, _text(each, "versionInfo"), min(purls, default=""), _known([licence]))


def _known(licences: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({each for each in licences if each not in SAYS_NOTHING}))


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found.strip()[:LONGEST] if isinstance(found, str) else ""


def _objects(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = value.get(key) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Invalid(f"The {key} of the bill of materials are a list of objects.")
    return list(found)
