"""Machines to deploy to, and pipelines that deploy to them."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.test import override_settings

from pipelines import machines, runs
from pipelines.models import ExecutionState, Job, Machine, MachineGroup, MachineResult, Run
from tests.cast import Site, work_off
from tests.parts.ssh_server import HERE, USER, Host, Servers, servers
from tests.pipelines.connected import make_group
from tests.pipelines.working import job, job_of, started, upload, yaml

PACKAGE = f"{HERE}/app/package.tgz"
ARTIFACT = "$[stages.stage1.build.s2.artifacts.default]"
BUILD = job("mkdir target; echo one > target/one.txt; echo two > target/two.txt", upload("target/"))
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@dataclass(frozen=True)
class Ground:
    """A site with an SSH connection of ada's team and an empty group of machines, `web`."""

    site: Site
    servers: Servers
    group: MachineGroup

    def machine(self, name: str, *, host_key: str = "", **options: Any) -> Host:
        """A machine that runs, and that the group knows."""
        host = self.servers.start(name, **options)
        self.know(host, host_key=host_key)
        return host

    def know(self, host: Host, *, host_key: str = "") -> Machine:
        return machines.add_machine(
            self.group,
            host.name,
            "127.0.0.1",
            by=self.site.cast.ada,
            port=host.port,
            host_key=host_key or host.host_key,
        )

    def started(
        self, script: str = "true", *, top: dict[str, Any] | None = None, **more: Any
    ) -> Run:
        return started(self.site, deployment(script, top=top, **more))

    def deployed(self, script: str = "true", **more: Any) -> Run:
        return work_off(self.started(script, **more))


def deployment(script: str, *, top: dict[str, Any] | None = None, **more: Any) -> str:
    """A definition that builds two files and deploys them to the group `web`."""
    given = {
        "artifact": ARTIFACT,
        "machineGroup": "web",
        "artifactDownloadPath": PACKAGE,
        "executeUser": USER,
        "run": script,
        **more,
    }
    return yaml(
        {"build": BUILD}, {"deploy": {"component": "VMDeploy", "with": given}}, **(top or {})
    )


@contextmanager
def prepared(site: Site, folder: Path) -> Iterator[Ground]:
    with override_settings(ALLOWED_NETWORKS=LOOPBACK), servers(folder) as running:
        yield Ground(site, running, make_group(site, private_key=running.private_key))


def results(run: Run) -> dict[str, str]:
    return {each.machine: str(each.state) for each in rows(run)}


def rows(run: Run) -> list[MachineResult]:
    return list(MachineResult.objects.filter(job=deploy_of(run)))


def deploy_of(run: Run) -> Job:
    return job_of(run, "deploy")


def error_of(run: Run) -> str:
    found = deploy_of(run)
    assert found.state in {ExecutionState.FAILED, ExecutionState.ERRORED}, found.state
    return found.error


def passed(ground: Ground, run: Run) -> Run:
    """ben lets the run go on, and workers go on with it."""
    runs.pass_job(deploy_of(run), by=ground.site.cast.ben)
    return work_off(run)


def retried(ground: Ground, run: Run) -> Run:
    return work_off(runs.retry(run, by=ground.site.cast.ada))
