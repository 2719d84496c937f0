"""Run one program, and leave nothing of it behind.

    python -I -S launcher.py ENVIRONMENT FOLDER [--user UID] [--limit NAME=NUMBER]… -- PROGRAM …

It stands between a worker and the program of a step. When the worker dies, the kernel tells it and
it kills the program. Whatever the program started becomes its child in the end, even in a session
of its own, and is killed before it exits. Its own exit status is the program's.

Both are promises of Linux. Elsewhere the worker's killing of the process group has to do.

ENVIRONMENT is the number of an open file with the program's environment as JSON: the launcher may
be root, and must not itself be started with variables that a definition chose, like LD_PRELOAD.
With --user the program, but not the launcher, becomes that user, and can gain no rights again; only
then does it go to FOLDER, which may lead where that user must not follow.

A script of its own, with nothing but the standard library: it runs before each program.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time

# os.execvpe imports it, and the step's user may not be able to read where it lies.
import warnings  # noqa: F401
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
#: The worker sends this when the program did not end on SIGTERM.
KILL_ALL = signal.SIGUSR1
ROUNDS = 1000
PATIENCE = 10.0
#: From here on numbers are nobody's.
UNUSED = 0xF0000000
LIMITS = {
    "processes": resource.RLIMIT_NPROC,
    "memory": resource.RLIMIT_DATA,
    "file": resource.RLIMIT_FSIZE,
    "core": resource.RLIMIT_CORE,
}


def main(argv: list[str]) -> None:
    environment, folder, user, limits, program_argv = _read(argv)
    worker = os.getppid()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def on_term(number: int, frame: FrameType | None) -> None:
        # The worker's own SIGTERM reaches the whole group: the program decides how to end.
        if os.getppid() != worker:
            _kill_all(user)
            os._exit(128 + signal.SIGTERM)

    def on_kill(number: int, frame: FrameType | None) -> None:
        _kill_all(user)
        _end_like(-signal.SIGKILL)

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(KILL_ALL, on_kill)
    program = os.fork()
    if program == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(KILL_ALL, signal.SIG_DFL)
        _become(program_argv, environment, folder, user, limits)
    if os.getppid() != worker:
        # It died before the kernel knew that we want to be told.
        on_term(signal.SIGTERM, None)
    code = _wait_for(program)
    _kill_all(user)
    _end_like(code)


def _read(argv: list[str]) -> tuple[dict[str, str], str, int | None, dict[str, int], list[str]]:
    with os.fdopen(int(argv[0]), "rb") as stream:
        environment = json.loads(stream.read())
    user, limits = None, {}
    position = 2
    while argv[position] != "--":
        option, value = argv[position], argv[position + 1]
        position += 2
        if option == "--user":
            user = int(value)
        elif option == "--limit":
            name, _, number = value.partition("=")
            limits[name] = int(number)
    return environment, argv[1], user, limits, argv[position + 1 :]


def _become(
    argv: list[str],
    environment: dict[str, str],
    folder: str,
    user: int | None,
    limits: dict[str, int],
) -> None:
    """Turn this child into the program. Never returns."""
    try:
        for name, number in limits.items():
            _, most = resource.getrlimit(LIMITS[name])
            allowed = number if most == resource.RLIM_INFINITY else min(number, most)
            resource.setrlimit(LIMITS[name], (allowed, allowed))
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            _prctl(PR_SET_NO_NEW_PRIVS, 1)
        os.chdir(folder)
        os.execvpe(argv[0], argv, environment)  # noqa: S606  # an argument list, no shell
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        os.write(2, f"{argv[0]}: {why}\n".encode())
    finally:
        os._exit(127)


def _wait_for(program: int) -> int:
    """The program's exit code, negative for a signal; other children are reaped as they end."""
    while True:
        ended, status = os.wait()
        if ended == program:
            return os.waitstatus_to_exitcode(status)


def _kill_all(user: int | None) -> None:
    """Kill every child until there is none: those of the killed become ours, and are next."""
    for _ in range(ROUNDS):
        if user is not None:
            _kill_user(user)
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            os.wait()
            # Those that are dead already, in one go.
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _kill_user(user: int) -> None:
    """Kill whatever the step's own user runs, at one stroke: no fork can be fast enough."""
    killer = os.fork()
    if killer == 0:
        with contextlib.suppress(OSError):
            os.setresgid(user, user, user)
            _may_kill_but_not_be_killed_by(user)
            # All but this very process.
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    until = time.monotonic() + PATIENCE
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(killer, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                os.kill(killer, signal.SIGKILL)
                os.waitpid(killer, 0)
                return
            time.sleep(0.002)


def _may_kill_but_not_be_killed_by(user: int) -> None:
    """A process may signal those whose user it is in effect, and be signalled only by those whose
    user it is really: so nothing of the step's can stop this one first."""
    really = UNUSED + user
    try:
        os.setresuid(really, user, really)
    except OSError:
        # A namespace that does not know so high a number.
        os.setresuid(user, user, user)


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
