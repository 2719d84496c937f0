"""What a job is kept from: the worker, its neighbours, and all of the machine's room."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from pipelines import containers, execution, isolation, runs
from pipelines.models import ExecutionState
from tests.cast import Site
from tests.pipelines.working import (
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

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

S = ExecutionState
ROOT = os.geteuid() == 0


def owners() -> set[int]:
    """Whose the processes of this machine are."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError):
            found.add(path.stat().st_uid)
    return found


def own_user() -> int:
    """A user for a job of this process alone: other tests run beside this one."""
    return 64_000 + os.getpid() % 1000


# ---- The user ------------------------------------------------------------------------------------
def test_a_step_runs_as_nobody_whom_the_worker_is(site: Site) -> None:
    run = one_job(site, "id -u; id -G; cat /proc/self/status | grep NoNewPrivs")
    user, groups, no_new = said(run)
    if not ROOT:
        # An ordinary user can become nobody else: the step is what the worker is.
        assert int(user) == os.geteuid()
        return
    first, last = settings.STEP_USERS
    assert first <= int(user) <= last
    assert groups == user
    assert no_new.split() == ["NoNewPrivs:", "1"]


def test_a_step_reads_nothing_that_is_the_workers(site: Site) -> None:
    secret = Path(settings.DATA_DIR) / "connections.key"
    script = f"set +e; cat {secret}; ls {settings.DATA_DIR}; parent=/proc/$PPID/environ"
    run = one_job(site, f"{script}; tr '\\0' '\\n' < $parent; true")
    assert run.state == S.SUCCEEDED
    assert "SLUICE" not in log_of(run)
    if ROOT:
        assert "Permission denied" in log_of(run)
        assert "sluice.sqlite3" not in log_of(run)


def test_two_jobs_at_once_are_two_users(site: Site) -> None:
    if not ROOT:
        with isolation.place() as one, isolation.place() as two:
            assert one.user is two.user is None
            assert one.workspace != two.workspace
        return
    with isolation.place() as one, isolation.place() as two:
        assert one.user != two.user
        assert one.workspace.stat().st_uid == one.user
        assert one.workspace.stat().st_mode & 0o077 == 0
        assert one.own.stat().st_uid == 0
    with isolation.place() as three:
        assert three.user == one.user, "a user is free again when its job has ended"


def test_when_no_user_is_left_the_job_is_not_begun(site: Site) -> None:
    user = own_user()
    with override_settings(STEP_USERS=(user, user)), isolation.place():
        run = one_job(site, "echo never")
    if not ROOT:
        # Where there is but one user, nobody runs out of them.
        assert said(run) == ["never"]
        return
    assert run.state == S.ERRORED
    assert f"All users from {user} to {user} are at work" in run.error
    assert said(run) == []


def test_the_folder_of_workspaces_must_be_the_workers_own(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    link = tmp_path_factory.mktemp("links") / "jobs"
    link.symlink_to(elsewhere)
    with override_settings(WORKSPACES_DIR=link):
        run = one_job(site, "echo never")
    assert run.state == S.ERRORED
    assert "is not a folder of this worker's own user" in run.error
    assert list(elsewhere.iterdir()) == []


def test_what_a_definition_puts_into_the_environment_does_not_reach_the_launcher(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The launcher may be root: a library that a branch brings must not be loaded into it."""
    folder = tmp_path_factory.mktemp("library")
    source, library, trace = folder / "evil.c", folder / "evil.so", folder / "trace"
    source.write_text(
        "#include <stdio.h>\n#include <unistd.h>\n__attribute__((constructor)) void f(void) {\n"
        f'  FILE *t = fopen("{trace}", "a");\n'
        '  if (t) { fprintf(t, "%d\\n", (int) geteuid()); fclose(t); }\n}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    trace.touch()
    trace.chmod(0o666)
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)
    library.chmod(0o755)
    definition = yaml(
        {"only": job("true")}, variables=[{"key": "LD_PRELOAD", "value": str(library)}]
    )
    assert worked(site, definition).state == S.SUCCEEDED
    loaded_by = set(trace.read_text().split())
    assert loaded_by, "the step's own programs do load it"
    if ROOT:
        assert "0" not in loaded_by


# ---- Room ----------------------------------------------------------------------------------------
def test_a_step_that_writes_too_much_is_stopped(site: Site) -> None:
    with override_settings(MAX_WORKSPACE_BYTES=8 * 1024**2):
        run = one_job(site, "while true; do head -c 1000000 /dev/zero >> big$RANDOM; done")
    assert run.state == S.FAILED
    assert "8388608 are allowed (SLUICE_MAX_WORKSPACE_BYTES)" in run.error


def test_one_file_grows_no_larger_than_it_may(site: Site) -> None:
    with override_settings(MAX_STEP_FILE_BYTES=1024**2):
        run = one_job(site, "head -c 5000000 /dev/zero > big; ls -l big")
    assert run.state == S.FAILED
    assert "signal" in run.error or "exit code" in run.error


def test_a_full_disk_stops_the_step_before_the_worker_is_in_need(site: Site) -> None:
    with override_settings(MIN_FREE_BYTES=2**60):
        run = one_job(site, "sleep 60")
    assert run.state == S.FAILED
    assert "SLUICE_MIN_FREE_BYTES" in run.error


def test_a_step_gets_no_more_memory_than_it_may(site: Site) -> None:
    with override_settings(MAX_STEP_MEMORY_BYTES=200 * 1024**2):
        run = one_job(site, "/usr/bin/python3 -c 'x = bytearray(10**9)' || echo refused")
    assert said(run)[-1] == "refused"
    assert "MemoryError" in log_of(run)


def test_a_step_that_forks_for_ever_is_held_and_leaves_nothing(site: Site) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 2; echo over; exit 0"
    user = own_user()
    with override_settings(MAX_STEP_PROCESSES=64, STEP_USERS=(user, user)):
        run = one_job(site, bomb)
    assert S(run.state).is_final
    if ROOT:
        assert user not in owners()


def test_a_step_that_prints_without_end_keeps_the_worker_small(site: Site) -> None:
    with override_settings(MAX_LOG_BYTES=100_000):
        run = one_job(site, "head -c 200000000 /dev/zero | tr '\\0' 'x'; echo; echo end")
    assert run.state == S.SUCCEEDED
    assert len(log_of(run)) < 200_000


def test_a_step_that_ignores_being_asked_is_killed(site: Site) -> None:
    run = started(site, yaml({"only": job("trap '' TERM; echo begun; while :; do sleep 1; done")}))
    runs.begin(run.pk)

    def work() -> None:
        try:
            execution.execute(job_of(run).pk)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    while "begun" not in log_of(run):
        threading.Event().wait(0.05)
    runs.cancel(run, by=site.cast.ada)
    worker.join()
    assert job_of(run).state == S.CANCELLED


# ---- Containers ----------------------------------------------------------------------------------
IN_IMAGE = {"runsOn": {"group": "public/cn-hangzhou", "container": "registry.example/app:1"}}


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without docker and podman, whatever this one has."""
    monkeypatch.setattr(containers, "ENGINES", ())
    containers.engine.cache_clear()
    yield
    containers.engine.cache_clear()


def test_a_job_for_a_container_is_refused_where_there_is_no_engine(
    site: Site, no_engine: None
) -> None:
    run = worked(site, yaml({"only": job("echo never", **IN_IMAGE)}))
    assert run.state == S.ERRORED
    assert "neither docker nor podman" in run.error
    assert "SLUICE_CONTAINERS=host" in run.error
    assert said(run) == []


def test_a_site_may_let_such_jobs_run_on_the_worker(site: Site, no_engine: None) -> None:
    with override_settings(CONTAINERS_ON_HOST=True):
        run = worked(site, yaml({"only": job("echo here", **IN_IMAGE)}))
    assert (run.state, said(run)) == (S.SUCCEEDED, ["here"])


def test_the_engine_is_told_nothing_that_a_definition_chose_but_the_image(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    top = tmp_path_factory.mktemp("place")
    place = isolation.Place(top / "workspace", top / "own", 60_123)
    file = top / "variables.sh"
    containers.write_variables(file, {"A": "it's $(id)\n`x`", "not a name": "x", "B": "two"})
    shell = subprocess.run(
        ["/bin/sh", file, "sh", "-c", 'printf "%s|%s" "$A" "$B"'],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert shell.stdout == "it's $(id)\n`x`|two"
    command = containers.Engine("/usr/bin/docker", "28").command(
        ["bash", "-e", "own/s1.sh"],
        image="registry.example/app:1",
        name="sluice-1-1-1",
        place=place,
        folder=str(place.workspace),
        variables=file,
    )
    assert command == [
        *("/usr/bin/docker", "run", "--rm", "--init", "--name", "sluice-1-1-1"),
        *("--entrypoint", "/bin/sh", "--user", "60123:60123", "--workdir", str(place.workspace)),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "2048"),
        *("--volume", f"{place.workspace}:{place.workspace}"),
        *("--volume", f"{place.own}:{place.own}"),
        *("--", "registry.example/app:1", str(file), "bash", "-e", "own/s1.sh"),
    ]


def test_an_image_is_kept_with_its_job(site: Site) -> None:
    run = started(site, yaml({"only": job("true", upload("x"), **IN_IMAGE)}))
    only = job_of(run)
    assert (only.container, only.group) == ("registry.example/app:1", "public/cn-hangzhou")
