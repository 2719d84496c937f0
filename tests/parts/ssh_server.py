"""Real SSH servers on loopback, one for each machine of a test: keys, SFTP, real programs.

They run in one thread with an event loop. Every machine is a folder, its `home`, in which each of
its programs begins: HERE is that folder's path as each machine sees it, so that several of them can
be told of the same path. Programs find the machine's own `bin` in front of their PATH, in which a
test puts what it wants to be there, or be otherwise.
"""

import asyncio
import contextlib
import os
import signal
import stat
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

USER = "deploy"
HERE = "/proc/self/cwd"
READ = 64 * 1024
Answer = TypeVar("Answer")

# In the place of sudo, which is not everywhere: it lets everybody be anybody, or nobody.
SUDO = """#!/bin/sh
[ "$1" = -n ] && [ "$2" = -u ] && [ "$4" = -- ] || exit 2
SUDO_USER_WAS="$3"; export SUDO_USER_WAS
shift 4
exec "$@"
"""
NO_SUDO = """#!/bin/sh
echo "sudo: a password is required" >&2
exit 1
"""


@dataclass
class Host:
    """One machine: where it listens, by which key it is known, and what happened on it."""

    name: str
    home: Path
    key: asyncssh.SSHKey
    damages: bool = False
    port: int = 0
    connections: int = 0
    programs: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def host_key(self) -> str:
        return self.key.export_public_key().decode().strip()

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    def put_program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Servers:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._listening: dict[str, asyncssh.SSHAcceptor] = {}
        self._open: list[asyncssh.SSHServerConnection] = []
        self.hosts: list[Host] = []
        self._thread.start()

    @property
    def private_key(self) -> str:
        return self.client_key.export_private_key().decode()

    def start(self, name: str, *, damages: bool = False) -> Host:
        """A new machine. `damages`: it turns a byte of whatever is written to it."""
        home = self._folder / name
        for folder in ("bin", "tmp"):
            (home / folder).mkdir(parents=True)
        host = Host(name, home, asyncssh.generate_private_key("ssh-ed25519"), damages)
        self.do(self._listen(host))
        self.hosts.append(host)
        return host

    def stop(self, host: Host) -> None:
        self.do(self._close(host))

    def forget_key(self) -> None:
        """From now on no machine knows the key that used to open it."""
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")

    def hang_up(self) -> None:
        """Break every connection that there is."""
        self.do(self._abort())

    def do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        for host in self.hosts:
            if host.name in self._listening:
                self.stop(host)
        self.do(self._finish())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    # ---- In the loop ----------------------------------------------------------------------------
    async def _listen(self, host: Host) -> None:
        outer = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                host.connections += 1
                outer._open.append(conn)

            def begin_auth(self, username: str) -> bool:
                return True

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                known = outer.client_key.public_data
                return username == USER and key.public_data == known

        class Files(asyncssh.SFTPServer):
            def map_path(self, path: bytes) -> bytes:
                mapped = super().map_path(path)
                return mapped.replace(HERE.encode(), bytes(host.home), 1)

            def write(self, file_obj: object, offset: int, data: bytes) -> int:
                if host.damages and offset == 0:
                    data = bytes([data[0] ^ 1]) + data[1:]
                written: Any = super().write(file_obj, offset, data)
                return int(written)

        async def run(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            path = f"{host.bin}:{os.environ['PATH']}"
            environment = {"PATH": path, "TMPDIR": str(host.home / "tmp")}
            program = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", process.command or ":",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                cwd=host.home,
                start_new_session=True,
            )  # fmt: skip
            host.programs.append(program)
            await _serve(process, program)

        listening = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[host.key],
            process_factory=run,
            sftp_factory=Files,
            encoding=None,
        )
        host.port = listening.get_port()
        self._listening[host.name] = listening

    async def _abort(self) -> None:
        while self._open:
            self._open.pop().abort()

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _close(self, host: Host) -> None:
        listening = self._listening.pop(host.name)
        listening.close()
        await self._abort()
        await listening.wait_closed()
        for program in host.programs:
            if program.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)
                await _end_of(program)


async def _serve(
    process: "asyncssh.SSHServerProcess[bytes]", program: asyncio.subprocess.Process
) -> None:
    """Like sshd: the end is told at once, and what was left running may say what it likes."""
    feeding = asyncio.create_task(_feed(process, program))
    telling = asyncio.gather(
        _tell(program.stdout, process.stdout), _tell(program.stderr, process.stderr)
    )
    try:
        code = await _end_of(program)
        await asyncio.wait([telling], timeout=0.5)
        with contextlib.suppress(OSError):
            process.exit(code)
    finally:
        for task in (feeding, telling):
            task.cancel()
        await asyncio.gather(feeding, telling, return_exceptions=True)
        transport: Any = program._transport  # type: ignore[attr-defined]
        transport.close()


async def _end_of(program: asyncio.subprocess.Process) -> int:
    """Its exit code as soon as it has one: `wait` waits for what it left running as well."""
    while program.returncode is None:
        await asyncio.sleep(0.02)
    return program.returncode


async def _feed(
    process: "asyncssh.SSHServerProcess[bytes]", program: asyncio.subprocess.Process
) -> None:
    """Give the program its input, which ends when the connection does."""
    assert program.stdin is not None
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await process.stdin.read(READ):
            program.stdin.write(data)
            await program.stdin.drain()
    program.stdin.close()


async def _tell(source: asyncio.StreamReader | None, target: "asyncssh.SSHWriter[bytes]") -> None:
    assert source is not None
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(READ):
            target.write(data)
            await target.drain()


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    made = Servers(folder)
    try:
        yield made
    finally:
        made.close()
