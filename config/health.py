"""Whether the process lives, whether it can work, and what it says when it cannot."""

import json
import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from celery import current_app
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from django.views.decorators.http import require_safe

from pipelines import blobs

log = logging.getLogger(__name__)


@login_not_required
@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """Public: answers as long as the process can."""
    return JsonResponse({"status": "alive"})


@login_not_required
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Public: whether the database, the broker and the storage answer. Names, never addresses."""
    parts = {name: _works(name, check) for name, check in CHECKS.items()}
    everything = all(parts.values())
    words = {name: "ready" if works else "not ready" for name, works in parts.items()}
    return JsonResponse(
        {"status": "ready" if everything else "not ready", **words},
        status=200 if everything else 503,
    )


def _works(name: str, check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:
        # Each part's client raises errors of its own; all of them mean the same here.
        log.warning("The %s does not answer", name, exc_info=True)
        return False
    return True


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _broker() -> None:
    with current_app.connection_for_write(connect_timeout=2) as broker:
        broker.ensure_connection(max_retries=1, timeout=2)


def _storage() -> None:
    folder = Path(settings.BLOB_STAGING_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f"probe-{uuid.uuid4().hex}"
    probe.write_bytes(b"")
    probe.unlink()
    for storage in blobs.stores():
        cast(Any, storage).check()


CHECKS: dict[str, Callable[[], None]] = {
    "database": _database,
    "broker": _broker,
    "storage": _storage,
}


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return _problem(
            404, "not_found", "There is no such thing", f"Nothing is at {request.path}."
        )
    return defaults.page_not_found(request, exception)


def broken(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        said = "Something broke on our side. It has been logged; nothing was half done."
        return _problem(500, "internal_error", "Something broke", said)
    return defaults.server_error(request)


def _problem(status: int, code: str, title: str, detail: str) -> HttpResponse:
    document = {
        "type": f"urn:sluice:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    return HttpResponse(
        json.dumps(document), status=status, content_type="application/problem+json"
    )
