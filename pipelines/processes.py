"""Run one program for a step: scrubbed environment, own process group, a deadline, live output."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines import launcher

READ = 64 * 1024
READS = 16
GRACE = 5.0
POLL = 0.2


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. `stopped` is why it was killed, or empty when it ended by itself."""

    exit_code: int
    stopped: str = ""


def run(
    argv: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    deadline: float,
    output: Callable[[bytes], None],
    should_stop: Callable[[], str],
) -> Ended:
    """Run `argv` in `folder` until it ends, `deadline` (monotonic seconds) or `should_stop`.

    `environment` is all that the program gets. `should_stop` answers why to stop, or an empty
    text. Whatever the program started and left behind is killed with it: launcher.py sees to that.
    """
    program = subprocess.Popen(
        [sys.executable, "-I", "-S", launcher.__file__, *argv],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        close_fds=True,
    )
    assert program.stdout is not None
    pipe = program.stdout.fileno()
    os.set_blocking(pipe, False)
    stopped = ""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            is_open = True
            while program.poll() is None:
                if selector.select(POLL) and is_open:
                    is_open = _drain(pipe, output)
                    if not is_open:
                        selector.unregister(pipe)
                stopped = should_stop() or ("timeout" if time.monotonic() > deadline else "")
                if stopped:
                    _stop(program)
                    break
            if is_open:
                _drain(pipe, output)
    finally:
        _kill_group(program.pid, signal.SIGKILL)
        program.wait()
        program.stdout.close()
    return Ended(program.returncode, stopped)


def _drain(pipe: int, output: Callable[[bytes], None]) -> bool:
    """Hand on what there is to read; False at the end of the output.

    Only as much as a pipe can hold: a program that never stops writing would keep us here.
    """
    for _ in range(READS):
        try:
            chunk = os.read(pipe, READ)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        output(chunk)
    return True


def _stop(program: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then have the launcher kill all that came of it."""
    _kill_group(program.pid, signal.SIGTERM)
    try:
        program.wait(GRACE)
    except subprocess.TimeoutExpired:
        program.send_signal(launcher.KILL_ALL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(GRACE)


def _kill_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return
