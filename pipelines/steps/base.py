"""What a step is given, how it fails, and the registry of those that this site can run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.artifacts import Place
from pipelines.flow.document import Value
from pipelines.logs import LogWriter
from pipelines.models import Run
from pipelines.processes import Ended

#: The built-in files of a job, like $FLOW_ENV, lie in this folder of its workspace.
OWN_FOLDER = ".sluice"


class StepFailed(Exception):
    """The work said no: a program ended with an error, or a file that was promised is missing."""

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


@dataclass(slots=True)
class StepContext:
    """All that a step may use. `with_` has its references and variables filled in."""

    run: Run
    place: Place
    with_: Mapping[str, Value]
    workspace: Path
    folder: Path
    log: LogWriter
    #: Runs a program in `folder` with the step's own environment; output goes to the log.
    call: Callable[[list[str]], Ended]
    outputs: dict[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        value = self.with_.get(name)
        return default if value is None else str(value)


StepRunner = Callable[[StepContext], None]

_runners: dict[str, StepRunner] = {}


def register(name: str, runner: StepRunner) -> None:
    _runners[name] = runner


def available() -> set[str]:
    return set(_runners)


def runner_of(name: str) -> StepRunner | None:
    return _runners.get(name)
