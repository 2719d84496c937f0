"""Go through what was left undone: the rows are the to-do list, the verbs decide what becomes."""

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from pipelines.models import Artifact, ExecutionState
from pipelines.models.artifact import ArtifactType
from pipelines.queue import nudge
from promotion import automating, promoting, uploads
from promotion.models import Decision, Promotion, PromotionState, VersionState

P = PromotionState


def sweep() -> None:
    """Expire what nobody decided, look again at what waits, repeat lost nudges, take over, and
    request what policies promote by themselves."""
    now = timezone.now()
    waiting = Promotion.objects.filter(state__in=[P.REQUESTED, P.APPROVED])
    for promotion in waiting.filter(expires_at__lt=now):
        promoting.expire(promotion)
    outdated = ~Q(policy=F("environment__policy")) | Q(
        requested_at__lt=F("environment__target_set_at")
    )
    # Of those that people may have approved, or need not, time may have opened the last gate; so
    # it may where somebody broke the glass over the approvals alone.
    decided = (
        Q(approvals__decision=Decision.APPROVE)
        | Q(policy__rules__contains='"approvals":0')
        | Q(override__isnull=False)
    )
    recalled = Q(items__version__state=VersionState.RECALLED)
    looked_at = outdated | recalled | Q(decided, state=P.REQUESTED)
    for promotion in waiting.filter(looked_at).distinct():
        promoting.reconsider(promotion)
    for promotion in Promotion.objects.filter(state=P.EXECUTING, lease_until__lt=now):
        promoting.take_over(promotion)
    late = Promotion.objects.filter(state=P.APPROVED, decided_at__lt=now - settings.SWEEP_EVERY)
    for pk in late.values_list("pk", flat=True):
        nudge(promoting.EXECUTE, pk)
    unpublished = Artifact.objects.filter(
        type=ArtifactType.PACKAGES,
        upload_outcome__isnull=True,
        run__state=ExecutionState.SUCCEEDED,
        run__finished_at__lt=now - settings.SWEEP_EVERY,
    )
    for run_id in unpublished.of_last_attempts().values_list("run_id", flat=True).distinct():
        nudge(uploads.PUBLISH, run_id)
    automating.promote_due()
