"""What is answered of the changes that a plan makes."""

from typing import TypedDict

from promotion.comparing import claims, contents, lists, origins
from promotion.diffs import Difference


class FileChange(TypedDict):
    path: str
    change: str
    size_before: int | None
    size_after: int | None
    sha256_before: str | None
    sha256_after: str | None
    executable_before: bool | None
    executable_after: bool | None


class FileCounts(TypedDict):
    added: int
    removed: int
    changed: int
    unchanged: int


class LayerAnswer(TypedDict):
    digest: str
    size: int


class PlatformChange(TypedDict):
    """Sizes are of all layers, also of those that are not listed."""

    platform: str
    change: str
    digest_before: str | None
    digest_after: str | None
    layers_added: list[LayerAnswer]
    layers_removed: list[LayerAnswer]
    layers_shared: int
    size_added: int
    size_removed: int
    size_shared: int


class ImageChange(TypedDict):
    """`platforms` is null where a registry was never asked, so that nothing can be said of them."""

    digest_before: str | None
    digest_after: str
    platforms: list[PlatformChange] | None


class BuiltFrom(TypedDict):
    run: int
    commit: str


class CommitChange(TypedDict):
    """`between` are the commits of runs that Sluice saw between the two, newest first."""

    source: str
    change: str
    before: str | None
    after: str | None
    endpoint: str
    branch: str
    compare_url: str | None
    between: list[BuiltFrom]


class VariableChange(TypedDict):
    """`of` is `run` or `definition`. The values of what is named like a secret are null."""

    name: str
    of: str
    change: str
    before: str | None
    after: str | None
    secret: bool


class EvidenceChange(TypedDict):
    predicate_type: str
    change: str
    results_before: list[str]
    results_after: list[str]


class ComponentChange(TypedDict):
    name: str
    change: str
    versions_before: list[str]
    versions_after: list[str]
    licences_before: list[str]
    licences_after: list[str]


class Change(TypedDict):
    """What a promotion changes of one package; a key `from` stands beside `to`, and is null where
    it comes for the first time. `truncated` names the lists that are longer than was answered."""

    repository: str
    package: str
    to: str
    kind: str
    same_bytes: bool
    files: list[FileChange]
    file_counts: FileCounts
    image: ImageChange | None
    commits: list[CommitChange]
    variables: list[VariableChange]
    evidence: list[EvidenceChange]
    components: list[ComponentChange] | None
    truncated: list[str]


# The key `from` cannot be an attribute's name.
ChangeWithFrom = TypedDict("ChangeWithFrom", {"from": str | None})


class WholeChange(Change, ChangeWithFrom):
    """A change as it is answered."""


def difference(found: Difference) -> WholeChange:
    package = found.version.package
    return {
        "repository": package.repository.name,
        "package": package.name,
        "from": found.replaced.name if found.replaced else None,
        "to": found.version.name,
        "kind": found.kind,
        "same_bytes": found.has_same_bytes,
        "files": [_file(each) for each in found.files.listed.first],
        "file_counts": {
            "added": found.files.added,
            "removed": found.files.removed,
            "changed": found.files.changed,
            "unchanged": found.files.unchanged,
        },
        "image": _image(found.image) if found.image else None,
        "commits": [_commit(each) for each in found.commits],
        "variables": [_variable(each) for each in found.variables.first],
        "evidence": [_evidence(each) for each in found.evidence.first],
        "components": (
            None
            if found.components is None
            else [_component(each) for each in found.components.first]
        ),
        "truncated": _truncated(found),
    }


def _file(change: contents.FileChange) -> FileChange:
    before, after = change.before, change.after
    return {
        "path": change.path,
        "change": change.change,
        "size_before": before.size if before else None,
        "size_after": after.size if after else None,
        "sha256_before": before.sha256 if before else None,
        "sha256_after": after.sha256 if after else None,
        "executable_before": before.is_executable if before else None,
        "executable_after": after.is_executable if after else None,
    }


def _image(change: contents.ImageChange) -> ImageChange:
    return {
        "digest_before": change.digest_before,
        "digest_after": change.digest_after,
        "platforms": (
            None
            if change.platforms is None
            else [_platform(each) for each in change.platforms.first]
        ),
    }


def _platform(change: contents.PlatformChange) -> PlatformChange:
    return {
        "platform": change.name,
        "change": change.change,
        "digest_before": change.digest_before,
        "digest_after": change.digest_after,
        "layers_added": _layers(change.added),
        "layers_removed": _layers(change.removed),
        "layers_shared": change.shared,
        "size_added": change.added_size,
        "size_removed": change.removed_size,
        "size_shared": change.shared_size,
    }


def _layers(listed: lists.Cut[contents.Layer]) -> list[LayerAnswer]:
    return [{"digest": layer.digest, "size": layer.size} for layer in listed.first]


def _commit(change: origins.CommitChange) -> CommitChange:
    return {
        "source": change.source,
        "change": change.change,
        "before": change.before,
        "after": change.after,
        "endpoint": change.endpoint,
        "branch": change.branch,
        "compare_url": change.compare_url or None,
        "between": [{"run": each.run, "commit": each.commit} for each in change.between.first],
    }


def _variable(change: origins.VariableChange) -> VariableChange:
    return {
        "name": change.name,
        "of": change.of,
        "change": change.change,
        "before": change.before,
        "after": change.after,
        "secret": change.is_secret,
    }


def _evidence(change: claims.EvidenceChange) -> EvidenceChange:
    return {
        "predicate_type": change.type,
        "change": change.change,
        "results_before": list(change.before),
        "results_after": list(change.after),
    }


def _component(change: claims.ComponentChange) -> ComponentChange:
    return {
        "name": change.name,
        "change": change.change,
        "versions_before": list(change.versions_before),
        "versions_after": list(change.versions_after),
        "licences_before": list(change.licences_before),
        "licences_after": list(change.licences_after),
    }


def _truncated(found: Difference) -> list[str]:
    platforms = found.image.platforms if found.image else None
    layers = (
        [cut for each in platforms.first for cut in (each.added, each.removed)] if platforms else []
    )
    is_cut = {
        "files": found.files.listed.is_cut,
        "platforms": platforms is not None and platforms.is_cut,
        "layers": any(cut.is_cut for cut in layers),
        "commits": any(each.between.is_cut for each in found.commits),
        "variables": found.variables.is_cut,
        "evidence": found.evidence.is_cut,
        "components": found.components is None or found.components.is_cut,
    }
    return [name for name, cut in is_cut.items() if cut]
