"""How a package of very many versions answers, beside one that has a page of them.

python -m bench.list_versions [--versions N] [--seconds S] [--folder DIR]

Makes a site of its own with N versions (100,000) in the package `large` and 50 in `small`, serves
it, and asks both: on SQLite, or on the empty database that SLUICE_DATABASE_URL names. What is asked
of `large` can be no faster than of `small`: that ratio is printed.

The rows are written in bulk, with real manifests and digests. The ledger has no entries for them
and no bytes lie behind them, so `verify` would rightly object: this site measures lists alone.
"""

import argparse
import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import site, wire

SMALL = 50
BATCH = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--folder", type=Path, help="Where the site's data lie meanwhile.")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        database = os.environ.get("SLUICE_DATABASE_URL", "")
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder))
        made = site.prepare(Path(folder) / "data", database=database)
        os.environ.update(made.environment)
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django

        django.setup()
        begin = time.perf_counter()
        fill(options.versions)
        print(f"{options.versions} versions written in {time.perf_counter() - begin:.0f} s")
        explain()
        # The site's processes are to have the database to themselves.
        from django.db import connection

        connection.close()
        with site.serving(made):
            measure(made, options.seconds)


# ---- Fill ----------------------------------------------------------------------------------------
def fill(count: int) -> None:
    from django.utils import timezone

    from accounts.models import User
    from pipelines import definitions, runs
    from pipelines.models import ExecutionState, Run
    from promotion import publishing
    from promotion.models import Package

    ada = User.objects.get(username="ada")
    yaml = "stages: {build: {jobs: {build: {steps: {one: {step: Command, with: {run: 'true'}}}}}}}"
    pipeline = definitions.create("bench", "", yaml, by=ada)
    repository = publishing.create_repository("apps", by=ada)
    for name, size in (("large", count), ("small", SMALL)):
        run = runs.report(pipeline, by=ada)
        runs.finish(run, ExecutionState.SUCCEEDED, by=ada)
        package = Package.objects.create(
            repository=repository, name=name, created_at=timezone.now()
        )
        whole = Run.objects.with_names().get(pk=run.pk)
        for start in range(0, size, BATCH):
            _write(package, whole, range(start, min(start + BATCH, size)))
    _analyze()


def _write(package: Any, run: Any, numbers: range) -> None:
    """One file, one artifact and one version for each number."""
    from django.db import transaction
    from django.utils import timezone

    from pipelines.canonical import ManifestFile, digest, files_manifest
    from pipelines.models import Artifact, ArtifactFile, Blob
    from promotion.models import Version, VersionFile

    now = timezone.now()
    blobs, artifacts, manifests = [], [], []
    for number in numbers:
        content = f"{package.name} {number}".encode()
        blob = Blob(
            sha256=hashlib.sha256(content).hexdigest(),
            md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            size=len(content),
            created_at=now,
        )
        manifest = files_manifest([ManifestFile("app.tgz", blob.sha256, blob.size)])
        blobs.append(blob)
        manifests.append(manifest)
        artifacts.append(
            Artifact(
                run=run, stage="build", job="build", step="one", name=f"{package.name}-{number}",
                type="flowPublic", digest=digest(manifest), bundle=blob, bundle_name="app.tgz",
                created_by=run.started_by, created_at=now,
            )
        )  # fmt: skip
    with transaction.atomic():
        Blob.objects.bulk_create(blobs)
        made = Artifact.objects.bulk_create(artifacts)
        ArtifactFile.objects.bulk_create(
            ArtifactFile(artifact=artifact, path="app.tgz", blob=blob)
            for artifact, blob in zip(made, blobs, strict=True)
        )
        versions = Version.objects.bulk_create(
            Version(
                package=package, name=f"{number // 1000}.{number % 1000}.0",
                manifest=manifest.decode(), manifest_digest=artifact.digest, artifact=artifact,
                bundle=artifact.bundle, bundle_name="app.tgz", published_by=run.started_by,
                published_at=now, notes=f"Version {number}.",
                provenance={"pipeline": "bench", "run": run.number, "sources": {}},
            )
            for number, artifact, manifest in zip(numbers, made, manifests, strict=True)
        )  # fmt: skip
        VersionFile.objects.bulk_create(
            VersionFile(version=version, path="app.tgz", blob=blob)
            for version, blob in zip(versions, blobs, strict=True)
        )


def _analyze() -> None:
    """A database that has run for a while knows how its rows are spread."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


# ---- Look ----------------------------------------------------------------------------------------
def explain() -> None:
    from promotion.api import lookups
    from promotion.models import Package, Repository
    from promotion.web.repositories import packages_of

    package = Package.objects.get(name="large")
    queries: dict[str, Callable[[], Any]] = {
        "newest 50 of the package": lambda: (
            lookups.whole_versions().filter(package=package).order_by("-id")[:50]
        ),
        "packages of the repository": lambda: packages_of(Repository.objects.get())[:50],
    }
    for name, query in queries.items():
        begin = time.perf_counter()
        list(query())
        print(f"\n{name}: {(time.perf_counter() - begin) * 1000:.1f} ms")
        print("\n".join(f"    {line}" for line in query().explain().splitlines()))


# ---- Measure -------------------------------------------------------------------------------------
def measure(made: site.Site, seconds: float) -> None:
    print()
    cookie = _signed_in(made)
    bearer = {"Authorization": f"Bearer {made.token}"}
    api = f"{made.url}/api/v1/repositories/apps/packages"
    pages = f"{made.url}/repositories/apps/"
    for name, path, headers in (
        ("newest 50 by API", api + "/{}/versions/?page_size=50", bearer),
        ("exact version by API", api + "/{}/versions/0.42.0/", bearer),
        ("highest in ^0.1 by API", api + "/{}/resolve/?range=^0.1", bearer),
        ("page of the package", pages + "{}/", cookie),
    ):
        for connections in (1, 16):
            large, small = (
                wire.rate(
                    made.url,
                    wire.same(wire.head("GET", path.format(package), headers)),
                    connections,
                    seconds,
                )
                for package in ("large", "small")
            )
            print(
                f"{name}, {connections} connections: {large:.1f} requests/s "
                f"({large / small:.2f} of the small package's {small:.1f})"
            )
    for name, address in (("page of the repository", pages), ("page of repositories", pages[:-5])):
        found = wire.rate(made.url, wire.same(wire.head("GET", address, cookie)), 1, seconds)
        print(f"{name}, 1 connection: {found:.1f} requests/s")


def _signed_in(made: site.Site) -> dict[str, str]:
    """The cookie of a session of ada's."""
    from importlib import import_module

    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.db import connection

    from accounts.models import User

    ada = User.objects.get(username="ada")
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(ada.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = ada.get_session_auth_hash()
    session.save()
    connection.close()
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}


if __name__ == "__main__":
    main()
