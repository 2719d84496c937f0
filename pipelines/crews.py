"""Several machines at work at once, told about in one thread.

    with Crew(works, most=10) as crew:
        for event in crew.events():      # Begun, Said, Noted, Ended, or None when nothing happened
            ...
            crew.stop("why")             # ends what runs; what has not begun stays unbegun

The works run in an event loop, which has a thread of its own: in a loop nothing may ask the
database, and log and rows are written by whoever reads the events.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pipelines.ssh import MachineFailed, Say

log = logging.getLogger(__name__)

POLL = 0.2
#: Lines that wait to be read; then the works wait too.
MOST_WAITING = 1000
#: How long works are waited for that were told to stop.
STOPS_WITHIN = 20.0

#: Is given whom to tell what the machine says, and whom what else is done there.
Work = Callable[[Say, Say], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Begun:
    machine: str


@dataclass(frozen=True, slots=True)
class Said:
    machine: str
    line: str


@dataclass(frozen=True, slots=True)
class Noted:
    machine: str
    line: str


@dataclass(frozen=True, slots=True)
class Ended:
    """`error` is empty where all went well."""

    machine: str
    error: str = ""


Event = Begun | Said | Noted | Ended


class Crew:
    """One work a machine, by name; `most` of them at once."""

    def __init__(self, works: Mapping[str, Work], *, most: int) -> None:
        self._works = works
        self._most = most
        self._events: queue.Queue[Event] = queue.Queue(MOST_WAITING)
        self._why = ""
        self._is_given_up = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crew", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop("It was given up.")
        for _ in self.events():
            pass

    def stop(self, why: str) -> None:
        """End what runs, as failed because of `why`. What has not begun never does."""
        if not self._why and self._thread.is_alive() and self._loop is not None:
            self._why = why
            self._loop.call_soon_threadsafe(self._cancel)

    def events(self) -> Iterator[Event | None]:
        """What happens, as it happens, until every work has ended."""
        patience = STOPS_WITHIN
        while patience > 0:
            is_over = not self._thread.is_alive()
            try:
                yield self._events.get(timeout=0 if is_over else POLL)
            except queue.Empty:
                if is_over:
                    return
                if self._why:
                    patience -= POLL
                yield None
        self._is_given_up = True
        log.warning("A machine's work could not be stopped in time")

    # ---- In the loop's thread -------------------------------------------------------------------
    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        finally:
            self._is_ready.set()

    async def _all(self) -> None:
        gate = asyncio.Semaphore(self._most)
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            asyncio.create_task(self._one(name, work, gate)) for name, work in self._works.items()
        ]
        self._is_ready.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _one(self, name: str, work: Work, gate: asyncio.Semaphore) -> None:
        async with gate:
            error = ""
            try:
                await self._tell(Begun(name))
                await work(
                    lambda line: self._tell(Said(name, line)),
                    lambda line: self._tell(Noted(name, line)),
                )
            except MachineFailed as failure:
                error = failure.message
            except asyncio.CancelledError:
                error = self._why
            except Exception as broken:
                log.exception("The work on %s broke", name)
                error = f"Sluice could not do it: {broken!r}"
            await self._tell(Ended(name, error))

    async def _tell(self, event: Event) -> None:
        while not self._is_given_up:
            try:
                self._events.put_nowait(event)
                return
            except queue.Full:
                await asyncio.sleep(POLL / 4)
