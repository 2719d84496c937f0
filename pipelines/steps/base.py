"""What a step is given, how it fails, and the registry of those that this site can run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.artifacts import Place as MadeAt
from pipelines.connections import Opened
from pipelines.flow.document import Value
from pipelines.isolation import Place
from pipelines.logs import LogWriter
from pipelines.models import Job, Run
from pipelines.processes import Ended


class StepFailed(Exception):
    """The work said no: a program ended with an error, or a file that was promised is missing."""

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class StepPaused(Exception):
    """The work waits for people here, and goes on from here in a later attempt of the job."""

    def __init__(self, waits_for: str) -> None:
        super().__init__(waits_for)
        self.waits_for = waits_for


class Caller(Protocol):
    """Runs a program in the step's folder, with its output in the log.

    It gets the step's own environment, and `more` on top. `as_worker` runs a tool of Sluice's own
    choosing as the worker's user and outside the job's container: never what a definition wrote,
    and without any variable of it.
    """

    def __call__(
        self, argv: list[str], *, more: Mapping[str, str] = ..., as_worker: bool = False
    ) -> Ended: ...


@dataclass(slots=True)
class StepContext:
    """All that a step may use. `with_` has its references and variables filled in."""

    run: Run
    job: Job
    made_at: MadeAt
    with_: Mapping[str, Value]
    #: Where steps begin: the code that was checked out, or what the step's `workspace` names.
    folder: Path
    place: Place
    log: LogWriter
    call: Caller
    #: Why the step must end now (it was cancelled, or its time is up), or an empty text.
    why_stop: Callable[[], str]
    #: When the job's time is up, in monotonic seconds; `call` looks at it by itself.
    deadline: float
    #: Opens a service connection by name and kind; from then on its secrets are masked in the log.
    connection: Callable[[str, str], Opened]
    #: The run's variables, which programs that `call` runs get by themselves.
    variables: Mapping[str, str]
    #: What the steps after this one find in their environment, besides variables.
    environment: dict[str, str]
    #: Folders that the steps after this one find in front of their PATH.
    path: list[str]

    def text(self, name: str, default: str = "") -> str:
        value = self.with_.get(name)
        return default if value is None else str(value)

    def texts(self, name: str) -> list[str]:
        """A list, or one text whose lines are the list. Empty lines are dropped."""
        value = self.with_.get(name)
        each = value if isinstance(value, list) else [value]
        lines = [line for one in each if one is not None for line in str(one).splitlines()]
        return [line.strip() for line in lines if line.strip()]

    def must_call(
        self, argv: list[str], *, more: Mapping[str, str] | None = None, as_worker: bool = False
    ) -> None:
        """Run a program; StepFailed saying how it ended where that was not well."""
        ended = self.call(argv, more=more or {}, as_worker=as_worker)
        if why := ended.why_not_good:
            raise StepFailed(why, ended.exit_code)

    def inside(self, path: str, what: str) -> Path:
        """A path of the definition below the step's folder; StepFailed if it leads elsewhere.

        Links are followed first: the worker may read what the job's own user may not.
        """
        found = (self.folder / path).resolve()
        if not found.is_relative_to(self.place.workspace.resolve()):
            raise StepFailed(f"{what} “{path}” leads out of the workspace.")
        return found


StepRunner = Callable[[StepContext], None]

_runners: dict[str, StepRunner] = {}


def register(name: str, runner: StepRunner) -> None:
    _runners[name] = runner


def available() -> set[str]:
    return set(_runners)


def runner_of(name: str) -> StepRunner | None:
    return _runners.get(name)
