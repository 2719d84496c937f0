"""The `packages` source: a pipeline takes one exact version out of a repository."""

from collections.abc import Mapping
from typing import Any

from pipelines import blobs, sources
from pipelines.errors import Invalid, NotFound
from pipelines.flow.document import Source
from pipelines.models import Run
from promotion import descriptors, retention, selection
from promotion.models import Package, Version


def register() -> None:
    sources.register(PackagesSource())


class PackagesSource:
    """Pins by selecting: the run keeps the receipt's id, so that the pick can be replayed."""

    types = ("packages",)
    remote = False

    def pin(self, run: Run, source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
        fields = {key: str(value) for key, value in source.fields.items() if value is not None}
        package = (
            Package.objects.select_related("repository")
            .filter(repository__name=fields.get("repo", ""), name=fields.get("artifact", ""))
            .first()
        )
        if package is None:
            raise NotFound(
                f"Source {source.id}: there is no package "
                f"{fields.get('repo', '')}/{fields.get('artifact', '')}."
            )
        query = _query(fields, asked)
        picked = selection.select(package, query, by=run.started_by, consumer=str(run))
        version = Version.objects.with_names().select_related("bundle").get(pk=picked.version_id)
        answered = selection.receipt(picked)
        # What the environment has in a registry of its own is what is deployed from it.
        own: dict[str, Any] = {
            key: answered[key] for key in ("image", "image_tag") if key in answered
        }
        return {
            "type": source.type,
            "repository": package.repository.name,
            "package": package.name,
            "version": version.name,
            "manifest_digest": version.manifest_digest,
            "selection": picked.pk,
            "why": answered["explanation"]["rule"],
            **own,
        }

    def fetch(self, fetch: sources.Fetch) -> None:
        pinned, say = fetch.pinned, fetch.say
        version = _version(pinned)
        if version.manifest_digest != pinned["manifest_digest"]:
            raise Invalid(f"{version} is not the version that was pinned.")
        retention.note_download(version)
        if version.bundle is None:
            image = pinned.get("image", version.image)
            say(f"{version}: image {image}, pulled by the steps that use it")
            return
        say(f"{version} ({pinned['why']}), {version.bundle_name}, {version.bundle.size} bytes")
        blobs.copy_to(version.bundle, fetch.folder / version.bundle_name)
        say(f"sha256 {version.bundle.sha256} checked")

    def recheck(self, source: Source, pinned: Mapping[str, Any]) -> None:
        """The version must still be good, and still be placed where the source says."""
        version = _version(pinned)
        fields = {key: str(value) for key, value in source.fields.items() if value is not None}
        selection.resolve(
            version.package,
            selection.Query(environment=fields.get("environment"), version=version.name),
        )

    def properties(self, pinned: Mapping[str, Any]) -> dict[str, str]:
        return descriptors.properties(_version(pinned), placed=selection.placed_image(pinned))


def _query(fields: Mapping[str, str], asked: Mapping[str, Any]) -> selection.Query:
    """The caller's version comes first, then the definition's; the environment always binds."""
    version = asked.get("version") or fields.get("version")
    return selection.Query(
        environment=fields.get("environment"),
        version=str(version) if version else None,
        range=None if version else fields.get("range"),
    )


def _version(pinned: Mapping[str, Any]) -> Version:
    # Without who published it: a runner may not read all of people's rows.
    return Version.objects.select_related("package__repository", "bundle").get(
        package__repository__name=pinned["repository"],
        package__name=pinned["package"],
        name=pinned["version"],
    )
