"""Servers that the tests start as programs of their own, and that end with the tests."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# Said by the child itself before it becomes the server: a test run that is killed must not leave
# it behind. In the parent it could not be done safely, because the parent has threads.
END_WITH_PARENT = (
    "import ctypes, os, signal, sys; "
    "ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@contextlib.contextmanager
def started(argv: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server, whose whole path is the first of `argv`, until the block ends."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", END_WITH_PARENT, *argv],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def free_port() -> int:
    """A port of loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
