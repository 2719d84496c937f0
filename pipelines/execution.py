"""Execute one job on this worker: workspace, sources, steps in order, and a truthful end."""

import logging
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import close_old_connections, connection

from pipelines import artifacts, git, processes, runs, sources
from pipelines.definitions import catalog, definition_of
from pipelines.errors import SluiceError
from pipelines.flow import document
from pipelines.flow.document import Value
from pipelines.flow.references import (
    Reference,
    expand_reference,
    expand_variables,
    substitute,
    whole_reference,
)
from pipelines.flow.schema import StepSchema
from pipelines.logs import LogWriter
from pipelines.models import ExecutionState, Job, Run, Step
from pipelines.steps.base import OWN_FOLDER, StepContext, StepFailed, runner_of

log = logging.getLogger(__name__)

S = ExecutionState
MAX_OUTPUTS = 64 * 1024


def execute(job_id: int) -> None:
    """Run the job if it is to be run and nobody else does. Safe to call twice."""
    job = runs.claim(job_id)
    if job is None:
        return
    # Somewhere a job must end in the row, whatever breaks: otherwise only its lease would tell.
    try:
        with _kept_alive(job) as lost, _workspace() as workspace:
            state, why = _Execution(job, workspace, lost).run()
    except SluiceError as refusal:
        state, why = S.ERRORED, refusal.detail
    except Exception as broken:
        log.exception("Job %s broke", job)
        state, why = S.ERRORED, f"Sluice could not run the job: {broken!r}"
    runs.end_job(job, state, why)


class _Execution:
    """One attempt of one job."""

    def __init__(self, job: Job, workspace: Path, lost: threading.Event) -> None:
        self.job = job
        self.job_run = Run.objects.with_names().get(pk=job.run_id)
        self.workspace = workspace
        self.lost = lost
        self.log = LogWriter(job)
        self.definition = definition_of(self.job_run.revision)
        stage = self.definition.stage(job.stage)
        found = stage.job(job.key) if stage else None
        if found is None:
            raise SluiceError(f"{self.job_run.revision} has no job {job.stage}.{job.key}.")
        self.declared = found
        self.deadline = time.monotonic() + job.timeout_minutes * 60
        self.folder = workspace
        self.variables = _variables(self.job_run, self.definition)

    def run(self) -> tuple[ExecutionState, str]:
        """The state in which the attempt ended, and why when it is not a good one."""
        try:
            self._prepare()
            for step in self.job.steps.all():
                state, error = self._run_step(step)
                if state != S.SUCCEEDED:
                    return state, f"{step.key}: {error}"
            return S.SUCCEEDED, ""
        finally:
            self.log.flush()

    def _prepare(self) -> None:
        """Fetch the sources into the workspace and find out where steps begin."""
        own = self.workspace / OWN_FOLDER
        (own / "home").mkdir(parents=True)
        (own / "tmp").mkdir()
        (own / "flow_env").touch()
        wanted = self.declared.source_option
        chosen = [
            source_id
            for source_id in self.definition.sources
            if wanted is None or source_id in wanted
        ]
        code = []
        for source_id in chosen:
            pinned = self.job_run.sources[source_id]
            folder = self.workspace / source_id
            folder.mkdir()
            self.log.begin_step("")
            self.log.say(f"source {source_id} ({pinned['type']})")
            sources.type_of(pinned["type"]).fetch(pinned, folder, self.log.say)
            if "commit" in pinned:
                code.append(source_id)
        main = sources.default_folder(chosen, code, self.definition.default_workspace)
        self.folder = self.workspace / main if main else self.workspace
        self.variables["PROJECT_DIR"] = str(self.folder)
        self.variables["WORKSPACE_DIR"] = str(self.workspace)
        if main in code:
            pinned = self.job_run.sources[main]
            self.variables |= {
                "CI_SOURCE_NAME": self.definition.sources[main].name,
                "CI_COMMIT_REF_NAME": pinned["branch"],
                "CI_COMMIT_SHA": pinned["commit"],
                "CI_COMMIT_ID": pinned["commit"][:8],
                "CI_COMMIT_TITLE": git.commit_title(self.folder),
            }

    def _run_step(self, row: Step) -> tuple[ExecutionState, str]:
        if self.lost.is_set():
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
        if error:
            self.log.say(error)
        self.log.flush()
        if self.lost.is_set():
            return S.CANCELLED, error
        runs.end_step(row, state, exit_code=exit_code, error=error)
        self._read_outputs()
        return state, error

    def _call_runner(self, row: Step) -> None:
        runner = runner_of(row.kind)
        if runner is None:
            raise SluiceError(f"No worker of this site can run the step {row.kind}.")
        schema = catalog().steps[row.kind]
        step = self.declared.step(row.key)
        given = step.with_ if step else self.declared.with_
        folder = self.folder
        if step and step.workspace:
            folder = self.workspace / step.workspace
        place = artifacts.Place(self.job.stage, self.job.key, row.key)
        context = StepContext(
            run=self.job_run,
            place=place,
            with_=self._filled_in(schema, schema.arguments(given)),
            workspace=self.workspace,
            folder=folder,
            log=self.log,
            call=lambda argv: self._call(argv, folder),
        )
        runner(context)

    def _call(self, argv: list[str], folder: Path) -> processes.Ended:
        return processes.run(
            argv,
            folder=folder,
            environment=self._environment(),
            deadline=self.deadline,
            output=self.log.write,
            should_stop=self._why_stop,
        )

    def _why_stop(self) -> str:
        self.log.flush_if_due()
        return "The run was cancelled." if self.lost.is_set() else ""

    def _environment(self) -> dict[str, str]:
        """All that a step's programs get: declared and built-in variables, and where things are.

        Nothing of the worker's own environment comes along but the path to its programs.
        """
        own = self.workspace / OWN_FOLDER
        interpreter = str(Path(sys.executable).parent)
        return {
            **self.variables,
            "PATH": f"{os.environ.get('PATH', os.defpath)}:{interpreter}",
            "HOME": str(own / "home"),
            "TMPDIR": str(own / "tmp"),
            "FLOW_ENV": str(own / "flow_env"),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "CI": "true",
        }

    def _read_outputs(self) -> None:
        """Take over what the step wrote to $FLOW_ENV, for the steps after it."""
        text = read_plain(self.workspace / OWN_FOLDER / "flow_env", MAX_OUTPUTS)
        for line in text.decode("utf-8", "replace").splitlines():
            key, equals, value = line.partition("=")
            name = key.strip()
            if not equals or not name.isidentifier() or "\x00" in value:
                continue
            if name not in document.BUILT_IN_VARIABLES:
                self.variables[name] = value

    # ---- Filling in references and variables ----------------------------------------------------
    def _filled_in(self, schema: StepSchema, given: Mapping[str, Value]) -> dict[str, Value]:
        types = {field.name: field.type for field in schema.fields}
        filled: dict[str, Value] = {}
        for key, value in given.items():
            if types.get(key) == "artifact":
                filled[key] = self._descriptor(value)
            elif types.get(key) == "text":
                # A script: the shell finds ${VAR} in its environment. Putting the value into the
                # text would make code of whatever a branch or a caller's variable holds.
                filled[key] = self._filled(value, {})
            else:
                filled[key] = self._filled(value, self.variables)
        return filled

    def _filled(self, value: Value, variables: Mapping[str, str]) -> Value:
        if isinstance(value, str):
            return substitute(value, self._text_of, variables)
        if isinstance(value, list):
            return [self._filled(each, variables) for each in value]
        if isinstance(value, dict):
            return {key: self._filled(each, variables) for key, each in value.items()}
        return value

    def _descriptor(self, value: Value) -> Value:
        reference = whole_reference(value)
        if reference is None:
            return self._filled(value, self.variables)
        return dict(self._properties(reference))

    def _text_of(self, reference: Reference) -> str:
        text = artifacts.as_text(self._properties(reference), reference.property)
        if text is None:
            raise SluiceError(
                f"{reference.text} has no {reference.property or 'image or download address'}."
            )
        return text

    def _properties(self, written: Reference) -> dict[str, str]:
        reference = expand_reference(written, self.variables)
        if reference.kind == "source":
            pinned = self.job_run.sources.get(reference.source or "")
            if pinned is None:
                raise SluiceError(f"{reference.text}: the run has no such source.")
            return sources.type_of(pinned["type"]).properties(pinned)
        artifact = artifacts.find(self.job_run, reference, stage=self.job.stage)
        return artifacts.properties(artifact, signed=True)


def _variables(run: Run, definition: document.Definition) -> dict[str, str]:
    """Variables of a run by precedence: the caller's over the definition's; built-ins stand."""
    started = run.started_at or run.created_at
    built_in = {
        "PIPELINE_ID": run.pipeline.slug,
        "PIPELINE_NAME": run.pipeline.name,
        "BUILD_NUMBER": str(run.number),
        "BUILD_REMARK": run.comment,
        "BUILD_EXECUTOR": run.started_by.username,
        "BUILD_MESSAGE": run.get_trigger_display(),
        "DATETIME": started.strftime("%Y-%m-%d-%H-%M-%S"),
        "TIMESTAMP": str(int(started.timestamp() * 1000)),
    }
    declared = {variable.key: document.as_text(variable.value) for variable in definition.variables}
    expanded = {
        key: expand_variables(value, {**declared, **run.variables, **built_in})
        for key, value in declared.items()
    }
    return {**expanded, **run.variables, **built_in}


def read_plain(path: Path, most: int) -> bytes:
    """The beginning of a file that a step may have put anything in the place of.

    A link may lead where the step could not, and a pipe or device would be read for ever: only a
    plain file is read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as stream:
        return stream.read(most) if stat.S_ISREG(os.fstat(handle).st_mode) else b""


@contextmanager
def _workspace() -> Iterator[Path]:
    """A fresh folder that is gone afterwards, whatever the steps left in it."""
    folder = Path(settings.WORKSPACES_DIR)
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    workspace = Path(tempfile.mkdtemp(dir=folder, prefix="job-"))
    try:
        yield workspace
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


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
