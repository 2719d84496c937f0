"""How fast bytes come in and go out, beside nginx and beside the disk itself.

python -m bench.bytes [--folder DIR] [--s3] [--size MIB] [--seconds S] [--site var/demo.json]

Without --site it serves a Sluice of its own whose data lie in DIR (the system's folder for such
things by default), so that all figures are of one disk. Large files are sent and fetched by curl,
small ones on bare sockets, one process for each connection.

The limits: for one large upload, `sha256sum`, `cp` and `sync` of the same file one after another,
which is all that keeping it means; for downloads and for many small files, nginx on the same
machine with the same files (`PUT` by its dav module, which neither hashes nor syncs).
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx

from bench import site, wire

MIB = 1024 * 1024
SMALL = 4096
YAML = "stages: {build: {jobs: {build: {steps: {one: {step: Command, with: {run: 'true'}}}}}}}"
BOUNDARY = "sluice-bench"
CONNECTIONS = (1, 16)

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Served:
    """A site to measure: `artifacts` is where an open external run takes files."""

    url: str
    token: str
    artifacts: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="On the disk to measure.")
    parser.add_argument("--s3", action="store_true", help="Keep the bytes in SLUICE_BLOBS_URL.")
    parser.add_argument("--site", type=Path, help="The demo.json of a site that is served.")
    parser.add_argument("--size", type=int, default=256, help="Of the large file, in MiB.")
    parser.add_argument("--seconds", type=float, default=3.0, help="For each rate.")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        large = folder / "large.bin"
        _write_random(large, options.size * MIB)
        limit = _disk(folder, large)
        root = stack.enter_context(_nginx(folder, large))
        served = stack.enter_context(_site(folder, options))
        _large(served, root, large, limit)
        _small(served, root, options.seconds)


# ---- The limits ----------------------------------------------------------------------------------
def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))
        file.flush()
        os.fsync(file.fileno())


def _disk(folder: Path, large: Path) -> float:
    """MiB a second of sha256sum, cp and sync together."""
    copied = folder / "copied.bin"
    size, total = large.stat().st_size / MIB, 0.0
    steps: tuple[list[str], ...] = (
        ["sha256sum", str(large)],
        ["cp", str(large), str(copied)],
        ["sync", str(copied)],
    )
    for argv in steps:
        begin = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - begin
        total += took
        print(f"{argv[0]}: {size / took:.0f} MiB/s")
    copied.unlink()
    print(f"sha256sum + cp + sync: {size / total:.0f} MiB/s")
    return size / total


@contextlib.contextmanager
def _nginx(folder: Path, large: Path) -> Iterator[str | None]:
    """The address of an nginx that has the same files; None where there is none."""
    program = shutil.which("nginx")
    if program is None:
        print("nginx is not there: nothing is compared with it.")
        yield None
        return
    told = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    has_dav = "http_dav_module" in told
    if not has_dav:
        print("nginx has no dav module: uploads are not compared with it.")
    top, port = folder / "nginx", site.free_port()
    (top / "files").mkdir(parents=True)
    os.link(large, top / "files" / "large.bin")
    (top / "files" / "small.bin").write_bytes(os.urandom(SMALL))
    user = "user root;" if os.geteuid() == 0 else ""
    dav = "dav_methods PUT; create_full_put_path on;" if has_dav else ""
    temporary = " ".join(
        f"{name}_temp_path {top}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (top / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes auto; pid {top}/pid; error_log {top}/errors;\n"
        f"events {{ worker_connections 256; }}\n"
        f"http {{ access_log off; sendfile on; client_max_body_size 0; {temporary}\n"
        f"keepalive_requests 10000000;\n"
        f"server {{ listen 127.0.0.1:{port}; root {top}/files; {dav} }} }}\n"
    )
    url = f"http://127.0.0.1:{port}"
    argv = [program, "-p", str(top), "-c", f"{top}/nginx.conf"]
    with site.started(argv, f"{url}/small.bin"):
        yield url


# ---- The site ------------------------------------------------------------------------------------
@contextlib.contextmanager
def _site(folder: Path, options: argparse.Namespace) -> Iterator[Served]:
    if options.site:
        known = json.loads(options.site.read_text(encoding="utf-8"))
        token = next(each["token"] for each in known["users"] if each["username"] == "ada")
        yield _ready(known["url"], token)
        return
    made = site.prepare(folder / "data", **(_bucket() if options.s3 else {}))
    with site.serving(made):
        yield _ready(made.url, made.token)


def _bucket() -> dict[str, str]:
    """The settings with which a site keeps its bytes in the bucket that the environment names."""
    if not os.environ.get("SLUICE_BLOBS_URL", "").startswith("s3://"):
        sys.exit("--s3: name a bucket in SLUICE_BLOBS_URL, with its keys; see docs/settings.md.")
    taken = ("SLUICE_BLOBS_", "SLUICE_S3_", "SLUICE_ALLOWED_NETWORKS")
    return {name: value for name, value in os.environ.items() if name.startswith(taken)}


def _ready(url: str, token: str) -> Served:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{url}/api/v1/", headers=headers, trust_env=False) as client:
        made = client.post("pipelines/", json={"id": "bench", "name": "", "yaml": YAML})
        if made.status_code != 409:
            made.raise_for_status()
        run = client.post("pipelines/bench/runs/", json={"external": True}).raise_for_status()
    return Served(
        url, token, f"{url}/api/v1/pipelines/bench/runs/{run.json()['number']}/artifacts/"
    )


# ---- Large files ---------------------------------------------------------------------------------
def _large(served: Served, root: str | None, large: Path, limit: float) -> None:
    size = large.stat().st_size / MIB
    for count in CONNECTIONS:
        files = [large, *(_other(large, number) for number in range(1, count))]
        ours = _together(files, size, partial(_send, served))
        _say(f"upload {size:.0f} MiB", count, ours, "sha256sum + cp + sync", limit)
        if root:
            puts = _together(files, size, partial(_put, root))
            _say("", count, ours, "nginx PUT", puts)
        for each in files[1:]:
            each.unlink()
    address = _address(served, large)
    for count in CONNECTIONS:
        ours = _together([address] * count, size, partial(_fetch, served))
        theirs = _together([f"{root}/large.bin"] * count, size, _curl) if root else None
        _say(f"download {size:.0f} MiB", count, ours, "nginx", theirs)


def _other(large: Path, number: int) -> Path:
    """The same file with other first bytes: other content, which is not there yet."""
    copied = large.with_name(f"large-{number}.bin")
    shutil.copyfile(large, copied)
    with copied.open("r+b") as file:
        file.write(os.urandom(64))
    return copied


def _together(things: Sequence[Thing], size: float, act: Callable[[Thing], None]) -> float:
    """MiB a second when `act` is called with all of them at a time."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(len(things)) as pool:
        list(pool.map(act, things))
    return size * len(things) / (time.perf_counter() - begin)


def _curl(*arguments: str, header: str = "") -> None:
    # The token goes in by a file, for everybody can read a command line.
    argv = ["curl", "-sS", "--fail", "-o", os.devnull, "--noproxy", "*", *arguments]
    subprocess.run([*argv, "-H", "@-"], input=header.encode(), check=True)


def _send(served: Served, file: Path) -> None:
    form = ["-F", f"artifact={file.stem}-{os.urandom(4).hex()}", "-F", f"file=@{file}"]
    _curl(*form, "-H", "Expect:", served.artifacts, header=_header(served))


def _put(root: str, file: Path) -> None:
    _curl("-T", str(file), f"{root}/put-{os.urandom(4).hex()}.bin")


def _fetch(served: Served, address: str) -> None:
    _curl(address, header=_header(served))


def _header(served: Served) -> str:
    return f"Authorization: Bearer {served.token}\n"


def _address(served: Served, large: Path) -> str:
    """Where the large file is fetched, after sending it once more under another name."""
    with large.open("rb") as file:
        made = httpx.post(
            served.artifacts,
            headers=served.bearer,
            data={"artifact": f"fetched-{os.urandom(4).hex()}"},
            files={"file": file},
            timeout=600,
            trust_env=False,
        ).raise_for_status()
    return f"{served.url}/api/v1/artifacts/{made.json()['id']}/download/"


# ---- Small files ---------------------------------------------------------------------------------
def _small(served: Served, root: str | None, seconds: float) -> None:
    for count in CONNECTIONS:
        ours = wire.rate(served.url, partial(_posts, served), count, seconds)
        theirs = wire.rate(root, partial(_puts, root), count, seconds) if root else None
        _say("upload 4 KiB", count, ours, "nginx PUT", theirs, unit="files/s")
    made = httpx.post(
        served.artifacts,
        headers=served.bearer,
        data={"artifact": f"small-{os.urandom(4).hex()}"},
        files={"file": os.urandom(SMALL)},
        trust_env=False,
    ).raise_for_status()
    address = f"{served.url}/api/v1/artifacts/{made.json()['id']}/download/"
    ask = wire.same(wire.head("GET", address, served.bearer))
    for count in CONNECTIONS:
        ours = wire.rate(served.url, ask, count, seconds)
        plain = wire.same(wire.head("GET", f"{root}/small.bin", {}))
        theirs = wire.rate(root, plain, count, seconds) if root else None
        _say("download 4 KiB", count, ours, "nginx", theirs, unit="files/s")


def _posts(served: Served, number: int) -> Iterator[bytes]:
    """Uploads of files that nobody has sent before, each an artifact of its own."""
    disposition = 'Content-Disposition: form-data; name="'
    begin = hashlib.sha256(os.urandom(16)).hexdigest()[:12]
    serial = 0
    while True:
        serial += 1
        name = f"small-{begin}-{number}-{serial}"
        body = (
            f'--{BOUNDARY}\r\n{disposition}artifact"\r\n\r\n{name}\r\n--{BOUNDARY}\r\n'
            f'{disposition}file"; filename="small.bin"\r\n\r\n'
        ).encode()
        body += os.urandom(SMALL) + f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {
            **served.bearer,
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            "Content-Length": str(len(body)),
        }
        yield wire.head("POST", served.artifacts, headers) + body


def _puts(root: str, number: int) -> Iterator[bytes]:
    serial = 0
    while True:
        serial += 1
        address = f"{root}/{number}-{serial}-{os.urandom(4).hex()}.bin"
        yield wire.head("PUT", address, {"Content-Length": str(SMALL)}) + os.urandom(SMALL)


def _say(
    what: str, count: int, ours: float, limit: str, theirs: float | None, *, unit: str = "MiB/s"
) -> None:
    figures = f"{what}, {count} connections: {ours:.0f} {unit}" if what else " " * 8
    beside = f"; {limit}: {theirs:.0f} {unit}, ratio {ours / theirs:.2f}" if theirs else ""
    print(figures + beside, flush=True)


if __name__ == "__main__":
    main()
