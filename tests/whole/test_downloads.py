"""Downloads for real: the web server as it is run, nginx before it, and plain curl and wget."""

import hashlib
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.parts import nginx
from tests.whole.installation import Installation, wait_for

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]

LARGE = os.urandom(9_000_000)
FILES = {"bin/tool": os.urandom(300_000), "notes.txt": b"two files", "ünï.txt": b"with letters"}
SIGN = """
import time
from pipelines import artifacts, links
from pipelines.models import Artifact
by_name = {each.name: each for each in Artifact.objects.select_related("bundle")}
for name in ("large", "tool"):
    print(artifacts.descriptor(by_name[name])["downloadUrl"])
now = time.time()
time.time = lambda: now - 25 * 3600
print(artifacts.descriptor(by_name["large"])["downloadUrl"])
"""


@dataclass(frozen=True)
class Served:
    """A site that serves two artifacts: one of one large file, and one of several files."""

    sluice: Installation
    large: str
    several: str
    expired: str
    token: str

    def stored(self, content: bytes) -> Path:
        sha256 = hashlib.sha256(content).hexdigest()
        return self.sluice.data / "blobs/sha256" / sha256[:2] / sha256

    def behind(self, front: str, link: str) -> str:
        return front + link.removeprefix(self.sluice.url)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    sluice = Installation(
        tmp_path_factory.mktemp("downloads"), SLUICE_ACCEL_REDIRECT="", SLUICE_LOG_FOLLOWERS="2"
    )
    with sluice.serving("--only", "web"):
        wait_for(sluice.is_ready, said="the site is not ready")
        yield filled(sluice)


def filled(sluice: Installation) -> Served:
    token = sluice.token("ada", "developer")
    with sluice.caller(token) as ada:
        yaml = "stages: {a: {jobs: {b: {steps: {c: {step: Command, with: {run: 'true'}}}}}}}"
        ada.post("pipelines/", json={"id": "app", "name": "", "yaml": yaml}).raise_for_status()
        made = ada.post("pipelines/app/runs/", json={"external": True}).raise_for_status().json()
        address = f"pipelines/app/runs/{made['number']}/artifacts/"
        for name, files in {"large": {"large.bin": LARGE}, "tool": FILES}.items():
            ada.post(
                address,
                data={"stage": "a", "job": "b", "step": "c", "artifact": name},
                files=[("file", (path, content)) for path, content in files.items()],
            ).raise_for_status()
    done = sluice.manage("shell", "--no-imports", "-c", SIGN)
    assert done.returncode == 0, done.stderr
    large, several, expired = done.stdout.split()
    return Served(sluice, large, several, expired, token)


def run(*arguments: str, folder: Path, expect: int = 0) -> str:
    done = subprocess.run(
        arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == expect, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


# ---- curl and wget -------------------------------------------------------------------------------
@pytest.mark.parametrize("options", ["-O", "-OJ"])
def test_plain_curl_keeps_a_signed_link_under_the_name_of_the_file(
    options: str, served: Served, tmp_path: Path
) -> None:
    run("curl", "-sSf", options, served.large, folder=tmp_path)
    assert contents(tmp_path) == {"large.bin": LARGE}


def test_curl_goes_on_where_it_was_broken_off(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(LARGE[:1_234_567])
    run("curl", "-sSf", "-C", "-", "-O", served.large, folder=tmp_path)
    assert file.read_bytes() == LARGE
    # Once more: there is nothing left to fetch.
    run("curl", "-sS", "-C", "-", "-O", served.large, folder=tmp_path)
    assert file.read_bytes() == LARGE


def test_wget_looks_fetches_and_goes_on(served: Served, tmp_path: Path) -> None:
    said = run("wget", "--spider", "-S", served.large, folder=tmp_path)
    assert f"Length: {len(LARGE)} " in said
    assert contents(tmp_path) == {}
    named = ("wget", "-nv", "--content-disposition", served.large)
    run(*named, folder=tmp_path)
    assert contents(tmp_path) == {"large.bin": LARGE}
    file = tmp_path / "large.bin"
    file.write_bytes(LARGE[:77])
    run("wget", "-nv", "-c", "-O", "large.bin", served.large, folder=tmp_path)
    assert file.read_bytes() == LARGE
    run("wget", "-nv", "-c", "-O", "large.bin", served.large, folder=tmp_path)
    assert file.read_bytes() == LARGE


def test_a_bundle_goes_on_where_it_was_broken_off_too(served: Served, tmp_path: Path) -> None:
    run("curl", "-sSf", "-O", served.several, folder=tmp_path)
    file = tmp_path / "tool.tgz"
    whole = file.read_bytes()
    file.write_bytes(whole[:100_001])
    run("curl", "-sSf", "-C", "-", "-O", served.several, folder=tmp_path)
    assert file.read_bytes() == whole
    with tarfile.open(file) as archive:
        read = {member.name: archive.extractfile(member) for member in archive}
        assert {path: stream.read() for path, stream in read.items() if stream} == FILES


def test_a_zip_is_fetched_with_its_name(served: Served, tmp_path: Path) -> None:
    run("curl", "-sSf", "-OJ", f"{served.several}&format=zip", folder=tmp_path)
    with zipfile.ZipFile(tmp_path / "tool.zip") as archive:
        assert {path: archive.read(path) for path in archive.namelist()} == FILES


def test_links_that_are_not_good_say_what_to_do(served: Served, tmp_path: Path) -> None:
    signature = served.large.partition("?")[2]
    for link, code in (
        (served.expired, "link_expired"),
        (served.large[:-2], "link_not_genuine"),
        (f"{served.several.partition('?')[0]}?{signature}", "link_not_genuine"),
    ):
        run("curl", "-sSf", "-O", link, folder=tmp_path, expect=22)
        run("wget", "--spider", "-nv", link, folder=tmp_path, expect=8)
        assert contents(tmp_path) == {}
        answer = httpx.get(link)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert "send a token" in answer.json()["detail"]


def test_damaged_bytes_never_arrive_as_whole(served: Served, tmp_path: Path) -> None:
    stored = served.stored(LARGE)
    try:
        stored.write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
        # 18: the transfer ended with less than was announced.
        run("curl", "-sSf", "-O", served.large, folder=tmp_path, expect=18)
        assert len((tmp_path / "large.bin").read_bytes()) < len(LARGE)
    finally:
        stored.write_bytes(LARGE)
    run("curl", "-sSf", "-O", served.large, folder=tmp_path)
    assert (tmp_path / "large.bin").read_bytes() == LARGE


# ---- Behind nginx --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def front(served: Served) -> Iterator[str]:
    """The address of an nginx before a web server of the same site that leaves bytes to it."""
    behind = Installation(served.sluice.data)
    behind.environment["SLUICE_ACCEL_REDIRECT"] = "/internal-blobs/"
    with behind.serving("--only", "web"):
        wait_for(behind.is_ready, said="the site behind nginx is not ready")
        with nginx.in_front_of(f"127.0.0.1:{behind.port}", served.sluice.data / "blobs") as address:
            yield address


def test_behind_nginx_a_download_is_the_same(served: Served, front: str) -> None:
    direct = httpx.get(served.large)
    passed = httpx.get(served.behind(front, served.large))
    assert (passed.status_code, passed.content) == (200, LARGE)
    assert passed.headers["Server"] == "nginx"
    for name in (
        "ETag", "Content-Length", "Content-Type", "Content-Disposition", "Repr-Digest",
        "Cache-Control", "Accept-Ranges", "X-Content-Type-Options",
    ):  # fmt: skip
        assert passed.headers.get_list(name) == direct.headers.get_list(name), name
    assert "Last-Modified" not in passed.headers
    assert "X-Accel-Redirect" not in passed.headers
    # Nobody else gets there.
    inside = served.stored(LARGE).relative_to(served.sluice.data / "blobs")
    assert httpx.get(f"{front}/internal-blobs/{inside}").status_code == 404


def test_behind_nginx_ranges_and_conditions_hold(served: Served, front: str) -> None:
    link = served.behind(front, served.large)
    tag = f'"{hashlib.sha256(LARGE).hexdigest()}"'
    part = httpx.get(link, headers={"Range": "bytes=10-19", "If-Range": tag})
    assert (part.status_code, part.content) == (206, LARGE[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(LARGE)}"
    assert part.headers["ETag"] == tag
    for other in ('"other"', f"W/{tag}"):
        whole = httpx.get(link, headers={"Range": "bytes=10-19", "If-Range": other})
        assert (whole.status_code, whole.content) == (200, LARGE)
    assert httpx.get(link, headers={"If-None-Match": tag}).status_code == 304
    beyond = httpx.get(link, headers={"Range": f"bytes={len(LARGE)}-"})
    assert beyond.headers["Content-Range"] == f"bytes */{len(LARGE)}"
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    head = httpx.head(link)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(LARGE)))


def test_behind_nginx_curl_and_wget_fetch_and_go_on(
    served: Served, front: str, tmp_path: Path
) -> None:
    file = tmp_path / "large.bin"
    link = served.behind(front, served.large)
    run("curl", "-sSf", "-OJ", link, folder=tmp_path)
    assert contents(tmp_path) == {"large.bin": LARGE}
    for go_on in (
        ("curl", "-sSf", "-C", "-", "-O"),
        ("wget", "-nv", "-c", "-O", "large.bin"),
    ):
        file.write_bytes(LARGE[:4_000_000])
        run(*go_on, link, folder=tmp_path)
        assert file.read_bytes() == LARGE
    # What is composed comes through it from Sluice.
    run("curl", "-sSf", "-O", served.behind(front, served.several), folder=tmp_path)
    with tarfile.open(tmp_path / "tool.tgz") as archive:
        assert archive.getnames() == sorted(FILES)


def test_behind_nginx_a_body_is_collected_before_sluice_is_asked(
    served: Served, front: str
) -> None:
    with httpx.Client(
        base_url=f"{front}/api/v1/", headers={"Authorization": f"Bearer {served.token}"}
    ) as ada:
        run_ = ada.post("pipelines/app/runs/", json={"external": True}).raise_for_status().json()
        answer = ada.post(
            f"pipelines/app/runs/{run_['number']}/artifacts/",
            data={"stage": "a", "job": "b", "step": "c", "artifact": "sent"},
            files=[("file", ("sent.bin", LARGE))],
        )
        assert answer.status_code == 201
        assert answer.json()["sha256"] == hashlib.sha256(LARGE).hexdigest()
