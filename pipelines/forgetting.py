"""Forgetting: an artifact that nothing needs any more keeps its row, and no bytes.

Whoever begins to need an artifact (promotion/publishing.py) locks its row and refuses a pruned one.
`forget` locks it too and asks everybody once more, so one of the two wins and the other sees it.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from pipelines.errors import BytesGone
from pipelines.models import Artifact, ExecutionState, Run

#: Each answers whether something needs the artifact of the outer query (`OuterRef("pk")`).
Need = Callable[[], Exists]
_needs: list[Need] = []

MOST = 1000


def register(need: Need) -> None:
    """Have artifacts spared that `need` finds to be needed."""
    _needs.append(need)


def outdated(*, days: int) -> "QuerySet[Artifact]":
    """Artifacts of runs that ended more than `days` ago and that nothing needs, oldest first."""
    cutoff = timezone.now() - timedelta(days=days)
    found = Artifact.objects.with_bytes().filter(
        bundle__isnull=False, created_at__lt=cutoff, run__finished_at__lt=cutoff
    )
    return unneeded(found).order_by("created_at", "pk")


def forget_outdated(*, most: int = MOST) -> int:
    """Forget what is older than the site keeps (SLUICE_ARTIFACT_DAYS); how many artifacts."""
    if not settings.ARTIFACT_DAYS:
        return 0
    return forget(outdated(days=settings.ARTIFACT_DAYS).values_list("pk", flat=True)[:most])


def forget(artifact_ids: Iterable[int]) -> int:
    """Forget each of these artifacts, unless something needs it by now; how many were forgotten."""
    return sum(_forget(pk) for pk in artifact_ids)


def require_bytes(artifact: Artifact) -> None:
    """Refuse an artifact that was forgotten, saying what to do instead."""
    if artifact.pruned_at is not None:
        raise BytesGone(
            f"“{artifact.name}” of {artifact.run} is no longer kept: its bytes were given up on "
            f"{artifact.pruned_at:%Y-%m-%d}. Run the pipeline again to build it anew."
        )


def _forget(artifact_id: int) -> bool:
    with transaction.atomic():
        rows = Artifact.objects.with_bytes().filter(pk=artifact_id)
        # A lock that lets others refer to the row by foreign key, as a version's own does.
        if not list(rows.select_for_update(no_key=True).values_list("pk")):
            return False
        return bool(unneeded(rows).update(pruned_at=timezone.now()))


def unneeded(artifacts: "QuerySet[Artifact]") -> "QuerySet[Artifact]":
    """Those of `artifacts` that nothing needs."""
    for need in _needs:
        artifacts = artifacts.exclude(need())
    newest = (
        Run.objects.filter(pipeline=OuterRef("run__pipeline"), state=ExecutionState.SUCCEEDED)
        .order_by("-number")
        .values("pk")[:1]
    )
    # Another pipeline takes the last successful run where it names none.
    artifacts = artifacts.exclude(run=newest).exclude(run__in=Run.objects.open().values("pk"))
    for slug, number in _upstream_of_open_runs():
        artifacts = artifacts.exclude(run__pipeline__slug=slug, run__number=number)
    return artifacts


def _upstream_of_open_runs() -> set[tuple[str, int]]:
    """The runs, by pipeline and number, that a source of an unfinished run is pinned to."""
    pinned = Run.objects.open().values_list("sources", flat=True)
    return {
        (facts["pipeline"], facts["run"])
        for sources in pinned.iterator()
        for facts in sources.values()
        if facts.get("type") == "flowPipeline"
    }
