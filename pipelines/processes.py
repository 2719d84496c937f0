"""Run one program for a step: scrubbed environment, own process group, a deadline, live output."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

from pipelines import launcher

READ = 64 * 1024
READS = 16
GRACE = 5.0
POLL = 0.2
NO_LIMITS: Mapping[str, int] = MappingProxyType({})
TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. `stopped` is why it was killed, or empty when it ended by itself."""

    exit_code: int
    stopped: str = ""

    @property
    def why_not_good(self) -> str:
        """What was wrong with its end as a sentence, or empty."""
        if self.stopped == TIMEOUT:
            return "It took longer than the job's timeoutMinutes allow."
        if self.stopped:
            return self.stopped
        if self.exit_code < 0:
            return f"It was killed by signal {-self.exit_code}."
        return f"It ended with exit code {self.exit_code}." if self.exit_code else ""


def run(
    argv: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    deadline: float,
    output: Callable[[bytes], None],
    should_stop: Callable[[], str],
    user: int | None = None,
    limits: Mapping[str, int] = NO_LIMITS,
    errors: IO[bytes] | None = None,
) -> Ended:
    """Run `argv` in `folder` until it ends, `deadline` (monotonic seconds) or `should_stop`.

    `environment` is all that the program gets; `user` whom it becomes, where this process is root;
    `limits` what it is held to, by the launcher's names. `errors` takes what it writes to its
    second output, which comes with the first otherwise. `should_stop` answers why to stop, or an
    empty text. Whatever the program started and left behind is killed with it: launcher.py sees to
    that.
    """
    # Neither in the launcher's own environment nor on a command line that others can read.
    with tempfile.TemporaryFile() as variables:
        variables.write(json.dumps(dict(environment)).encode())
        variables.seek(0)
        handle = variables.fileno()
        options = [] if user is None else ["--user", str(user)]
        for name, number in limits.items():
            options += ["--limit", f"{name}={number}"]
        program = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", launcher.__file__, str(handle), str(folder)),
                *options,
                "--",
                *argv,
            ],
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors is None else errors,
            start_new_session=True,
            close_fds=True,
            pass_fds=(handle,),
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
                stopped = should_stop() or (TIMEOUT if time.monotonic() > deadline else "")
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
