"""What a plan changes, item by item, against what it replaces. Reads only.

What is compared never changes, so a promotion shows the same difference for ever.
"""

from dataclasses import dataclass
from datetime import datetime

from promotion import built
from promotion.comparing import claims, contents, lists, origins
from promotion.models import PromotionKind, Version
from promotion.plans import Plan

#: Of all lists of one kind together, about so many lines are in an answer, and on a page.
MOST = 2000
MOST_SHOWN = 200
#: Of each list, however many versions a train has.
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """What placing `version` changes of its package, where `replaced` is there now or was."""

    version: Version
    replaced: Version | None
    #: new, upgrade, rollback or unchanged.
    kind: str
    #: Whether both are the same bytes, so that the name and what is said of them is all.
    has_same_bytes: bool
    files: contents.FileChanges
    image: contents.ImageChange | None
    commits: tuple[origins.CommitChange, ...]
    variables: lists.Cut[origins.VariableChange]
    evidence: lists.Cut[claims.EvidenceChange]
    #: None where the bills of materials are too large to be read for a page.
    components: lists.Cut[claims.ComponentChange] | None

    @property
    def is_first(self) -> bool:
        return self.replaced is None

    @property
    def is_back(self) -> bool:
        return self.kind == "rollback"

    @property
    def revisions(self) -> tuple[int, int] | None:
        """Of one pipeline's definition, where both were built by it and it was changed between."""
        if self.replaced is None:
            return None
        old, new = self.replaced.provenance, self.version.provenance
        if old.get("pipeline") != new.get("pipeline") or old.get("revision") == new.get("revision"):
            return None
        return old["revision"], new["revision"]


def kind_of_change(version: Version, replaced: Version | None, kind: str) -> str:
    """What placing `version` does to a package: new, upgrade, rollback or unchanged."""
    if replaced is None:
        return "new"
    if replaced.pk == version.pk:
        return "unchanged"
    # Versions are numbered in the order of their publication.
    is_back = kind == PromotionKind.ROLLBACK or version.pk < replaced.pk
    return "rollback" if is_back else "upgrade"


def diff(
    planned: Plan, *, most: int = MOST, as_of: datetime | None = None
) -> tuple[Difference, ...]:
    """What `planned` changes. `most` lines of each kind in all; evidence as it was `as_of`."""
    each = max(most // max(len(planned.items), 1), FEWEST)
    read = built.read(planned.items, as_of)
    return tuple(
        _difference(version, replaced, kind_of_change(version, replaced, planned.kind), read, each)
        for version, replaced in planned.items
    )


def _difference(
    version: Version, replaced: Version | None, kind: str, read: built.Read, most: int
) -> Difference:
    old, new = read.of(replaced), read.of(version)
    return Difference(
        version=version,
        replaced=replaced,
        kind=kind,
        has_same_bytes=bool(replaced and replaced.manifest_digest == version.manifest_digest),
        files=contents.compare_files(old.files, new.files, most=most),
        image=contents.compare_images(old.image, new.image, most=most) if new.image else None,
        commits=origins.compare_commits(
            old.pins, new.pins, read.between(replaced, version), is_back=kind == "rollback"
        ),
        variables=_variables(old, new, most) if replaced else lists.cut((), most),
        evidence=claims.compare_evidence(old.results, new.results, most=most),
        components=(
            claims.compare_components(old.components, new.components, most=most)
            if old.components is not None and new.components is not None
            else None
        ),
    )


def _variables(old: built.Facts, new: built.Facts, most: int) -> lists.Cut[origins.VariableChange]:
    by_run = origins.compare_variables("run", old.given, new.given, most=most)
    declared = origins.compare_variables("definition", old.declared, new.declared, most=most)
    return lists.joined((by_run, declared), most)
