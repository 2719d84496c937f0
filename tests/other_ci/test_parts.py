"""examples/other-ci/sluice.sh with files that are so large that they go in parts."""

import io
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from pipelines import blobs, receiving
from pipelines.models import Artifact, Upload, UploadPart
from tests.cast import Site
from tests.other_ci.building import EXAMPLES, Build
from tests.other_ci.test_script import SHELLS, begun, beside_calls, done, refused

PART = 1000


@pytest.fixture(autouse=True)
def small_parts(settings: Any) -> None:
    settings.UPLOAD_PART_BYTES = PART


@pytest.fixture
def large(build: Build) -> Build:
    build.more["SLUICE_LARGE"] = "2000"
    return build


def contents(artifact: Artifact) -> dict[str, bytes]:
    found = {}
    for file in artifact.files.select_related("blob"):
        with blobs.open_blob(file.blob) as stream:
            found[file.path] = stream.read()
    return found


@pytest.mark.parametrize("shell", SHELLS)
def test_large_files_go_in_parts_with_the_small_ones_beside_them(large: Build, shell: str) -> None:
    files = {
        "large.bin": os.urandom(3500),
        "lib/, ; 'x' $(id) ü.so": b"small",
        "exact": os.urandom(2000),
    }
    for path, data in files.items():
        large.write(f"dist/{path}", data)
    large.write("dist/empty", b"")
    run = begun(large)
    said = done(large.sluice("upload", "app", "dist", shell=shell))
    assert "$[stages.build.build.upload.artifacts.app]" in said
    assert "in 7 parts" in said
    assert contents(run.artifacts.get()) == {**files, "empty": b""}


def test_the_same_call_again_has_its_effect_once(large: Build) -> None:
    large.write("large.bin", os.urandom(3500))
    begun(large)
    done(large.sluice("upload", "app", "large.bin"))
    once = beside_calls()
    assert "uploaded" in done(large.sluice("upload", "app", "large.bin"))
    assert beside_calls() == once


def _cut(large: Build) -> int:
    """Kill the script in the middle of its 60 parts; how many of them are there."""
    argv = ["sh", str(EXAMPLES / "sluice.sh"), "upload", "app", "large.bin"]
    with subprocess.Popen(argv, cwd=large.folder, env=large.environment) as cut:
        patience = time.monotonic() + 60
        while UploadPart.objects.count() < 3 and time.monotonic() < patience:
            time.sleep(0.02)
        cut.terminate()
    there = 0
    # The part that was under way may still arrive.
    while there != (there := UploadPart.objects.count()):
        time.sleep(1)
    assert 3 <= there < 60
    return there


def test_a_call_that_was_killed_is_made_again_and_sends_the_rest(large: Build) -> None:
    data = os.urandom(60 * PART)
    large.write("large.bin", data)
    run = begun(large)
    there = _cut(large)
    assert f"in {60 - there} parts" in done(large.sluice("upload", "app", "large.bin"))
    assert contents(run.artifacts.get()) == {"large.bin": data}
    assert Upload.objects.count() == 1


def test_an_upload_that_was_given_up_is_begun_anew(large: Build, site: Site) -> None:
    large.write("large.bin", os.urandom(60 * PART))
    run = begun(large)
    _cut(large)
    receiving.abort(Upload.objects.get(), by=site.cast.ada)
    assert "in 60 parts" in done(large.sluice("upload", "app", "large.bin"))
    assert run.artifacts.count() == 1
    assert set(Upload.objects.values_list("state", flat=True)) == {"aborted", "completed"}


def test_other_files_under_the_same_name_are_refused(large: Build) -> None:
    large.write("large.bin", os.urandom(3500))
    begun(large)
    done(large.sluice("upload", "app", "large.bin"))
    large.write("large.bin", os.urandom(3500))
    assert "use another name" in refused(large, "upload", "app", "large.bin")


def test_the_documented_calls_send_what_is_missing(build: Build) -> None:
    text = (Path(settings.BASE_DIR) / "docs" / "uploads.md").read_text()
    (calls,) = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    data = os.urandom(3500)
    build.write("app.bin", data)
    run = begun(build)
    beginning, sending = calls.split("# 2.")
    said = build.script(beginning, RUN=str(run.number))
    assert said.status == 0, said
    upload = Upload.objects.get()
    receiving.put_part(upload, 1, 2, io.BytesIO(data[1000:2000]), by=upload.created_by, length=PART)
    said = build.script(f"{beginning}\n# 2.{sending}", RUN=str(run.number))
    assert said.status == 0, said
    assert said.out.count('"sha256"') == 3 + 2
    assert contents(run.artifacts.get()) == {"app.bin": data}
