"""The Celery application: it reads its settings from Django's, under the CELERY_ prefix."""

import os
import threading
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("sluice")
# Web threads other than the importing one find this application too.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["pipelines", "promotion"])

_ending = threading.Event()


@signals.celeryd_after_setup.connect
def listen_to_own_groups(sender: Any, instance: Any, **kwargs: Any) -> None:
    """A `runsOn` group is a queue: listen to those of the groups that this worker serves."""
    from django.conf import settings

    from pipelines import queue, runners

    queues = instance.app.amqp.queues
    if settings.RUNNER_ONLY:
        queues.deselect(queue.SITE)
    for name in runners.own_queues():
        queues.select_add(name)


@signals.worker_ready.connect
def make_runner_known(**kwargs: Any) -> None:
    from pipelines import isolation, runners

    isolation.remove_leftovers()
    found = runners.look_around()
    runners.make_known(found)
    threading.Thread(target=runners.keep_known, args=(found, _ending), daemon=True).start()


@signals.worker_shutting_down.connect
def end_runner(**kwargs: Any) -> None:
    _ending.set()
