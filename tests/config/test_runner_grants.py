"""A runner's own database role: enough to execute jobs of every kind, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection

from config.management.commands.runner_grants import grants
from pipelines import connections, execution, runners, runs
from pipelines.errors import Forbidden
from pipelines.models import ExecutionState, Job, Run
from promotion.models import LedgerEntry, Promotion
from tests.cast import Site
from tests.pipelines.connected import connect
from tests.pipelines.working import job, job_of, said, started, upload, yaml

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
ROLE = "sluice_test_runner"


@contextmanager
def as_runner() -> Iterator[None]:
    """What this thread does meanwhile, it does as the runner's role."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP ROLE IF EXISTS {ROLE}")
        cursor.execute(f"CREATE ROLE {ROLE}")
        for statement in grants(ROLE):
            cursor.execute(statement)
        cursor.execute(f"SET ROLE {ROLE}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
            cursor.execute(f"DROP OWNED BY {ROLE}")
            cursor.execute(f"DROP ROLE {ROLE}")


def execute(run: Run) -> None:
    """Do the runner's part as the runner, and the site's part as the site."""
    runs.begin(run.pk)
    while todo := Job.objects.filter(run=run, state=S.QUEUED, dispatched_at__isnull=False):
        for pk in todo.values_list("pk", flat=True):
            with as_runner():
                execution.execute(pk)
        runs.advance(run.pk)


@pytest.mark.postgres
def test_a_runner_executes_jobs_with_its_own_role(site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    source = {"type": "packages", "repo": "apps", "artifact": "app", "environment": "staging"}
    release = upload("b", "app", uploadType="packages", repo="apps", version="2.0.0")
    definition = yaml(
        {"one": job("ls pack; echo A=1 >> $FLOW_ENV; echo b > b", upload("b"), release)},
        {"two": job("echo $[stages.stage1.one.s2.artifacts.default.md5]")},
        sources={"pack": source},
    )
    run = started(site, definition)
    execute(run)
    run.refresh_from_db()
    assert (run.error, run.state) == ("", S.SUCCEEDED)
    assert said(run, "one") == ["app.txt"]


@pytest.mark.postgres
def test_a_runner_composes_a_bundle_and_takes_one_with_its_own_role(site: Site) -> None:
    bundle = "$[stages.stage1.one.s2.artifacts.default]"
    take = {"step": "ArtifactDownload", "with": {"artifact": bundle, "path": ".", "extract": True}}
    definition = yaml(
        {"one": job("echo a > a; echo b > b", upload(["a", "b"]))},
        {"two": job(take, "cat a b")},
    )
    run = started(site, definition)
    execute(run)
    run.refresh_from_db()
    assert (run.error, run.state) == ("", S.SUCCEEDED)
    assert said(run, "two")[-2:] == ["a", "b"]


@pytest.mark.postgres
def test_a_runner_makes_itself_known_with_its_own_role(site: Site) -> None:
    with as_runner():
        runner = runners.make_known(runners.Abilities(builder="buildah 1"))
        runners.make_known(runners.Abilities(builder="buildah 2"))
        runner.refresh_from_db()
        assert runner.builder == "buildah 2"
        runner.delete()


@pytest.mark.postgres
def test_a_runner_opens_a_service_connection_with_its_own_role(site: Site) -> None:
    connect(site, "code", "git", {"password": "open sesame"}, host="git.example.com")
    run = Run.objects.for_work().get(pk=started(site, yaml({"only": job("true")})).pk)
    with as_runner():
        assert connections.open_for(run, "code", "git").secrets["password"] == "open sesame"
    site.cast.ada.groups.clear()
    with as_runner(), pytest.raises(Forbidden):
        connections.open_for(run, "code", "git")


@pytest.mark.postgres
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT password FROM accounts_user",
        "SELECT digest FROM accounts_token",
        "SELECT session_data FROM django_session",
        "UPDATE accounts_user SET roles = '[\"operator\"]'",
        "INSERT INTO promotion_ledgerentry DEFAULT VALUES",
        "UPDATE promotion_promotion SET state = 'approved'",
        "INSERT INTO promotion_version DEFAULT VALUES",
        "UPDATE pipelines_run SET state = 'succeeded'",
        "UPDATE pipelines_serviceconnection SET team_id = 1",
        "UPDATE pipelines_revision SET yaml = ''",
        "DELETE FROM pipelines_artifact",
        "CREATE TABLE mine (id int)",
    ],
)
def test_a_runner_may_do_nothing_else(site: Site, statement: str) -> None:
    with as_runner(), pytest.raises(ProgrammingError, match="permission denied"):
        _execute(statement)
    assert LedgerEntry.objects.exists()
    assert not Promotion.objects.exists()


def _execute(statement: str) -> Any:
    with connection.cursor() as cursor:
        return cursor.execute(statement)


def test_the_command_prints_the_grants_where_there_are_roles(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedded database has none, and the command says what it takes."""
    if connection.vendor == "postgresql":
        call_command("runner_grants", ROLE)
        assert capsys.readouterr().out.splitlines() == list(grants(ROLE))
        return
    with pytest.raises(CommandError, match="need PostgreSQL"):
        call_command("runner_grants", ROLE)


def test_what_a_runner_reports_of_a_job_needs_no_more_than_its_rows(site: Site) -> None:
    run = started(site, yaml({"only": job("true")}))
    runs.begin(run.pk)
    claimed = runs.claim(job_of(run).pk, runner="elsewhere-1")
    assert claimed is not None
    assert claimed.runner == "elsewhere-1"
