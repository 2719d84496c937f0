"""What holds when a worker is killed or the broker forgets: every run ends, without a repair."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.site import WORKSPACES
from tests.whole.installation import Installation, programs, wait_for

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]

FINAL = {"succeeded", "failed", "errored", "cancelled", "skipped"}
YAML = """
stages:
  work_stage:
    jobs:
      work_job:
        steps:
          work_step:
            step: Command
            with:
              run: |
                if [ -e "$MARKS/first" ]; then echo "the second attempt"; exit 0; fi
                echo "the first attempt"
                echo $$ > "$MARKS/first"
                sleep 600
          last_step:
            step: Command
            with:
              run: echo "and on to the end"
"""


@pytest.fixture
def sluice(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, SLUICE_LEASE_SECONDS="5", SLUICE_SWEEP_SECONDS="1")
    assert made.manage("migrate", "--verbosity", "0").returncode == 0
    return made


@pytest.fixture
def ada(sluice: Installation) -> Iterator[httpx.Client]:
    with sluice.caller(sluice.token("ada", "developer")) as caller:
        yield caller


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Path]:
    """A folder that whoever a job runs as may write into."""
    folder = WORKSPACES / f"{tmp_path.name}-marks"
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    # What a killed worker left running is ours to end.
    for file in folder.glob("first"):
        try:
            os.killpg(int(file.read_text() or "0"), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            continue


def start(ada: httpx.Client, yaml: str = YAML, **variables: str) -> str:
    """Start a run and answer its address."""
    made = ada.post("pipelines/", json={"id": "work", "name": "", "yaml": yaml})
    assert made.status_code in {201, 409}, made.text
    run = ada.post("pipelines/work/runs/", json={"variables": variables})
    assert run.status_code == 201, run.text
    return f"pipelines/work/runs/{run.json()['number']}/"


def ended(ada: httpx.Client, path: str) -> Any:
    def ask() -> Any:
        run = ada.get(path).json()
        return run if run["status"] in FINAL else None

    return wait_for(ask, said=f"{path} has not ended")


def test_a_job_whose_worker_is_killed_ends_on_a_later_attempt(
    sluice: Installation, ada: httpx.Client, marks: Path
) -> None:
    with sluice.serving() as serve:
        wait_for(sluice.is_ready, said="not ready")
        path = start(ada, MARKS=str(marks))
        first = marks / "first"
        wait_for(lambda: first.exists() and first.read_text().strip(), said="not begun")
        (worker,) = programs(serve.pid, "worker")
        os.kill(worker, signal.SIGKILL)

        run = ended(ada, path)
        assert run["status"] == "succeeded", run
        (job,) = run["stages"][0]["jobs"]
        assert [step["status"] for step in job["steps"]] == ["succeeded", "succeeded"]
        log = ada.get(f"{path}jobs/work_stage/work_job/log/").text
        assert "the second attempt" in log
        assert "and on to the end" in log
        assert "the first attempt" not in log
        again = wait_for(lambda: programs(serve.pid, "worker"), said="no worker")
        assert worker not in again
    assert sluice.manage("verify").returncode == 0


def test_a_run_whose_messages_are_lost_ends_nevertheless(
    sluice: Installation, ada: httpx.Client, tmp_path: Path, marks: Path
) -> None:
    with sluice.serving("--only", "web"):
        wait_for(sluice.is_ready, said="not ready")
        path = start(ada, yaml=YAML.replace("sleep 600", "true"), MARKS=str(marks))
        assert ada.get(path).json()["status"] == "queued"
        assert list((tmp_path / "broker").glob("*.msg"))
        shutil.rmtree(tmp_path / "broker")
        with sluice.serving("--only", "worker"):
            run = ended(ada, path)
            assert run["status"] == "succeeded", run


def test_a_broker_that_vanishes_under_both_holds_nothing_up(
    sluice: Installation, ada: httpx.Client, tmp_path: Path, marks: Path
) -> None:
    with sluice.serving():
        wait_for(sluice.is_ready, said="not ready")
        shutil.rmtree(tmp_path / "broker")
        path = start(ada, yaml=YAML.replace("sleep 600", "true"), MARKS=str(marks))
        run = ended(ada, path)
        assert run["status"] == "succeeded", run


def test_a_web_process_that_is_killed_is_started_again(
    sluice: Installation, ada: httpx.Client
) -> None:
    with sluice.serving() as serve:
        wait_for(sluice.is_ready, said="not ready")
        (web,) = programs(serve.pid, "granian")
        os.killpg(web, signal.SIGKILL)
        wait_for(lambda: web not in programs(serve.pid, "granian"), said="still there")
        wait_for(sluice.is_ready, said="not ready again")
        assert ada.get("pipelines/").status_code == 200
