"""Nudge a worker, after the commit. A lost nudge costs time only: the sweeper repeats it.

A `runsOn` group is a queue: whoever serves the group listens to it. Everything but jobs goes to the
one queue of the site's own workers, so that a runner elsewhere needs to do nothing else.
"""

import hashlib
import logging
from urllib.parse import quote

from celery import current_app
from django.db import transaction

log = logging.getLogger(__name__)

SITE = "celery"
ANY_GROUP = "runner"
LONGEST = 150


def queue_of(group: str) -> str:
    """The queue of a group; of every group that nobody serves by name where it is empty.

    A queue's name becomes a file's name in the embedded broker, so only plain characters are kept.
    """
    if not group:
        return ANY_GROUP
    plain = quote(group, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(plain) > LONGEST:
        plain = hashlib.sha256(group.encode()).hexdigest()
    return f"{ANY_GROUP}-{plain}"


def nudge(task: str, row_id: int | str, *, queue: str = SITE) -> None:
    """Have a worker run `task` with the row's id once the current transaction has committed."""
    transaction.on_commit(lambda: _send(task, row_id, queue), robust=True)


def _send(task: str, row_id: int | str, queue: str) -> None:
    try:
        current_app.send_task(task, args=[row_id], retry=False, queue=queue)
    except Exception:
        # Whatever the broker's client raises, the row is the to-do list and the sweeper reads it.
        log.warning(
            "The broker did not take %s(%s); the sweeper will.", task, row_id, exc_info=True
        )
