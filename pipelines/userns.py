"""Run one program as root of a world of its own, which is an ordinary user outside it.

    python -I -S userns.py USER FIRST [--limit NAME=NUMBER]… -- PROGRAM [ARGUMENT…]

A program that builds images must be root and must know other users, because files in an image have
owners. A worker that is root must not be that root: a Dockerfile's RUN would own the machine. So
the program gets a user namespace: its root is the job's USER, its users from 1 on are FIRST and
those after it, which nobody else has. Where the kernel does not allow the latter, as within some
containers, there is only root. Its own exit status is the program's.

A script of its own, with nothing but the standard library, as launcher.py, which starts it.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

# os.execvp imports it, and the job's user may not be able to read where it lies.
import warnings  # noqa: F401

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
PR_SET_NO_NEW_PRIVS = 38
COUNT = 65_535
LIMITS = {
    "memory": resource.RLIMIT_DATA,
    "file": resource.RLIMIT_FSIZE,
    "core": resource.RLIMIT_CORE,
}


def main(argv: list[str]) -> None:
    user, first = int(argv[0]), int(argv[1])
    split = argv.index("--")
    for option in argv[2:split]:
        name, _, number = option.partition("=")
        if name in LIMITS:
            _limit(LIMITS[name], int(number))
    made, may_go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _become(argv[split + 1 :], user, made[1], may_go[0])
    os.close(made[1])
    if os.read(made[0], 1):
        for kind in ("uid", "gid"):
            _map(child, kind, user, first)
        os.write(may_go[1], b"!")
    _, status = os.waitpid(child, 0)
    _end_like(os.waitstatus_to_exitcode(status))


def _limit(which: int, number: int) -> None:
    _, most = resource.getrlimit(which)
    allowed = number if most == resource.RLIM_INFINITY else min(number, most)
    resource.setrlimit(which, (allowed, allowed))


def _become(argv: list[str], user: int, made: int, may_go: int) -> None:
    """Turn this child into the program, once the parent has said who is who. Never returns."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if library.unshare(CLONE_NEWUSER | CLONE_NEWNS):
            why = os.strerror(ctypes.get_errno())
            os.write(2, f"This worker may not make user namespaces ({why}).\n".encode())
            os._exit(126)
        os.write(made, b"!")
        os.read(may_go, 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.execvp(argv[0], argv)  # noqa: S606  # an argument list, no shell
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _map(child: int, kind: str, user: int, first: int) -> None:
    root = f"0 {user} 1\n"
    try:
        _write(f"/proc/{child}/{kind}_map", f"{root}1 {first} {COUNT}\n")
    except OSError:
        _write(f"/proc/{child}/{kind}_map", root)


def _write(path: str, text: str) -> None:
    # The kernel takes a map in one write, and only once.
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _end_like(code: int) -> None:
    """Exit with the program's code, or die of the signal that it died of."""
    if code >= 0:
        os._exit(code)
    with contextlib.suppress(OSError):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
