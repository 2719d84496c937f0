"""The main job for real: web and worker as processes, git, builds, HTTP; on both databases."""

import shutil
import socket
import stat
from pathlib import Path

import pytest

from tests.site import WORKSPACES
from tests.whole.installation import Installation, demo_file

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]

ROLES = {
    "ada": ["developer"],
    "ben": ["release_manager"],
    "cleo": ["release_manager"],
    "dora": ["auditor"],
    "admin": ["operator"],
    "production": ["deployer"],
}
STEPS = (
    "The pre-release pipeline builds, tests and uploads greeter",
    "is published as greeter",
    "is promoted to staging",
    "is promoted to production",
    "ada may not approve it herself",
    "Production cannot take",
    "The production pipeline takes exactly",
    "Production is rolled back",
    "dora reads the promotion history",
    "The ledger and everything it speaks of are verified",
    "The main job is done.",
)


def _run_demo(sluice: Installation, *versions: str) -> str:
    done = sluice.manage("demo", "--once")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    for step in STEPS:
        assert step in done.stdout, step
    for version in versions:
        assert f"greeter {version}: Hello, production!" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def _check_sign_ins(sluice: Installation) -> None:
    file = sluice.data / "demo.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = demo_file(sluice.data)
    assert set(content) == {"url", "users"}
    assert content["url"] == sluice.url
    assert {user["username"]: user["roles"] for user in content["users"]} == ROLES
    for user in content["users"]:
        assert set(user) == {"username", "password", "token", "roles"}
        assert user["token"].startswith("sluice_")
        assert bool(user["password"]) == (user["username"] != "production")


def _verify(sluice: Installation) -> None:
    done = sluice.manage("verify", "--scrub")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BROKEN" not in done.stdout
    assert "holds" in done.stdout


def _twice(sluice: Installation) -> None:
    """Once on nothing, and once more on what the first left behind."""
    _run_demo(sluice, "1.0.0", "1.1.0")
    _check_sign_ins(sluice)
    passwords = {user["username"]: user["password"] for user in demo_file(sluice.data)["users"]}
    _verify(sluice)
    _run_demo(sluice, "2.0.0", "2.1.0")
    _check_sign_ins(sluice)
    again = {user["username"]: user["password"] for user in demo_file(sluice.data)["users"]}
    assert again == passwords
    _verify(sluice)


def test_the_main_job_runs_twice_on_the_embedded_database_and_tells_of_lost_bytes(
    tmp_path: Path,
) -> None:
    sluice = Installation(tmp_path)
    _twice(sluice)
    assert (tmp_path / "sluice.sqlite3").exists()

    shutil.rmtree(tmp_path / "blobs" / "sha256")
    done = sluice.manage("demo", "--once")
    assert done.returncode != 0
    assert "BROKEN" in done.stdout
    assert "The main job is done." not in done.stdout
    assert sluice.manage("verify").returncode == 1


@pytest.mark.postgres
def test_the_main_job_runs_twice_on_postgresql(tmp_path: Path, fresh_database: str) -> None:
    sluice = Installation(tmp_path, database=fresh_database)
    _twice(sluice)
    assert not (tmp_path / "sluice.sqlite3").exists()


def test_a_build_that_fails_ends_the_demo_with_an_error(tmp_path: Path) -> None:
    """The steps find a python3 that cannot do its work: their build says no, and so does all."""
    # Where a job gets to, whoever it runs as.
    programs = WORKSPACES / f"{tmp_path.name}-programs"
    programs.mkdir()
    programs.chmod(0o755)
    broken = programs / "python3"
    broken.write_text("#!/bin/sh\necho 'no python here' >&2\nexit 3\n")
    broken.chmod(0o755)
    sluice = Installation(tmp_path / "data")
    done = sluice.manage(
        "demo", "--once", changed={"PATH": f"{programs}:{sluice.environment['PATH']}"}
    )
    assert done.returncode not in {0, None}
    assert "no python here" in done.stdout
    assert "did not come to what it must" in done.stderr
    assert "The main job is done." not in done.stdout


def test_a_port_that_is_taken_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    sluice = Installation(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", sluice.port))
        taken.listen()
        done = sluice.manage("demo", "--once")
    assert done.returncode != 0
    assert f"Port {sluice.port} is taken" in done.stderr
    assert not (tmp_path / "demo.json").exists()
