"""What workers do for promotions: take an id, call one verb. Every task may be delivered twice."""

from celery import shared_task

from promotion import (
    automating,
    executing,
    images,
    mailing,
    notices,
    promoting,
    recalling,
    retention,
    sweeping,
    telling,
    uploads,
    webhooks,
)
from promotion.models import Promotion


@shared_task(name=promoting.EXECUTE, acks_late=True, time_limit=6 * 3600)
def execute(promotion_id: int) -> None:
    promoting.execute(promotion_id)


@shared_task(name=recalling.RECONSIDER, acks_late=True, time_limit=300)
def reconsider(promotion_id: int) -> None:
    for promotion in Promotion.objects.filter(pk=promotion_id):
        promoting.reconsider(promotion)


@shared_task(name=executing.AUTOMATE, acks_late=True, time_limit=600)
def automate(environment_id: int) -> None:
    automating.promote_into(environment_id)


@shared_task(name=uploads.PUBLISH, acks_late=True, time_limit=600)
def publish_uploads(run_id: int) -> None:
    uploads.publish_uploads(run_id)


@shared_task(name="promotion.look_at_images", acks_late=True, time_limit=1800)
def look_at_images() -> None:
    images.look_where_due()


@shared_task(name="promotion.sweep", acks_late=True, time_limit=300)
def sweep() -> None:
    sweeping.sweep()


@shared_task(name="promotion.retain", acks_late=True, time_limit=3000)
def retain() -> None:
    retention.retain()
    webhooks.forget()


@shared_task(name=telling.TELL, acks_late=True, time_limit=300)
def tell() -> None:
    telling.sweep()


@shared_task(name=notices.POST, acks_late=True, time_limit=240)
def post(letter_id: int) -> None:
    mailing.post(letter_id)


@shared_task(name=webhooks.DELIVER, acks_late=True, time_limit=60)
def deliver(delivery_id: int) -> None:
    webhooks.deliver(delivery_id)
