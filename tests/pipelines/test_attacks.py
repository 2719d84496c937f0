"""What somebody who may write pipelines tries against the worker and against other jobs."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipelines import isolation, runs
from pipelines.models import ExecutionState, Run
from promotion import recalling
from promotion.errors import NotPromoted, Recalled
from tests.cast import Site, work_off
from tests.pipelines.test_isolation import owners
from tests.pipelines.working import (
    command,
    job,
    job_of,
    log_of,
    one_job,
    said,
    started,
    upload,
    worked,
    yaml,
)
from tests.world import refused

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

S = ExecutionState
ROOT = os.geteuid() == 0
#: Two folders up and a file that the worker may write and a job may not.
CUNNING = """
/usr/bin/python3 - <<'END'
import io, os, tarfile
name, steps = "d" * 247, "abcdefghijklmnop"
path = ""
with tarfile.open("a", "w") as tar:
    def add(entry, kind, link="", data=b""):
        info = tarfile.TarInfo(entry)
        info.type, info.linkname, info.size = kind, link, len(data)
        tar.addfile(info, io.BytesIO(data))
    for step in steps:
        add(os.path.join(path, name), tarfile.DIRTYPE)
        add(os.path.join(path, step), tarfile.SYMTYPE, name)
        path = os.path.join(path, name)
    linkpath = os.path.join("/".join(steps), "l" * 254)
    add(linkpath, tarfile.SYMTYPE, "../" * len(steps))
    add("escape", tarfile.SYMTYPE, linkpath + "/../../../" + os.environ["TARGET"].lstrip("/"))
    add("flag", tarfile.LNKTYPE, "escape")
    add("flag", tarfile.REGTYPE, data=b"owned\\n")
END
"""


def test_an_archive_that_gets_past_the_check_writes_nothing_of_the_workers(
    site: Site, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("the worker's\n")
    download = {
        "step": "ArtifactDownload",
        "with": {"artifact": "$[stages.stage1.make.s2.artifacts.app]", "extract": True},
    }
    definition = yaml({"make": job(CUNNING, upload("a"))}, {"use": job(download)})
    run = worked(site, definition, variables={"TARGET": str(mine)})
    assert job_of(run, "make").state == S.SUCCEEDED, log_of(run, "make")
    assert mine.read_text() == "the worker's\n"


SURVIVOR = """
SHELL_ID=$$ /usr/bin/python3 - <<'END'
import os, signal, time
shell = f"/proc/{os.environ['SHELL_ID']}/stat"
def is_gone():
    try:
        return open(shell).read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        until = time.time() + 30
        while not is_gone() and time.time() < until:
            pass
        while time.time() < until:
            try:
                os.kill(-1, signal.SIGSTOP)
            except OSError:
                pass
    os._exit(0)
END
sleep 0.3
"""


def test_nothing_outlives_its_step_by_stopping_what_comes_to_kill_it(site: Site) -> None:
    if not ROOT:
        # As the worker's own user it could stop the tests themselves; there jobs share a user.
        assert not isolation.is_isolating()
        return
    for number in range(4):
        one_job(site, SURVIVOR, slug=f"survivor{number}")
    with isolation.place() as place:
        assert place.user is not None
        assert place.user not in owners()


def test_a_user_of_whom_something_is_left_gets_no_job(site: Site) -> None:
    if not ROOT:
        assert not isolation.is_isolating()
        return
    with isolation.place() as place:
        user = place.user
    assert user is not None
    left = subprocess.Popen(["sleep", "60"], user=user, group=user, extra_groups=[])
    try:
        with isolation.place() as next_place:
            assert next_place.user != user
    finally:
        left.kill()
        left.wait()


@pytest.mark.parametrize(
    ("before", "workspace"),
    [
        ("mkdir '${A}'; ln -s /etc lnk", "${A}/../lnk"),
        ("ln -s / lnk", "${LINK}"),
        ("ln -s /root lnk", "${LINK}"),
        ("true", "${UP}/.."),
    ],
)
def test_a_step_works_nowhere_but_in_the_workspace(site: Site, before: str, workspace: str) -> None:
    steps = {"first": command(before), "then": {**command("pwd; ls"), "workspace": workspace}}
    definition = yaml({"only": {"steps": steps}})
    run = worked(site, definition, variables={"UP": "..", "LINK": "lnk"})
    assert run.state == S.FAILED
    assert "leads out of the workspace" in run.error or "is not a folder" in run.error
    assert said(run) == []


def test_whoever_becomes_the_owner_of_a_tree_gets_no_file_with_a_second_name(
    site: Site, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    top = tmp_path / "top"
    (top / "inner").mkdir(parents=True)
    (top / "inner" / "plain").write_text("x")
    (top / "inner" / "link").symlink_to(outside)
    (top / "inner" / "hard").hardlink_to(outside)
    before = outside.stat().st_uid
    user = 65_000 if ROOT else None
    isolation.Place(top, top, user).give_all(top)
    assert outside.stat().st_uid == before
    assert (top / "inner" / "plain").stat().st_uid == (65_000 if ROOT else before)


def test_folders_however_deep_are_gone_with_their_job(site: Site) -> None:
    run = one_job(site, "mkdir -p $(printf 'd/%.0s' $(seq 1500))", "pwd")
    assert run.state == S.SUCCEEDED, run.error
    assert not Path(said(run)[-1]).parent.exists()


def test_what_a_killed_worker_left_is_removed_and_what_is_in_use_is_not(site: Site) -> None:
    with isolation.place() as place:
        left = place.workspace.parent.parent / "job-left"
        left.mkdir()
        (left / isolation.IN_USE).touch()
        for folder in (left, place.workspace.parent):
            os.utime(folder, (0, 0))
        assert isolation.remove_leftovers() >= 1
        assert not left.exists()
        assert place.workspace.exists()


def test_another_job_cannot_read_a_script(site: Site) -> None:
    run = one_job(site, 'stat -c %a "$0"')
    assert said(run) == ["600"]


# ---- Begun anew on what may no longer be taken ---------------------------------------------------
def taken(site: Site, **source: Any) -> Run:
    """A run that takes a version, and failed."""
    pack = {"type": "packages", "repo": "apps", "artifact": "app", **source}
    return work_off(started(site, yaml({"only": job("exit 1")}, sources={"pack": pack})))


def test_a_recalled_version_is_not_taken_again(site: Site) -> None:
    version = site.publish("1.0.0")
    run = taken(site, version="1.0.0")
    recalling.recall(version, by=site.cast.ben, reason="It loses data.")
    refused(Recalled, lambda: runs.start_again(run, by=site.cast.ada))
    refused(Recalled, lambda: runs.retry(run, by=site.cast.ada))


def test_a_version_that_is_placed_no_longer_is_not_taken_again(site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    run = taken(site, environment="staging")
    assert runs.start_again(run, by=site.cast.ada).sources == run.sources
    site.promote(site.staging, site.publish("1.1.0"))
    refused(NotPromoted, lambda: runs.start_again(run, by=site.cast.ada))
    refused(NotPromoted, lambda: runs.retry(run, by=site.cast.ada))
