"""VMDeploy, to real SSH servers: what it brings, how it stops, pauses and goes on."""

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from pipelines import artifacts, blobs, connections, execution, machines, rollouts, runs, sweeping
from pipelines.models import Artifact, ExecutionState, Job, MachineState, Run
from tests.cast import Site, external_run, make_pipeline, work_off
from tests.parts.ssh_server import NO_SUDO, SUDO, USER, Host
from tests.pipelines.deploying import (
    PACKAGE,
    Ground,
    deploy_of,
    error_of,
    passed,
    prepared,
    results,
    retried,
    rows,
)
from tests.pipelines.working import log_of, started

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

S = ExecutionState


@pytest.fixture
def ground(site: Site, tmp_path: Path) -> Iterator[Ground]:
    with prepared(site, tmp_path) as made:
        yield made


def package(host: Host) -> Path:
    return host.home / "app" / "package.tgz"


def leftovers(host: Host) -> list[str]:
    """What a deployment must have taken away again."""
    folder = host.home / "app"
    parts = [each.name for each in folder.glob(".*")] if folder.is_dir() else []
    return [*parts, *os.listdir(host.home / "tmp")]


def until(happens: Callable[[], bool]) -> None:
    for _ in range(600):
        if happens():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# ---- All goes well -------------------------------------------------------------------------------
SEED = """
stages:
  build_stage:
    name: Build Stage
    jobs:
      build_job:
        name: Build Job
        steps:
          command_step:
            name: Execute Command
            step: Command
            with:
              run: |
                mkdir target
                echo 'echo "$1 $(cat "$(dirname "$0")/version")" > restarted' > target/deploy.sh
                echo 1.0 > target/version
          upload_artifact_step:
            name: Artifact Upload
            step: ArtifactUpload
            with:
              uploadType: flowPublic
              artifact: "Artifacts_${PIPELINE_ID}"
              filePath:
                - target/
  deploy_stage:
    name: Deploy Stage
    jobs:
      deploy_job:
        name: VM Deploy Job
        component: VMDeploy
        with:
          artifact: $[stages.build_stage.build_job.upload_artifact_step.artifacts.default]
          machineGroup: web
          artifactDownloadPath: /home/admin/app/package.tgz
          executeUser: root
          run: |
            mkdir -p /home/admin/application/
            tar zxvf /home/admin/app/package.tgz -C /home/admin/application/
            sh /home/admin/application/deploy.sh restart
"""


def test_the_reference_example_deploys(ground: Ground) -> None:
    host = ground.machine("web1")
    host.put_program("sudo", SUDO)
    run = work_off(started(ground.site, SEED.replace("/home/admin", str(host.home))))
    assert (run.state, run.error) == (S.SUCCEEDED, "")
    assert (host.home / "restarted").read_text() == "restart 1.0\n"
    assert leftovers(host) == []
    log = log_of(run, "deploy_job")
    assert "\nweb1: version\n" in log
    assert "[sluice] web1: deployed" in log


def test_each_machine_gets_the_very_bytes_of_the_artifact_batch_by_batch(ground: Ground) -> None:
    hosts = [ground.machine(f"web{number}") for number in range(1, 6)]
    run = ground.deployed("date +%s%N > done; ls -l $ARTIFACT_PATH", batchNumber=2)
    assert (run.state, run.error) == (S.SUCCEEDED, "")
    artifact = Artifact.objects.get(run=run)
    assert artifact.bundle is not None
    for host in hosts:
        found = hashlib.sha256(package(host).read_bytes()).hexdigest()
        assert found == artifact.bundle.sha256
        assert leftovers(host) == []
    assert [row.batch for row in rows(run)] == [1, 1, 1, 2, 2]
    assert set(results(run).values()) == {"succeeded"}
    when = [int((host.home / "done").read_text()) for host in hosts]
    assert max(when[:3]) < min(when[3:])
    assert f"sha256 {artifact.bundle.sha256} checked" in log_of(run, "deploy")


@pytest.mark.parametrize(
    ("machines_", "batches", "expected"),
    [(1, 1, [1]), (5, 2, [3, 2]), (7, 3, [3, 2, 2]), (2, 5, [1, 1]), (4, 4, [1, 1, 1, 1])],
)
def test_machines_are_divided_evenly(machines_: int, batches: int, expected: list[int]) -> None:
    assert rollouts.sizes(machines_, batches) == expected


def test_the_script_gets_the_runs_variables_and_they_stay_text(ground: Ground) -> None:
    host = ground.machine("web1")
    evil = '\'; touch pwned; echo "$(touch pwned)" `touch pwned` \\ \n--x'
    run = ground.started(
        'printf %s "$EVIL" > evil; env > env',
        top={"variables": [{"key": "OWN", "value": "mine"}, {"key": "EVIL", "value": evil}]},
    )
    assert work_off(run).state == S.SUCCEEDED
    assert (host.home / "evil").read_text() == evil
    assert not (host.home / "pwned").exists()
    got = dict(
        line.split("=", 1) for line in (host.home / "env").read_text().splitlines() if "=" in line
    )
    assert (got["OWN"], got["PIPELINE_ID"], got["MACHINE_NAME"]) == ("mine", "work", "web1")
    assert "PROJECT_DIR" not in got


def test_no_command_line_on_the_machine_shows_the_script_or_a_variable(ground: Ground) -> None:
    host = ground.machine("web1")
    run = ground.deployed(
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' > seen; echo mark-of-the-script > /dev/null",
        top={"variables": [{"key": "OWN", "value": "mark-of-the-variable"}]},
    )
    assert run.state == S.SUCCEEDED
    seen = (host.home / "seen").read_bytes()
    assert b"sluice" in seen
    assert b"mark-of-the" not in seen


def test_output_is_told_by_machine_and_keeps_its_lines(ground: Ground) -> None:
    for name in ("web1", "web2"):
        ground.machine(name)
    run = ground.deployed("for i in 1 2 3; do echo $i; done; echo end >&2; printf open")
    lines = log_of(run, "deploy").splitlines()
    for name in ("web1", "web2"):
        own = [line for line in lines if line.startswith(f"{name}: ")]
        assert own == [f"{name}: {said}" for said in ("1", "2", "3", "end", "open")]


def test_what_the_script_leaves_running_is_neither_waited_for_nor_ended(ground: Ground) -> None:
    host = ground.machine("web1")
    run = ground.deployed("sleep 300 & echo $! > pid")
    pid = int((host.home / "pid").read_text())
    try:
        assert run.state == S.SUCCEEDED
        assert is_running(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_another_user_than_the_one_who_logs_in_takes_sudo(ground: Ground) -> None:
    host = ground.machine("web1")
    host.put_program("sudo", SUDO)
    assert ground.deployed("echo $SUDO_USER_WAS > who", executeUser="app").state == S.SUCCEEDED
    assert (host.home / "who").read_text() == "app\n"


IMAGES = """
stages:
  build:
    jobs:
      build:
        steps:
          push: {step: DockerBuildPush, with: {artifact: web, image: "r.example/web:1"}}
"""


def test_of_an_image_the_script_gets_the_address_and_nothing_is_brought(ground: Ground) -> None:
    host, ada = ground.machine("web1"), ground.site.cast.ada
    image = "registry.example/shop/web:1.0@sha256:" + "a1" * 32
    upstream = external_run(ada, make_pipeline(ada, "images", IMAGES))
    place = artifacts.Place("build", "build", "push")
    artifacts.report_image(upstream, place, "web", image, "", by=ada)
    runs.finish(upstream, S.SUCCEEDED, by=ada)
    run = ground.deployed(
        "echo $ARTIFACT_IMAGE > image",
        artifact="$[sources.up.stages.build.build.push.artifacts.web]",
        top={"sources": {"up": {"type": "flowPipeline", "flowPipeline": "images"}}},
    )
    assert (run.state, run.error) == (S.SUCCEEDED, "")
    assert (host.home / "image").read_text() == f"{image}\n"
    assert not package(host).exists()


# ---- Bytes ---------------------------------------------------------------------------------------
def test_bytes_that_arrive_damaged_are_not_put_in_place(ground: Ground) -> None:
    host = ground.machine("web1", damages=True)
    package(host).parent.mkdir()
    package(host).write_text("the version before")
    run = ground.deployed("touch ran")
    assert "web1: The artifact arrived damaged" in error_of(run)
    assert package(host).read_text() == "the version before"
    assert not (host.home / "ran").exists()
    assert leftovers(host) == []


def test_without_a_program_for_digests_the_bytes_are_read_back(ground: Ground) -> None:
    good, bad = ground.machine("good"), ground.machine("bad", damages=True)
    for host in (good, bad):
        host.put_program("sha256sum", "#!/bin/sh\nexit 127\n")
    run = ground.deployed()
    assert results(run) == {"good": "succeeded", "bad": "failed"}
    assert package(good).is_file()
    assert not package(bad).exists()


def test_bytes_that_the_storage_damaged_are_not_deployed(ground: Ground) -> None:
    host = ground.machine("web1")
    run = ground.started("touch ran")
    runs.begin(run.pk)
    execution.execute(run.jobs.get(key="build").pk)
    blob = Artifact.objects.get(run=run).files.order_by("path")[0].blob
    path = Path(blobs.store().path(blob.storage_name))
    path.chmod(0o600)
    path.write_bytes(b"rot" + path.read_bytes()[3:])
    try:
        assert "The stored bytes of" in error_of(work_off(run))
    finally:
        path.unlink()
    assert not package(host).exists()
    assert not (host.home / "ran").exists()


def test_a_path_that_cannot_be_written_is_said(ground: Ground) -> None:
    host = ground.machine("web1")
    (host.home / "app").write_text("in the way")
    assert f"web1: {PACKAGE} cannot be written" in error_of(ground.deployed())


# ---- Keys ----------------------------------------------------------------------------------------
def _with_secrets(ground: Ground, **secrets: str) -> Run:
    connections.replace_secrets(ground.group.connection, secrets, by=ground.site.cast.ada)
    return ground.deployed("touch ran")


def test_a_key_may_have_a_passphrase(ground: Ground) -> None:
    host = ground.machine("web1")
    sealed = ground.servers.client_key.export_private_key(passphrase="a passphrase").decode()
    run = _with_secrets(ground, private_key=sealed, passphrase="a passphrase")
    assert run.state == S.SUCCEEDED
    assert (host.home / "ran").exists()


@pytest.mark.parametrize("passphrase", ["", "another"])
def test_a_key_that_cannot_be_read_is_said_and_not_shown(ground: Ground, passphrase: str) -> None:
    host = ground.machine("web1")
    sealed = ground.servers.client_key.export_private_key(passphrase="a passphrase").decode()
    run = _with_secrets(ground, private_key=sealed, passphrase=passphrase)
    assert "The private key of the connection web-key cannot be read" in error_of(run)
    assert host.connections == 0
    assert sealed.splitlines()[2] not in log_of(run, "deploy") + error_of(run)


# ---- Machines that cannot be had -----------------------------------------------------------------
def test_a_machine_with_another_host_key_is_not_trusted(ground: Ground) -> None:
    other = ground.servers.start("other")
    host = ground.machine("web1", host_key=other.host_key)
    run = ground.deployed("touch ran")
    assert "did not show the host key that is recorded for it (SHA256:" in error_of(run)
    assert not (host.home / "ran").exists()


def test_a_machine_that_does_not_know_the_key_lets_nobody_in(ground: Ground) -> None:
    host = ground.machine("web1")
    ground.servers.forget_key()
    run = ground.deployed("touch ran")
    assert f"does not let {USER} in with the key of the connection web-key" in error_of(run)
    assert not (host.home / "ran").exists()


def test_a_machine_that_cannot_be_reached_is_named(ground: Ground) -> None:
    ground.servers.stop(ground.machine("web1"))
    well = ground.machine("web2")
    run = ground.deployed("touch ran")
    assert "1 of 2 machines failed. web1: 127.0.0.1:" in error_of(run)
    assert "cannot be reached" in error_of(run)
    assert (well.home / "ran").exists()
    assert results(run) == {"web1": "failed", "web2": "succeeded"}


def test_nothing_is_sent_to_where_sluice_may_not_connect(ground: Ground) -> None:
    host = ground.machine("web1")
    with override_settings(ALLOWED_NETWORKS=()):
        assert "not on the public internet" in error_of(ground.deployed())
    assert host.connections == 0


def test_a_refusal_of_sudo_is_told_before_anything_is_brought(ground: Ground) -> None:
    host = ground.machine("web1")
    host.put_program("sudo", NO_SUDO)
    run = ground.deployed(executeUser="root")
    assert "may not run the script as root: sudo: a password is required." in error_of(run)
    assert not package(host).exists()


def test_a_run_of_people_who_may_not_use_the_connection_reaches_no_machine(ground: Ground) -> None:
    host = ground.machine("web1")
    ground.site.cast.ada.groups.clear()
    run = ground.deployed()
    assert deploy_of(run).state == S.ERRORED
    assert "no service connection “web-key” that ada" in error_of(run)
    assert (host.connections, rows(run)) == (0, [])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("artifactDownloadPath", "app/package.tgz", "must be the whole path of a file"),
        ("artifactDownloadPath", "/srv/../etc/passwd", "must be the whole path of a file"),
        ("artifactDownloadPath", "/srv/app/", "must be the whole path of a file"),
        ("executeUser", "-u root", "is not the name of a user"),
        ("executeUser", "root;id", "is not the name of a user"),
        ("batchNumber", "${NONE}", "must be a number from 1"),
        ("batchNumber", 0, "must be a number from 1"),
        ("machineGroup", "nothing", "There is no machine group “nothing”"),
    ],
)
def test_arguments_that_cannot_be_right_reach_no_machine(
    ground: Ground, field: str, value: object, said: str
) -> None:
    host = ground.machine("web1")
    arguments: dict[str, Any] = {field: value}
    run = ground.deployed(**arguments)
    assert said in error_of(run)
    assert (host.connections, rows(run)) == (0, [])


def test_a_group_without_machines_is_a_failure(ground: Ground) -> None:
    assert "The machine group web has no machines." in error_of(ground.deployed())


# ---- Failures ------------------------------------------------------------------------------------
def test_a_failure_stops_later_batches_but_not_the_others_of_its_own(ground: Ground) -> None:
    hosts = {name: ground.machine(name) for name in ("a1", "a2", "b1", "b2")}
    run = ground.deployed("touch began; [ $MACHINE_NAME != a1 ]; touch ended", batchNumber=2)
    assert results(run) == {"a1": "failed", "a2": "succeeded", "b1": "skipped", "b2": "skipped"}
    assert error_of(run) == (
        "deploy: 1 of 2 machines failed. a1: The script ended with exit code 1."
    )
    assert (hosts["a2"].home / "ended").exists()
    assert not (hosts["a1"].home / "ended").exists()
    assert [hosts[name].connections for name in ("b1", "b2")] == [0, 0]
    assert run.state == S.FAILED


def test_a_retry_does_only_what_has_not_succeeded(ground: Ground) -> None:
    hosts = {name: ground.machine(name) for name in ("a1", "a2", "b1")}
    (hosts["a2"].home / "bad").touch()
    run = ground.deployed("echo x >> times; [ ! -e bad ]", batchNumber=2)
    assert results(run) == {"a1": "succeeded", "a2": "failed", "b1": "skipped"}
    (hosts["a2"].home / "bad").unlink()
    run = retried(ground, run)
    assert (run.state, results(run)) == (S.SUCCEEDED, dict.fromkeys(hosts, "succeeded"))
    times = {name: len((host.home / "times").read_text()) // 2 for name, host in hosts.items()}
    assert times == {"a1": 1, "a2": 2, "b1": 1}


def test_a_machine_that_was_removed_is_passed_over_by_a_retry(ground: Ground) -> None:
    ground.machine("a1")
    broken = ground.machine("a2")
    ground.servers.stop(broken)
    run = ground.deployed()
    machines.remove_machine(ground.group.machines.get(name="a2"), by=ground.site.cast.ada)
    new = ground.machine("a3")
    run = retried(ground, run)
    assert (run.state, results(run)) == (S.SUCCEEDED, {"a1": "succeeded", "a2": "skipped"})
    assert rows(run)[1].error == rollouts.GONE
    assert new.connections == 0


# ---- Pauses --------------------------------------------------------------------------------------
def test_a_pause_after_the_first_batch_waits_for_people(ground: Ground) -> None:
    hosts = [ground.machine(name) for name in ("a", "b", "c")]
    run = ground.deployed("echo x >> times", batchNumber=3, pauseStrategy="firstBatchPause")
    assert (run.state, deploy_of(run).state) == (S.WAITING, S.WAITING)
    assert deploy_of(run).waits_for.startswith("Batch 1 of 3 is deployed.")
    assert [host.connections for host in hosts] == [1, 0, 0]
    run = passed(ground, run)
    assert run.state == S.SUCCEEDED
    assert [(host.home / "times").read_text() for host in hosts] == ["x\n"] * 3


def test_a_pause_after_each_batch_but_the_last(ground: Ground) -> None:
    for name in ("a", "b", "c"):
        ground.machine(name)
    run = ground.deployed(batchNumber=3, pauseStrategy="eachBatchPause")
    done = []
    while run.state == S.WAITING:
        done.append(list(results(run).values()).count("succeeded"))
        run = passed(ground, run)
    assert (run.state, done) == (S.SUCCEEDED, [1, 2])


def test_whoever_is_refused_and_tries_again_is_asked_again(ground: Ground) -> None:
    _, second = ground.machine("a"), ground.machine("b")
    run = ground.deployed(batchNumber=2, pauseStrategy="firstBatchPause")
    runs.refuse_job(deploy_of(run), by=ground.site.cast.ben)
    assert work_off(run).state == S.FAILED
    run = retried(ground, run)
    assert (run.state, second.connections) == (S.WAITING, 0)
    assert passed(ground, run).state == S.SUCCEEDED


def test_a_worker_that_dies_just_before_the_pause_does_not_skip_it(ground: Ground) -> None:
    _, second = ground.machine("a"), ground.machine("b")
    run = ground.started(batchNumber=2, pauseStrategy="firstBatchPause")
    job = _claimed(run)
    turn = rollouts.begin(job, list(ground.group.machines.all()), 2).batches[0][0]
    rollouts.start(turn.result)
    rollouts.end(turn.result, "", job.gate)
    _die(job)
    run = work_off(run)
    assert (run.state, results(run)) == (S.WAITING, {"a": "succeeded", "b": "queued"})
    assert second.connections == 0


# ---- Ends from outside ---------------------------------------------------------------------------
def _claimed(run: Run) -> Job:
    """The job that deploys, as a worker has it that has just begun."""
    runs.begin(run.pk)
    execution.execute(run.jobs.get(key="build").pk)
    runs.advance(run.pk)
    job = runs.claim(deploy_of(run).pk)
    assert job is not None
    return job


def _die(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    sweeping.sweep()


def test_what_a_dead_worker_left_in_mid_batch_is_done_again_and_no_more(ground: Ground) -> None:
    hosts = [ground.machine(name) for name in ("a", "b", "c")]
    run = ground.started("touch ran")
    job = _claimed(run)
    first, second, _ = rollouts.begin(job, list(ground.group.machines.all()), 1).batches[0]
    rollouts.start(first.result)
    rollouts.end(first.result, "", job.gate)
    rollouts.start(second.result)
    _die(job)
    assert work_off(run).state == S.SUCCEEDED
    assert [host.connections for host in hosts] == [0, 1, 1]
    assert [row.attempt for row in rows(run)] == [1, 2, 2]
    # The dead one comes back too late to say anything.
    rollouts.end(second.result, "too late", job.gate)
    assert results(run)["b"] == "succeeded"


LONG = "echo $$ > pid; (trap '' TERM; echo begun > begun; sleep 300) & wait"


def _in_background(run: Run) -> threading.Thread:
    def work() -> None:
        try:
            work_off(run)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_cancelling_ends_the_script_on_the_machine_and_all_it_started(ground: Ground) -> None:
    host, other = ground.machine("a"), ground.machine("b")
    run = ground.started(LONG, batchNumber=2)
    worker = _in_background(run)
    until((host.home / "begun").exists)
    pids = [int((host.home / "pid").read_text())]
    pids += [
        int(each) for each in Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()
    ]
    runs.cancel(Run.objects.get(pk=run.pk), by=ground.site.cast.ada)
    worker.join(60)
    assert not worker.is_alive()
    assert len(pids) == 2
    assert [pid for pid in pids if is_running(pid)] == []
    assert leftovers(host) == []
    assert results(run) == {"a": "failed", "b": "skipped"}
    assert rows(run)[0].error == "The run was cancelled."
    assert (deploy_of(run).state, other.connections) == (S.CANCELLED, 0)


def test_a_connection_that_breaks_ends_the_script_too(ground: Ground) -> None:
    host = ground.machine("a")
    run = ground.started(LONG)
    worker = _in_background(run)
    until((host.home / "begun").exists)
    pid = int((host.home / "pid").read_text())
    ground.servers.hang_up()
    worker.join(60)
    assert "lost" in error_of(run)
    until(lambda: not is_running(pid))


def test_a_job_whose_time_is_up_ends(ground: Ground) -> None:
    host = ground.machine("a")
    run = ground.started("echo $$ > pid; sleep 300")
    Job.objects.filter(run=run, key="deploy").update(timeout_minutes=0)
    run = work_off(run)
    assert error_of(run) == "deploy: It took longer than the job's timeoutMinutes allow."
    assert set(results(run).values()) <= {"failed", "skipped"}
    with contextlib.suppress(FileNotFoundError):
        until(lambda: not is_running(int((host.home / "pid").read_text())))


def test_output_without_end_neither_fills_the_memory_nor_the_log(ground: Ground) -> None:
    ground.machine("a")
    with override_settings(MAX_LOG_BYTES=100_000):
        run = ground.deployed("head -c 5000000 /dev/zero | tr '\\0' x; yes | head -n 200000")
    assert run.state == S.SUCCEEDED
    log = log_of(run, "deploy")
    assert "the log is full" in log
    assert len(log) < 150_000


# ---- The machine of machines ---------------------------------------------------------------------
def test_the_machine_of_a_machines_part_is_the_one_that_is_drawn() -> None:
    drawn = {
        "queued": {"running", "skipped"},
        "running": {"succeeded", "failed", "queued"},
        "succeeded": set(),
        "failed": set(),
        "skipped": set(),
    }
    assert {state.value: {to.value for to in state.targets} for state in MachineState} == drawn
    anew = {state.value for state in MachineState if state in MachineState.QUEUED.reopened_from}
    assert anew == {"failed", "skipped"}
