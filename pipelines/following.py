"""Follow a job's log while it is written: server-sent events, one thread for each follower."""

import json
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from django.conf import settings
from django.db import close_old_connections
from django.db.models import Count, F, IntegerField, OuterRef, Subquery
from django.http import StreamingHttpResponse

from pipelines import tails
from pipelines.errors import TooManyFollowers
from pipelines.models import ExecutionState, Job, LogChunk, MachineResult
from pipelines.tails import Place, RawLine

#: A stream ends after so many seconds, and its reader comes back with the place it has got to.
LONGEST = 300.0
POLL = 0.5
HEARTBEAT = 15.0
#: One event tells of lines with so many characters, or of one longer line.
EVENT_SIZE = 64 * 1024
EVENT_LINES = 500
#: When one of these changes, the job's state is told anew.
TELLING = ("state", "attempt", "log_since", "begun", "ended", "machines")
RETRY = b"retry: 2000\n\n"


class Teller(Protocol):
    """How a stream words what it has to tell. No text may have a carriage return in it."""

    def lines(self, job: Job, found: list[RawLine], after: Place) -> tuple[str, Place]:
        """The lines as text, and the place behind them."""

    def state(self, job: Job) -> str:
        """The state of the job and its steps; a text like the last one is not told again."""


class Stream:
    """The events of one follower. Closing it gives its slot to another one."""

    def __init__(self, job: Job, after: Place, teller: Teller) -> None:
        _slots.take()
        self._has_slot = True
        self._events = _events(job.pk, after, teller)

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._events)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._events.close()
        if self._has_slot:
            self._has_slot = False
            _slots.give_back()

    # A server that loses its client may forget the stream without closing it.
    def __del__(self) -> None:
        if getattr(self, "_has_slot", False):
            self.close()


class _Slots:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0

    def take(self) -> None:
        with self._lock:
            if self.taken >= settings.LOG_FOLLOWERS:
                raise TooManyFollowers(
                    f"As many logs are being followed as may be at a time ({self.taken}). "
                    "Ask again shortly, or read the log without following it."
                )
            self.taken += 1

    def give_back(self) -> None:
        with self._lock:
            self.taken -= 1


_slots = _Slots()


def answer(job: Job, after: Place, teller: Teller) -> StreamingHttpResponse:
    """The stream as a response; refused when too many logs are being followed."""
    response = StreamingHttpResponse(Stream(job, after, teller), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    # A proxy that collects answers before it hands them on would make nothing of them.
    response["X-Accel-Buffering"] = "no"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _events(job_id: int, place: Place, teller: Teller) -> Generator[bytes, None, None]:
    """Lines as they come, the job's state when it changes, and at last that it has ended.

    Between them come empty pieces, so that a server notices soon when its client is gone.
    """
    until = time.monotonic() + LONGEST
    beat = time.monotonic() + HEARTBEAT
    pulse: Mapping[str, Any] | None = None
    last_state: list[Any] = []
    told = ""
    yield RETRY
    try:
        while time.monotonic() < until:
            now = _pulse(job_id)
            if now is None:
                return
            if now != pulse:
                pulse = now
                job = Job.objects.select_related("run__pipeline").get(pk=job_id)
                is_final = ExecutionState(job.state).is_final
                if (state := _state_of(now)) != last_state:
                    last_state = state
                    if (text := teller.state(job)) != told:
                        told = text
                        yield event(text, event="state")
                for found in _batches(tails.lines(job, place, whole=is_final)):
                    text, place = teller.lines(job, found, place)
                    yield event(text, id=str(place))
                if is_final:
                    yield event(json.dumps({"status": job.state}), event="end")
                    return
            close_old_connections()
            if time.monotonic() > beat:
                beat = time.monotonic() + HEARTBEAT
                yield b": still here\n\n"
            else:
                yield b""
            time.sleep(POLL)
    finally:
        with suppress(Exception):
            close_old_connections()


def _pulse(job_id: int) -> Mapping[str, Any] | None:
    """What changes whenever there is something to tell, by one query; None for no such job."""
    newest = LogChunk.objects.filter(job=OuterRef("pk"), attempt=OuterRef("attempt"))
    told = (
        MachineResult.objects.filter(job=OuterRef("pk"))
        .order_by()
        .values("job")
        .annotate(told=Count("started_at") + Count("finished_at"))
    )
    ends = newest.order_by("-sequence").annotate(until=F("sequence") + F("characters"))
    return (
        Job.objects.filter(pk=job_id)
        .annotate(
            written=Subquery(ends.values("until")[:1], output_field=IntegerField()),
            begun=Count("steps__started_at"),
            ended=Count("steps__finished_at"),
            machines=Subquery(told.values("told"), output_field=IntegerField()),
        )
        .values("state", "attempt", "log_since", "written", "begun", "ended", "machines")
        .first()
    )


def _state_of(pulse: Mapping[str, Any]) -> list[Any]:
    return [pulse[name] for name in TELLING]


def _batches(found: Iterator[RawLine]) -> Iterator[list[RawLine]]:
    batch: list[RawLine] = []
    size = 0
    for line in found:
        batch.append(line)
        size += len(line.text)
        if size > EVENT_SIZE or len(batch) >= EVENT_LINES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def event(data: str, **fields: str) -> bytes:
    """One server-sent event. Each line of `data` must be free of carriage returns."""
    named = [f"{name}: {value}" for name, value in fields.items()]
    lines = [f"data: {line}" for line in data.split("\n")]
    return "\n".join([*named, *lines, "", ""]).encode("utf-8", "replace")
