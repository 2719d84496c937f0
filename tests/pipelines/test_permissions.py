"""Who may do what with pipelines and runs: every act by everyone, and nobody else."""

from collections.abc import Callable, Set
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import Group

from accounts.models import Role, User
from pipelines import (
    artifacts,
    blobs,
    connections,
    definitions,
    hooks,
    machines,
    rules,
    runs,
)
from pipelines.errors import Forbidden
from pipelines.models import ExecutionState, Job
from tests.cast import ROLES, YAML, Site, external_run, make_pipeline, work_off
from tests.pipelines.connected import HOST_KEY, connect, make_group, make_known_group
from tests.pipelines.pushes.hooking import HOOKED
from tests.pipelines.teams import KEY
from tests.world import refused, world

Act = Callable[[User], object]

GATED = """
stages:
  only:
    jobs:
      gate:
        driven: manual
        steps:
          go: {step: Command, with: {run: "true"}}
"""
IMAGE = f"registry.example.com/app:1.0@sha256:{'a' * 64}"
PLACE = artifacts.Place("build", "build", "upload")

STARTERS = {"ada", "ben", "cleo", "production", "admin"}
WRITERS = {"ada", "admin"}


@dataclass(frozen=True)
class Row:
    """An act, who may do it, and how: `prepare` makes the state that the act begins from."""

    rule: str
    may: Set[str]
    prepare: Callable[[Site], Act]
    only_reads: bool = False


def _look(site: Site) -> Act:
    return lambda by: rules.require(by, "view")


def _create(site: Site) -> Act:
    return lambda by: definitions.create("other", "Other", YAML, by=by)


def _revise(site: Site) -> Act:
    return lambda by: definitions.revise(site.pipeline, YAML + "# again\n", by=by)


def _start(site: Site) -> Act:
    return lambda by: runs.start(site.pipeline, by=by)


def _cancel(site: Site) -> Act:
    run = runs.start(site.pipeline, by=site.cast.ada)
    return lambda by: runs.cancel(run, by=by)


def _report(site: Site) -> Act:
    return lambda by: runs.report(site.pipeline, by=by, url="https://ci.example.com/1")


def _finish(site: Site) -> Act:
    run = external_run(site.cast.ada, site.pipeline)
    return lambda by: runs.finish(run, ExecutionState.SUCCEEDED, by=by)


def _report_files(site: Site) -> Act:
    run = external_run(site.cast.ada, site.pipeline)
    kept = artifacts.NamedBlob("app.txt", blobs.keep_bytes([b"app"]))
    return lambda by: artifacts.report_files(run, PLACE, "app", [kept], by=by)


def _report_image(site: Site) -> Act:
    run = external_run(site.cast.ada, site.pipeline)
    return lambda by: artifacts.report_image(run, PLACE, "app", IMAGE, "", by=by)


def _waiting_job(site: Site) -> Job:
    run = work_off(runs.start(make_pipeline(site.cast.ada, "gated", GATED), by=site.cast.ada))
    job = run.jobs.get()
    assert job.state == ExecutionState.WAITING
    return job


def _pass(site: Site) -> Act:
    job = _waiting_job(site)
    return lambda by: runs.pass_job(job, by=by)


def _refuse(site: Site) -> Act:
    job = _waiting_job(site)
    return lambda by: runs.refuse_job(job, by=by)


def _make_hook(site: Site) -> Act:
    pipeline = make_pipeline(site.cast.ada, "hooked", HOOKED)
    return lambda by: hooks.make(pipeline, "repo", by=by)


def _rotate_hook(site: Site) -> Act:
    hook, _ = hooks.make(make_pipeline(site.cast.ada, "hooked", HOOKED), "repo", by=site.cast.ada)
    return lambda by: hooks.rotate(hook, by=by)


def _make_group(site: Site) -> Act:
    connection = connect(site, "web-key", "ssh", {"private_key": KEY}, username="deploy")
    return lambda by: machines.create_group("web", connection, by=by)


def _remove_group(site: Site) -> Act:
    group = make_known_group(site)
    return lambda by: machines.remove_group(group, by=by)


def _add_machine(site: Site) -> Act:
    group = make_group(site)
    return lambda by: machines.add_machine(
        group, "web1", "web1.example.com", by=by, host_key=HOST_KEY
    )


def _remove_machine(site: Site) -> Act:
    machine = make_known_group(site).machines.get()
    return lambda by: machines.remove_machine(machine, by=by)


def _remove_hook(site: Site) -> Act:
    hook, _ = hooks.make(make_pipeline(site.cast.ada, "hooked", HOOKED), "repo", by=site.cast.ada)
    return lambda by: hooks.remove(hook, by=by)


def _make_connection(site: Site) -> Act:
    """All are in the team, so that the role alone decides; test_connections.py has the rest."""
    team = Group.objects.create(name="everybody")
    for user in site.cast.everyone().values():
        user.groups.add(team)
    return lambda by: connections.create(
        "mine", "git", by=by, team=team, host="git.example.com", secrets={"password": "sesame"}
    )


MATRIX = {
    "look": Row("view", set(ROLES) - {"mallory"}, _look, only_reads=True),
    "create a pipeline": Row("pipeline.write", WRITERS, _create),
    "revise a pipeline": Row("pipeline.write", WRITERS, _revise),
    "make a push hook": Row("pipeline.write", WRITERS, _make_hook),
    "rotate a push hook": Row("pipeline.write", WRITERS, _rotate_hook),
    "make a machine group": Row("connection.write", WRITERS, _make_group),
    "remove a machine group": Row("connection.write", WRITERS, _remove_group),
    "add a machine": Row("connection.write", WRITERS, _add_machine),
    "remove a machine": Row("connection.write", WRITERS, _remove_machine),
    "remove a push hook": Row("pipeline.write", WRITERS, _remove_hook),
    "start a run": Row("run.start", STARTERS, _start),
    "cancel a run": Row("run.cancel", STARTERS, _cancel),
    "report a run": Row("run.report", WRITERS, _report),
    "finish a run": Row("run.report", WRITERS, _finish),
    "report files": Row("run.report", WRITERS, _report_files),
    "report an image": Row("run.report", WRITERS, _report_image),
    "pass a job": Row("run.decide", STARTERS - {"production"}, _pass),
    "make a connection": Row("connection.write", WRITERS, _make_connection),
    "refuse a job": Row("run.decide", STARTERS - {"production"}, _refuse),
}


def test_every_rule_has_a_row_and_every_row_a_rule() -> None:
    assert {row.rule for row in MATRIX.values()} == set(rules.ALLOWED) == set(rules.SAID)


@pytest.mark.parametrize("member", ROLES)
@pytest.mark.parametrize("act", MATRIX)
def test_each_act_is_open_to_those_and_only_those_who_may(
    site: Site, act: str, member: str
) -> None:
    row, user = MATRIX[act], site.cast.everyone()[member]
    do = row.prepare(site)
    before = world()
    if member in row.may:
        do(user)
        assert (world() == before) is row.only_reads
        return
    refusal = refused(Forbidden, lambda: do(user))
    assert user.username in refusal.detail


@pytest.mark.parametrize("act", MATRIX)
def test_somebody_who_was_deactivated_may_do_nothing(site: Site, act: str) -> None:
    do = MATRIX[act].prepare(site)
    user = User.objects.create_user(
        "eve", password="eve's", roles=Role.values, is_superuser=True, is_active=False
    )
    refused(Forbidden, lambda: do(user))
