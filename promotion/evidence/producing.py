"""What Sluice says by itself of what it ran: provenance of the run, and results of its tests.

Computed before a version is sealed, so that no reading of bytes holds the database. Only of runs
that Sluice executed: what another CI system reports, Sluice has not seen.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.urls import reverse

from pipelines import blobs, links
from pipelines.canonical import timestamp
from pipelines.errors import Invalid, SluiceError
from pipelines.models import Artifact, ArtifactFile, Run
from pipelines.models.artifact import ArtifactType
from promotion.evidence import reports, signed, statements
from promotion.evidence.reading import MAX_BYTES

PROVENANCE = f"{statements.PROVENANCE}v1"
BUILD_TYPE = "urn:sluice:flow-run:v1"
#: Of more reports Sluice says nothing, rather than half of it.
MAX_REPORTS = 500
#: How many files of an artifact are named one by one; its manifest names all of them.
MAX_FILES = 1000
JUNIT_ROOT = re.compile(rb"<testsuites?[\s/>]")


def of(artifact: Artifact) -> tuple[str, ...]:
    """The signed envelopes that a version made of `artifact` begins with."""
    run = artifact.run
    if run.is_external:
        return ()
    subjects = _subjects(artifact)
    said = [signed.envelope(PROVENANCE, subjects, _provenance(artifact, run))]
    try:
        result = _test_result(artifact, run)
    except (OSError, SluiceError):
        # The storage does not give the reports. That is no reason not to publish: without them
        # the evidence is missing, and whoever asks for it sees so.
        result = None
    if result is not None:
        said.append(signed.envelope(statements.TEST_RESULT, subjects, result))
    return tuple(said)


def _subjects(artifact: Artifact) -> list[dict[str, Any]]:
    if artifact.image:
        return [signed.subject(artifact.image, artifact.image.rpartition("@")[2])]
    named = {f"{artifact.name} (manifest)": artifact.digest}
    if artifact.bundle_id:
        named[artifact.bundle_name] = artifact.bundle_id
    files = artifact.files.order_by("path").values_list("path", "blob_id")
    named |= dict(files[:MAX_FILES])
    return [signed.subject(name, sha256) for name, sha256 in named.items()]


# ---- Provenance --------------------------------------------------------------------------------
def _provenance(artifact: Artifact, run: Run) -> dict[str, Any]:
    """SLSA provenance: who built it, by which definition, of which sources.

    Values of variables are left out: some are secrets, and provenance is for everybody.
    """
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "pipeline": run.pipeline.slug,
                "revision": run.revision.number,
                "trigger": str(run.trigger),
                "started_by": run.started_by.username,
                "variables": sorted(run.variables),
            },
            "internalParameters": {
                "artifact": artifact.pk,
                "reference": artifact.reference,
                "attempt": artifact.attempt,
            },
            "resolvedDependencies": [
                {
                    "name": "definition",
                    "uri": links.absolute(
                        reverse("api:pipeline-revisions", args=[run.pipeline.slug])
                    ),
                    "digest": {"sha256": run.revision.digest},
                },
                *_sources(run.sources),
            ],
        },
        "runDetails": {
            "builder": {"id": links.absolute("/")},
            "metadata": {
                "invocationId": _address(run),
                **{
                    key: timestamp(at)
                    for key, at in (("startedOn", run.started_at), ("finishedOn", run.finished_at))
                    if at is not None
                },
            },
        },
    }


def _sources(pinned: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for source_id, source in sorted(pinned.items()):
        if commit := source.get("commit"):
            where = str(source.get("endpoint") or "")
            yield {
                "name": source_id,
                **({"uri": f"git+{where}" if where.startswith("http") else where} if where else {}),
                "digest": {"gitCommit": commit},
            }


def _address(run: Run) -> str:
    return links.absolute(reverse("pipelines:run", args=[run.pipeline.slug, run.number]))


# ---- Tests -------------------------------------------------------------------------------------
def _test_result(artifact: Artifact, run: Run) -> dict[str, Any] | None:
    """What the JUnit reports say that steps of the run uploaded; None where there are none.

    A report that breaks off counts as failed: its end may be what it would not say.
    """
    counts = {"tests": 0, "failed": 0, "skipped": 0, "unreadable": 0}
    read = []
    files = list(_xml_files(artifact, run)[: MAX_REPORTS + 1])
    if len(files) > MAX_REPORTS:
        return None
    for file in files:
        with blobs.open_blob(file.blob) as content:
            data = content.read(MAX_BYTES + 1)
        if not JUNIT_ROOT.search(data[:4096]):
            continue
        read.append(signed.subject(f"{file.artifact.name}/{file.path}", file.blob_id))
        try:
            for key, count in reports.junit(data.decode()).counts.items():
                counts[key] += count
        except (Invalid, UnicodeDecodeError):
            counts["unreadable"] += 1
    ran = counts["tests"] - counts["skipped"]
    has_failed = bool(counts["failed"] or counts["unreadable"])
    if not read or not (ran or has_failed):
        return None
    return {
        "result": "FAILED" if has_failed else "PASSED",
        "configuration": read,
        "url": _address(run),
        "counts": counts,
    }


def _xml_files(artifact: Artifact, run: Run) -> Any:
    """What may be a report: XML in what else the run uploaded. What is published is the product
    and no report on it."""
    others = (
        Artifact.objects.of_last_attempts()
        .with_bytes()
        .filter(run=run, type=ArtifactType.FLOW_PUBLIC)
        .exclude(pk=artifact.pk)
    )
    return (
        ArtifactFile.objects.filter(artifact__in=others, path__iendswith=".xml")
        .select_related("blob", "artifact")
        .order_by("artifact", "path")
    )
