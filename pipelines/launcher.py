"""Run one program, and leave nothing of it behind.

    python -I -S launcher.py PROGRAM [ARGUMENT…]

It stands between a worker and the program of a step. When the worker dies, the kernel tells it and
it kills the program. Whatever the program started becomes its child in the end, even in a session
of its own, and is killed before it exits. Its own exit status is the program's.

Both are promises of Linux. Elsewhere the worker's killing of the process group has to do.

A script of its own, with nothing but the standard library: it runs before each program.
"""

import contextlib
import ctypes
import os
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
#: The worker sends this when the program did not end on SIGTERM.
KILL_ALL = signal.SIGUSR1
ROUNDS = 1000


def main(argv: list[str]) -> None:
    worker = os.getppid()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def on_term(number: int, frame: FrameType | None) -> None:
        # The worker's own SIGTERM reaches the whole group: the program decides how to end.
        if os.getppid() != worker:
            _kill_all()
            os._exit(128 + signal.SIGTERM)

    def on_kill(number: int, frame: FrameType | None) -> None:
        _kill_all()
        _end_like(-signal.SIGKILL)

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(KILL_ALL, on_kill)
    program = os.fork()
    if program == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(KILL_ALL, signal.SIG_DFL)
        try:
            os.execvp(argv[0], argv)  # noqa: S606  # an argument list, no shell
        except OSError as error:
            os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
            os._exit(127)
    if os.getppid() != worker:
        # It died before the kernel knew that we want to be told.
        on_term(signal.SIGTERM, None)
    code = _wait_for(program)
    _kill_all()
    _end_like(code)


def _wait_for(program: int) -> int:
    """The program's exit code, negative for a signal; other children are reaped as they end."""
    while True:
        ended, status = os.wait()
        if ended == program:
            return os.waitstatus_to_exitcode(status)


def _kill_all() -> None:
    """Kill every child until there is none: those of the killed become ours, and are next."""
    for _ in range(ROUNDS):
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _children() -> list[int]:
    me = os.getpid()
    try:
        running = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    return [int(name) for name in running if _parent_of(name) == me]


def _parent_of(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The name in parentheses may hold anything; the parent is the second field after it.
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return -1


def _end_like(code: int) -> None:
    """Exit with the program's code, or die of the signal that it died of."""
    if code >= 0:
        os._exit(code)
    with contextlib.suppress(OSError):
        # SIGKILL has no handler to take away.
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    signal.pause()


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
