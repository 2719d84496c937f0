"""Several threads that do something at the very same time, each with a connection of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from django.db import connection

from pipelines.errors import SluiceError

Answer = TypeVar("Answer")


def at_once(acts: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """What each act answered, in order. What one raises, this raises."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Answer]) -> Answer:
        try:
            barrier.wait(timeout=30)
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [each.result() for each in [pool.submit(run, act) for act in acts]]


def outcomes(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Like `at_once`, with refusals among the answers."""

    def caught(act: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            try:
                return act()
            except SluiceError as refusal:
                return refusal

        return call

    return at_once([caught(act) for act in acts])
