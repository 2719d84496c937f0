"""An import that is killed again and again comes to its end all the same, and doubles nothing."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.promotion.importing import make_tree
from tests.whole.installation import ROOT, Installation

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]

PACKAGES, VERSIONS = 4, 15
MAKE = """
from accounts.models import User
from promotion import publishing
publishing.create_repository("apps", by=User.objects.get())
print("null")
"""
LOOK = """
import json
from django.db.models import Count
from pipelines.models import Run
from promotion.models import Version
print(json.dumps({
    "versions": list(
        Version.objects.order_by("pk").values_list("package__name", "name", "manifest_digest")
    ),
    "open": Run.objects.open().count(),
    "states": list(Run.objects.values_list("state").annotate(Count("pk")).order_by("state")),
    "unpublished": Run.objects.filter(state="succeeded", artifacts__versions=None).count(),
}))
"""


def test_on_the_embedded_database(tmp_path: Path) -> None:
    _killed_and_run_again(Installation(tmp_path / "data"), tmp_path / "tree")


@pytest.mark.postgres
def test_on_postgresql(tmp_path: Path, fresh_database: str) -> None:
    _killed_and_run_again(
        Installation(tmp_path / "data", database=fresh_database), tmp_path / "tree"
    )


def _killed_and_run_again(sluice: Installation, tree: Path) -> None:
    make_tree(
        tree,
        {
            f"package-{package}/1.{version}.0/{name}": f"{package} {version} {name}".encode() * 500
            for package in range(PACKAGES)
            for version in range(VERSIONS)
            for name in ("app.bin", "share/notes.txt")[: 2 if package == 0 else 1]
        },
    )
    sluice.data.mkdir()
    assert sluice.manage("migrate", "--verbosity", "0").returncode == 0
    sluice.token("ada", "developer")
    _look(sluice, MAKE)
    command = ("import_packages", str(tree), "--repository", "apps", "--as", "ada")

    for kill in range(4):
        # Each time a little later in what is done for a version, in one file and in two.
        _kill(sluice, command, after=8 + kill, later=kill * 0.013)
    before = _look(sluice, LOOK)
    assert 0 < len(before["versions"]) < PACKAGES * VERSIONS

    done = sluice.manage(*command)

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    after = _look(sluice, LOOK)
    assert after["versions"][: len(before["versions"])] == before["versions"]
    assert [version[:2] for version in after["versions"]] == [
        [f"package-{package}", f"1.{version}.0"]
        for package in range(PACKAGES)
        for version in range(VERSIONS)
    ]
    assert (after["open"], after["unpublished"]) == (0, 0)
    assert dict(after["states"])["succeeded"] == PACKAGES * VERSIONS
    scrubbed = sluice.manage("verify", "--scrub")
    assert scrubbed.returncode == 0, scrubbed.stdout
    again = sluice.manage(*command)
    assert f"0 published (0 B), {PACKAGES * VERSIONS} there already" in again.stdout
    assert _look(sluice, LOOK) == after


def _kill(sluice: Installation, command: tuple[str, ...], *, after: int, later: float) -> None:
    """Run it until it has published `after` versions, and kill it as it works on the next."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=sluice.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    published = 0
    while published < after:
        line = process.stdout.readline()
        assert line, "it ended by itself"
        published += "] published" in line
    time.sleep(later)
    process.kill()
    process.stdout.close()
    assert process.wait() == -9


def _look(sluice: Installation, code: str) -> Any:
    done = sluice.manage("shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])
