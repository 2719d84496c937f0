"""Whether each signature that was kept with an approval is one, by a key that was that person's."""

from collections.abc import Iterator

from django.db.models import QuerySet

from promotion.assertions import Assertion, NotSigned, Subject, check
from promotion.ledger.fold import Folded
from promotion.models import Approval


def signed() -> "QuerySet[Approval]":
    return Approval.objects.filter(second_factor__isnull=False).order_by("pk")


def findings(folded: Folded) -> Iterator[str]:
    """Everything is checked anew, with nothing but what is kept: no setting plays a part."""
    counts: dict[str, int] = {}
    for approval in signed().select_related("by").iterator(chunk_size=500):
        said = f"promotion {approval.promotion_id}: the signature of {approval.by.username}"
        subject = Subject(
            approval.promotion_id,
            approval.plan_digest,
            approval.decision,
            approval.by.username,
        )
        try:
            assertion = Assertion.read(approval.second_factor or {})
            key = assertion.credential_id
            # Approvals with one key took turns, so its device has counted in their order.
            counts[key] = check(subject, assertion, last_count=counts.get(key, 0))
        except NotSigned as error:
            yield f"{said} does not approve its plan: {error}"
    for promotion, person in folded.unknown_keys:
        yield f"promotion {promotion}: the key of {person} was not theirs when it signed"
