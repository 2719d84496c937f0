"""Runs begun anew: what failed is retried in place, or the whole run starts again as it was."""

import pytest

from pipelines import artifacts, runs
from pipelines.errors import UnresolvedReference, WrongState
from pipelines.models import Artifact, ExecutionState, Job, Run
from promotion import publishing
from promotion.errors import NotValidated
from tests.cast import Site, external_run, make_pipeline, work_off
from tests.pipelines.working import (
    job,
    job_of,
    log_of,
    one_job,
    said,
    started,
    states,
    steps,
    upload,
    worked,
    yaml,
)
from tests.world import refused

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
#: Fails as long as nobody has made the file that is named by the run's own variable.
MOODY = 'test -e "$MOOD"'


def moody(site: Site, tmp_path_factory: pytest.TempPathFactory, definition: str) -> tuple[Run, str]:
    """A run whose `MOOD` names a file that is not there yet, and that file."""
    folder = tmp_path_factory.mktemp("mood")
    folder.chmod(0o755)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    mood = str(folder / "good")
    return worked(site, definition, variables={"MOOD": mood}), mood


def cheer_up(mood: str) -> None:
    with open(mood, "w", encoding="utf-8"):
        pass


def test_what_failed_is_retried_and_what_succeeded_is_kept(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    definition = yaml(
        {"good": job("echo done > a", upload("a")), "bad": job("echo try", MOODY)},
        {"later": job("echo $[stages.stage1.good.s2.artifacts.app.md5]")},
    )
    run, mood = moody(site, tmp_path_factory, definition)
    assert states(run) == {"good": "succeeded", "bad": "failed", "later": "cancelled"}
    finished = job_of(run, "good").finished_at
    cheer_up(mood)
    runs.retry(run, by=site.cast.ada)
    assert states(run) == {"good": "succeeded", "bad": "queued", "later": "queued"}
    assert (run.state, run.error, run.finished_at) == (S.RUNNING, "", None)
    assert work_off(run).state == S.SUCCEEDED
    assert job_of(run, "good").finished_at == finished
    assert (job_of(run, "good").attempt, job_of(run, "bad").attempt) == (1, 2)
    assert steps(run, "bad") == ["succeeded", "succeeded"]
    assert said(run, "bad") == ["try"], "the log is that of the last attempt"


def test_a_retry_that_fails_again_ends_the_run_again(site: Site) -> None:
    run = one_job(site, "exit 3")
    work_off(runs.retry(run, by=site.cast.ada))
    run.refresh_from_db()
    assert (run.state, run.error) == (S.FAILED, "stage1.only: s1: It ended with exit code 3.")


def test_a_job_that_uploaded_before_it_failed_may_upload_again(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    definition = yaml({"only": job("date +%N > a", upload("a"), MOODY)}, {"use": job("true")})
    run, mood = moody(site, tmp_path_factory, definition)
    first = Artifact.objects.get(run=run)
    cheer_up(mood)
    assert work_off(runs.retry(run, by=site.cast.ada)).state == S.SUCCEEDED
    second = Artifact.objects.exclude(pk=first.pk).get(run=run)
    assert (first.attempt, second.attempt) == (1, 2)
    reference = "$[stages.stage1.only.s2.artifacts.default]"
    assert artifacts.resolve_text(run, reference) == second
    refusal = refused(
        NotValidated,
        lambda: publishing.publish(
            site.repository,
            "app",
            "1.0",
            Artifact.objects.select_related("run").get(pk=first.pk),
            by=site.cast.ada,
        ),
    )
    assert "attempt 1" in refusal.detail
    assert publishing.publish(
        site.repository,
        "app",
        "1.0",
        Artifact.objects.select_related("run__pipeline", "run__revision").get(pk=second.pk),
        by=site.cast.ada,
    ).is_new


def test_what_only_an_earlier_attempt_made_is_not_found(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = 'if test -e "$MOOD"; then echo b > b; rm -f a; else echo a > a; fi'
    definition = yaml({"only": job(script, upload("*"), MOODY)})
    run, mood = moody(site, tmp_path_factory, definition)
    cheer_up(mood)
    work_off(runs.retry(run, by=site.cast.ada))
    found = artifacts.resolve_text(run, "$[stages.stage1.only.s2.artifacts.default]")
    assert [file.path for file in found.files.all()] == ["b"]
    with pytest.raises(UnresolvedReference):
        artifacts.resolve_text(run, "$[stages.stage1.only.s2.artifacts.other]")


def test_a_skipped_job_is_asked_again_when_what_it_asks_about_is_retried(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    definition = yaml(
        {
            "bad": job(MOODY),
            "after": job("true", needs=["bad"], condition="succeed(bad)"),
            "never": job("true", condition="1 == 2"),
        }
    )
    run, mood = moody(site, tmp_path_factory, definition)
    assert states(run) == {"bad": "failed", "after": "skipped", "never": "skipped"}
    cheer_up(mood)
    work_off(runs.retry(run, by=site.cast.ada))
    assert states(run) == {"bad": "succeeded", "after": "succeeded", "never": "skipped"}


def test_a_cancelled_run_can_be_retried_and_a_gate_asks_again(site: Site) -> None:
    run = worked(site, yaml({"gate": job("true", driven="manual")}))
    runs.pass_job(job_of(run, "gate"), by=site.cast.ben)
    runs.cancel(run, by=site.cast.ben)
    run = work_off(runs.retry(run, by=site.cast.ada))
    assert run.state == S.WAITING
    runs.pass_job(job_of(run, "gate"), by=site.cast.ben)
    assert work_off(run).state == S.SUCCEEDED
    decided = job_of(run, "gate").decisions.values_list("gate", "by__username", "passed")
    assert list(decided) == [(1, "ben", True), (2, "ben", True)]


def test_a_run_whose_sources_could_not_be_pinned_begins_from_the_beginning(site: Site) -> None:
    source = {"type": "git", "endpoint": "https://sluice.invalid/app.git", "branch": "main"}
    run = worked(site, yaml({"only": job("true")}, sources={"code": source}))
    assert (run.state, run.started_at) == (S.ERRORED, None)
    assert runs.retry(run, by=site.cast.ada).state == S.QUEUED
    assert states(run) == {"only": "queued"}
    assert work_off(run).state == S.ERRORED


@pytest.mark.parametrize("state", [S.QUEUED, S.RUNNING, S.WAITING, S.SUCCEEDED])
def test_only_what_ended_badly_is_retried(site: Site, state: S) -> None:
    run = started(site, yaml({"only": job("true")}))
    Run.objects.filter(pk=run.pk).update(state=state)
    run.refresh_from_db()
    refused(WrongState, lambda: runs.retry(run, by=site.cast.ada))


def test_a_run_of_another_system_is_neither_retried_nor_run_again(site: Site) -> None:
    run = external_run(site.cast.ada, site.pipeline)
    runs.finish(run, S.FAILED, by=site.cast.ada)
    refused(WrongState, lambda: runs.retry(run, by=site.cast.ada))
    refused(WrongState, lambda: runs.start_again(run, by=site.cast.ada))


def test_a_late_worker_does_not_reopen_what_has_ended(site: Site) -> None:
    run = started(site, yaml({"only": job("true")}))
    runs.begin(run.pk)
    late = runs.claim(job_of(run).pk)
    assert late is not None
    runs.cancel(run, by=site.cast.ada)
    runs.take_over(late)
    assert states(run) == {"only": "cancelled"}


# ---- Again ---------------------------------------------------------------------------------------
def test_a_run_starts_again_on_the_very_inputs_it_was_pinned_to(site: Site) -> None:
    definition = yaml({"make": job("echo $BUILD_NUMBER > a", upload("a"))})
    upstream = make_pipeline(site.cast.ada, "up", definition)
    work_off(runs.start(upstream, by=site.cast.ada))
    source = {"type": "flowPipeline", "flowPipeline": "up", "build": "lastSuccessfulBuild"}
    made = "$[sources.up.stages.stage1.make.s2.artifacts.app.md5]"
    definition = yaml({"only": job(f"echo {made} $WHO")}, sources={"up": source})
    run = worked(site, definition, variables={"WHO": "me"}, comment="first")
    work_off(runs.start(upstream, by=site.cast.ada))
    again = work_off(runs.start_again(run, by=site.cast.ben))
    assert (again.number, again.trigger, again.again_of) == (2, "again", run)
    assert again.sources == run.sources
    assert said(again) == said(run)
    assert said(run)[0].endswith(" me")
    assert again.started_by == site.cast.ben
    newer = work_off(runs.start(run.pipeline, by=site.cast.ada, variables={"WHO": "me"}))
    assert said(newer) != said(run)


def test_a_run_starts_again_with_its_own_revision(site: Site) -> None:
    from pipelines import definitions

    run = one_job(site, "echo old")
    definitions.revise(run.pipeline, yaml({"only": job("echo new")}), by=site.cast.ada)
    again = work_off(runs.start_again(run, by=site.cast.ada))
    assert (again.revision.number, said(again)) == (1, ["old"])


def test_a_run_that_is_not_over_does_not_start_again(site: Site) -> None:
    run = started(site, yaml({"only": job("true")}))
    refused(WrongState, lambda: runs.start_again(run, by=site.cast.ada))


def test_no_worker_dies_over_a_job_for_ever_and_a_retry_counts_anew(site: Site) -> None:
    run = one_job(site, "exit 1")
    Job.objects.update(deaths=2)
    runs.retry(run, by=site.cast.ada)
    assert job_of(run).deaths == 0
    assert log_of(run) == ""
