"""Execute one job on this worker: workspace, sources, steps in order, and a truthful end."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from django.db import close_old_connections, connection

from pipelines import (
    artifacts,
    connections,
    containers,
    git,
    isolation,
    logins,
    logs,
    masking,
    processes,
    runners,
    runs,
    sources,
)
from pipelines.definitions import catalog, definition_of
from pipelines.errors import SluiceError
from pipelines.filling import Filler, variables_of
from pipelines.flow import document
from pipelines.flow.references import expand_variables
from pipelines.logs import LogWriter
from pipelines.models import ConnectionKind, ExecutionState, Job, Run, Step
from pipelines.plain import read_plain
from pipelines.steps.base import StepContext, StepFailed, StepPaused, runner_of

log = logging.getLogger(__name__)

S = ExecutionState
MAX_OUTPUTS = 64 * 1024
NOTHING: Mapping[str, str] = {}


def execute(job_id: int) -> None:
    """Run the job if it is to be run and nobody else does. Safe to call twice."""
    job = runs.claim(job_id, runner=runners.own_name())
    if job is None:
        return
    # Somewhere a job must end in the row, whatever breaks: otherwise only its lease would tell.
    try:
        with _kept_alive(job) as lost, isolation.place() as place:
            state, why = _Execution(job, place, lost).run()
    except StepPaused as pause:
        runs.pause_job(job, pause.waits_for)
        logs.seal(job)
        return
    except SluiceError as refusal:
        state, why = S.ERRORED, refusal.detail
    except Exception as broken:
        log.exception("Job %s broke", job)
        # What it says may hold anything; the site's own log has it whole.
        state, why = S.ERRORED, f"Sluice could not run the job: {type(broken).__name__}."
    runs.end_job(job, state, why)
    logs.seal(job)


class _Execution:
    """One attempt of one job."""

    def __init__(self, job: Job, place: isolation.Place, lost: threading.Event) -> None:
        self.job = job
        self.job_run = Run.objects.for_work().get(pk=job.run_id)
        self.place = place
        self.lost = lost
        self.log = LogWriter(job)
        self.definition = definition_of(self.job_run.revision)
        found = self.definition.job(job.stage, job.key)
        if found is None:
            raise SluiceError(f"{self.job_run.revision} has no job {job.stage}.{job.key}.")
        self.declared = found
        self.deadline = time.monotonic() + job.timeout_minutes * 60
        self.folder = place.workspace
        self.filler = Filler(self.job_run, job.stage, variables_of(self.job_run, self.definition))
        self.variables = self.filler.variables
        self.environment: dict[str, str] = {}
        self.path: list[str] = []
        self.disk = _DiskWatch(place)
        self.calls = 0
        self.secrets: list[str] = []

    def run(self) -> tuple[ExecutionState, str]:
        """The state in which the attempt ended, and why when it is not a good one."""
        try:
            self._prepare()
            for step in self.job.steps.all():
                state, error = self._run_step(step)
                if state != S.SUCCEEDED:
                    return state, f"{step.key}: {error}"
            return S.SUCCEEDED, ""
        except SluiceError as refusal:
            why = masking.masked(refusal.detail, self.secrets)
            self.log.say(why)
            return S.ERRORED, why
        finally:
            self.log.close()

    def _prepare(self) -> None:
        """Fetch the sources into the workspace and find out where steps begin."""
        outputs = self.place.own / "flow_env"
        outputs.touch(mode=0o600)
        self.place.give(outputs)
        wanted = self.declared.source_option
        chosen = [
            source_id
            for source_id in self.definition.sources
            if wanted is None or source_id in wanted
        ]
        code = []
        self.log.begin_step("")
        for source_id in chosen:
            pinned = self.job_run.sources[source_id]
            folder = self.place.workspace / source_id
            folder.mkdir()
            self.log.say(f"source {source_id} ({pinned['type']})")
            fetch = sources.Fetch(
                self.job_run,
                pinned,
                folder,
                self.log.say,
                self._connection,
                self._why_stop_fetching,
            )
            sources.type_of(pinned["type"]).fetch(fetch)
            if "commit" in pinned:
                code.append(source_id)
        main = sources.default_folder(chosen, code, self.definition.default_workspace)
        self.folder = self.place.workspace / main if main else self.place.workspace
        self.variables["PROJECT_DIR"] = str(self.folder)
        self.variables["WORKSPACE_DIR"] = str(self.place.workspace)
        if main in code:
            pinned = self.job_run.sources[main]
            self.variables |= {
                "CI_SOURCE_NAME": self.definition.sources[main].name,
                "CI_COMMIT_REF_NAME": pinned["branch"],
                "CI_COMMIT_SHA": pinned["commit"],
                "CI_COMMIT_ID": pinned["commit"][:8],
                "CI_COMMIT_TITLE": git.commit_title(self.folder),
            }
        self.place.give_all(self.place.workspace)

    def _run_step(self, row: Step) -> tuple[ExecutionState, str]:
        if self._is_lost():
            return S.CANCELLED, "the job was taken from this worker"
        runs.begin_step(row)
        self.log.begin_step(row.key)
        state, error, exit_code = S.SUCCEEDED, "", 0
        try:
            self._call_runner(row)
        except StepFailed as failure:
            state, error = S.FAILED, failure.message
            exit_code = failure.exit_code if failure.exit_code is not None else 1
        except SluiceError as refusal:
            state, error, exit_code = S.ERRORED, refusal.detail, 1
        # It goes into a row, which the log's masker does not see.
        error = masking.masked(error, self.secrets)
        if error:
            self.log.say(error)
        self.log.flush()
        if self._is_lost():
            return S.CANCELLED, error
        runs.end_step(row, state, exit_code=exit_code, error=error)
        self._read_outputs()
        return state, error

    def _is_lost(self) -> bool:
        """Whether another attempt has the job, or nobody: then its steps are no longer ours."""
        return self.lost.is_set() or not runs.renew(self.job)

    def _call_runner(self, row: Step) -> None:
        runner = runner_of(row.kind)
        if runner is None:
            raise SluiceError(f"No worker of this site can run the step {row.kind}.")
        step = self.declared.step(row.key)
        folder = self._folder_of(step.workspace if step else None)
        made_at = artifacts.Place(self.job.stage, self.job.key, row.key, self.job.attempt)

        def call(
            argv: list[str], *, more: Mapping[str, str] = NOTHING, as_worker: bool = False
        ) -> processes.Ended:
            return self._call(argv, folder, more, as_worker=as_worker)

        context = StepContext(
            run=self.job_run,
            job=self.job,
            made_at=made_at,
            with_=self.filler.arguments(
                catalog().steps[row.kind], step.with_ if step else self.declared.with_
            ),
            folder=folder,
            place=self.place,
            log=self.log,
            call=call,
            why_stop=self._why_stop,
            deadline=self.deadline,
            connection=self._connection,
            variables=self.variables,
            environment=self.environment,
            path=self.path,
        )
        runner(context)

    def _folder_of(self, wanted: str | None) -> Path:
        """Where a step works: in the workspace, whatever links earlier steps have laid."""
        folder = self.folder
        if wanted:
            folder = self.place.workspace / expand_variables(wanted, self.variables)
        if not folder.resolve().is_relative_to(self.place.workspace.resolve()):
            raise StepFailed(f"workspace “{wanted or folder.name}” leads out of the workspace.")
        if not folder.is_dir():
            raise StepFailed(f"workspace “{wanted or folder.name}” is not a folder.")
        return folder

    def _connection(self, name: str, kind: str) -> connections.Opened:
        opened = connections.open_for(self.job_run, name, kind)
        if opened.kind == ConnectionKind.KUBERNETES:
            # Most of a kubeconfig is no secret; the step masks what is.
            return opened
        for what, secret in opened.secrets.items():
            self.secrets.append(secret)
            if secret and not self.log.mask(secret):
                self.log.say(f"the {what} of {name} is too short to be masked in this log")
        return opened

    # ---- Programs -------------------------------------------------------------------------------
    def _call(
        self, argv: list[str], folder: Path, more: Mapping[str, str], *, as_worker: bool
    ) -> processes.Ended:
        wanted = self.job.container if not as_worker else ""
        engine = containers.engine_for(wanted) if wanted else None
        if engine is not None:
            return self._call_in(engine, argv, folder, more)
        if as_worker:
            return self._run(argv, folder, {**self._tools(), **more})
        place = self.place
        environment = {**self._environment(), **more}
        return self._run(
            argv, folder, environment, user=place.user, limits=isolation.limits(place.user)
        )

    def _call_in(
        self, engine: containers.Engine, argv: list[str], folder: Path, more: Mapping[str, str]
    ) -> processes.Ended:
        self.calls += 1
        name = f"sluice-{self.job.pk}-{self.job.attempt}-{self.calls}"
        variables = self.place.own / f"variables-{self.calls}.sh"
        # The image knows best where its own programs are.
        inner = {**self._environment(), **more}
        del inner["PATH"]
        containers.write_variables(variables, inner)
        self.place.give(variables)
        command = engine.command(
            argv,
            image=self.job.container,
            name=name,
            place=self.place,
            folder=str(folder),
            variables=variables,
        )
        try:
            # The engine may be root: its login is the worker's copy, and its folder no step's.
            login = logins.environment(self.place, as_worker=True)
            return self._run(command, self.place.own, {**self._tools(), **login})
        finally:
            engine.end(name)

    def _run(
        self,
        argv: list[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        user: int | None = None,
        limits: Mapping[str, int] = processes.NO_LIMITS,
    ) -> processes.Ended:
        return processes.run(
            argv,
            folder=folder,
            environment=environment,
            deadline=self.deadline,
            output=self.log.write,
            should_stop=self._why_stop,
            user=user,
            limits=limits,
        )

    def _why_stop_fetching(self) -> str:
        is_late = time.monotonic() > self.deadline
        return self._why_stop() or ("The job's timeoutMinutes are over." if is_late else "")

    def _why_stop(self) -> str:
        self.log.flush_if_due()
        if self.lost.is_set():
            return "The run was cancelled."
        return self.disk.why_too_full()

    def _tools(self) -> dict[str, str]:
        """What tools of Sluice's own choosing get, which may run as root: nothing that a
        definition or a step could have chosen, like LD_PRELOAD."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/nonexistent"),
            "LC_ALL": "C.UTF-8",
        }

    def _environment(self) -> dict[str, str]:
        """All that a step's programs get: declared and built-in variables, and where things are.

        Nothing of the worker's own environment comes along but the path to its programs.
        """
        own = self.place.own
        interpreter = str(Path(sys.executable).parent)
        path = [*self.path, os.environ.get("PATH", os.defpath), interpreter]
        return {
            **self.variables,
            **self.environment,
            "PATH": ":".join(path),
            "HOME": str(own / "home"),
            "TMPDIR": str(own / "tmp"),
            "FLOW_ENV": str(own / "flow_env"),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "CI": "true",
        }

    def _read_outputs(self) -> None:
        """Take over what the step wrote to $FLOW_ENV, for the steps after it."""
        text = read_plain(self.place.own / "flow_env", MAX_OUTPUTS)
        for line in text.decode("utf-8", "replace").splitlines():
            key, equals, value = line.partition("=")
            name = key.strip()
            if not equals or not name.isidentifier() or "\x00" in value:
                continue
            if name not in document.BUILT_IN_VARIABLES:
                self.variables[name] = value


class _DiskWatch:
    """Looks now and then whether a job has written too much. A slow look is taken less often."""

    def __init__(self, place: isolation.Place) -> None:
        self._place = place
        self._next = time.monotonic() + 1

    def why_too_full(self) -> str:
        now = time.monotonic()
        if now < self._next:
            return ""
        why = isolation.why_too_full(self._place)
        took = time.monotonic() - now
        self._next = time.monotonic() + max(1.0, 20 * took)
        return why


@contextmanager
def _kept_alive(job: Job) -> Iterator[threading.Event]:
    """Renew the job's lease until the block ends; the event is set once the job is lost."""
    lost, done = threading.Event(), threading.Event()

    def renew() -> None:
        try:
            # Once a second, so that a cancelled run is noticed within seconds.
            while not done.wait(1.0):
                close_old_connections()
                try:
                    if not runs.renew(job):
                        lost.set()
                        return
                except Exception:
                    log.warning("The lease of %s could not be renewed", job, exc_info=True)
        finally:
            connection.close()

    keeper = threading.Thread(target=renew, name=f"lease-{job.pk}", daemon=True)
    keeper.start()
    try:
        yield lost
    finally:
        done.set()
        keeper.join(timeout=10)
