"""Runners as processes of their own: each serves its groups, and the site shows who is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.whole.installation import Installation, wait_for

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]

FINAL = {"succeeded", "failed", "errored", "cancelled"}
YAML = """
stages:
  only:
    jobs:
      special:
        runsOn: {group: public/special.1}
        steps:
          say: {step: Command, with: {run: echo special}}
      ordinary:
        runsOn: public/ap-southeast-1
        steps:
          say: {step: Command, with: {run: echo ordinary}}
"""


@pytest.fixture
def sluice(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, SLUICE_SWEEP_SECONDS="1")
    assert made.manage("migrate", "--verbosity", "0").returncode == 0
    return made


@pytest.fixture
def ada(sluice: Installation) -> Iterator[httpx.Client]:
    with sluice.caller(sluice.token("ada", "developer")) as caller:
        yield caller


def runners(ada: httpx.Client) -> list[Any]:
    return [each for each in ada.get("runners/").json()["results"] if each["alive"]]


def test_each_job_goes_to_a_runner_of_its_group(sluice: Installation, ada: httpx.Client) -> None:
    with sluice.serving():
        wait_for(sluice.is_ready, said="not ready")
        sluice.environment["SLUICE_RUNNER_GROUPS"] = "public/special.1,other"
        with sluice.serving("--only", "runner"):
            known = wait_for(
                lambda: len(runners(ada)) == 2 and runners(ada), said="two runners are not there"
            )
            by_groups = {tuple(each["groups"]): each["name"] for each in known}
            assert set(by_groups) == {(), ("public/special.1", "other")}
            ada.post("pipelines/", json={"id": "work", "name": "", "yaml": YAML})
            ada.post("pipelines/work/runs/", json={})
            run = wait_for(
                lambda: ended(ada.get("pipelines/work/runs/1/").json()), said="it does not end"
            )
            assert run["status"] == "succeeded", run
            took = {job["id"]: job["runner"] for job in run["stages"][0]["jobs"]}
            assert took == {
                "special": by_groups["public/special.1", "other"],
                "ordinary": by_groups[()],
            }
        wait_for(lambda: len(runners(ada)) == 1, said="the runner that ended is still shown")


def ended(run: Any) -> Any:
    return run if run["status"] in FINAL else None
