"""What differs in what is said of the bytes: evidence, and components of bills of materials."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from promotion.comparing.lists import Change, Cut, change_of, cut


# ---- Evidence ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class EvidenceChange:
    """Of one type of statement: the results that were said before, and those said now."""

    type: str
    change: Change
    before: tuple[str, ...]
    after: tuple[str, ...]


def compare_evidence(
    before: Mapping[str, Iterable[str]], after: Mapping[str, Iterable[str]], *, most: int
) -> Cut[EvidenceChange]:
    """Results by type. A new statement that says the same as the old is no change."""
    old = {kind: tuple(sorted(set(results))) for kind, results in before.items()}
    new = {kind: tuple(sorted(set(results))) for kind, results in after.items()}
    return cut(
        [
            EvidenceChange(
                kind, change_of(old.get(kind), new.get(kind)), old.get(kind, ()), new.get(kind, ())
            )
            for kind in sorted(old.keys() | new.keys())
            if old.get(kind) != new.get(kind)
        ],
        most,
    )


# ---- Components of bills of materials ----------------------------------------------------------
class Component(Protocol):
    """What a bill of materials says of one part."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def purl(self) -> str: ...
    @property
    def licences(self) -> Iterable[str]: ...


@dataclass(frozen=True, slots=True)
class ComponentChange:
    """Versions and licences are several where a bill lists a component several times."""

    name: str
    change: Change
    versions_before: tuple[str, ...]
    versions_after: tuple[str, ...]
    licences_before: tuple[str, ...]
    licences_after: tuple[str, ...]

    @property
    def is_relicensed(self) -> bool:
        return self.change == "changed" and self.licences_before != self.licences_after


def compare_components(
    before: Iterable[Component], after: Iterable[Component], *, most: int
) -> Cut[ComponentChange]:
    """Those under another licence come first: they are few, and what somebody must know."""
    old, new = _by_name(before), _by_name(after)
    changes = [
        ComponentChange(
            name, change_of(old.get(name), new.get(name)), *_both(old.get(name), new.get(name))
        )
        for name in old.keys() | new.keys()
        if old.get(name) != new.get(name)
    ]
    changes.sort(key=lambda each: (not each.is_relicensed, each.name))
    return cut(changes, most)


_Said = tuple[tuple[str, ...], tuple[str, ...]]


def _both(
    old: _Said | None, new: _Said | None
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    before, after = old or ((), ()), new or ((), ())
    return before[0], after[0], before[1], after[1]


def _by_name(components: Iterable[Component]) -> dict[str, _Said]:
    """Versions and licences of each. Two ecosystems may have a package of the same name each, so
    the package URL names it where there is one, without its version."""
    versions: dict[str, set[str]] = {}
    licences: dict[str, set[str]] = {}
    for each in components:
        name = _unversioned(each.purl) or each.name
        versions.setdefault(name, set()).add(each.version)
        licences.setdefault(name, set()).update(each.licences)
    return {name: (_sorted(found), _sorted(licences[name])) for name, found in versions.items()}


def _unversioned(purl: str) -> str:
    """`pkg:npm/%40scope/name@1.2?arch=x#sub` as `pkg:npm/%40scope/name`."""
    bare = purl.partition("#")[0].partition("?")[0]
    head, slash, last = bare.rpartition("/")
    return f"{head}{slash}{last.partition('@')[0]}"


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(filter(None, texts)))
