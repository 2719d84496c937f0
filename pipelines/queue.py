"""Nudge a worker, after the commit. A lost nudge costs time only: the sweeper repeats it."""

import logging

from celery import current_app
from django.db import transaction

log = logging.getLogger(__name__)


def nudge(task: str, row_id: int) -> None:
    """Have a worker run `task` with the row's id once the current transaction has committed."""
    transaction.on_commit(lambda: _send(task, row_id), robust=True)


def _send(task: str, row_id: int) -> None:
    try:
        current_app.send_task(task, args=[row_id], retry=False)
    except Exception:
        # Whatever the broker's client raises, the row is the to-do list and the sweeper reads it.
        log.warning(
            "The broker did not take %s(%s); the sweeper will.", task, row_id, exc_info=True
        )
