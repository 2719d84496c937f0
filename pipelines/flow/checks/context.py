"""What every rule needs: the definition, its indexes, and one place to report to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from pipelines.flow.document import Definition, Job, Position, Stage, Step, as_text
from pipelines.flow.parser import Parsed, Positions
from pipelines.flow.problems import Problems, Severity
from pipelines.flow.references import LENGTH_LIMIT
from pipelines.flow.schema import Catalog, StepSchema


class Index:
    """A definition by its ids, so that a large one is not searched for every reference."""

    def __init__(self, definition: Definition, pipeline_id: str | None) -> None:
        self.definition = definition
        self.pipeline_id = pipeline_id
        self.stages: dict[str, Stage] = {each.id: each for each in definition.stages}
        self.order: dict[str, int] = {each.id: n for n, each in enumerate(definition.stages)}
        self.jobs: dict[str, dict[str, Job]] = {
            stage.id: {job.id: job for job in stage.jobs} for stage in definition.stages
        }
        # The first stage that has a job of that id.
        self.first_stage: dict[str, str] = {}
        for stage in definition.stages:
            for job in stage.jobs:
                self.first_stage.setdefault(job.id, stage.id)
        self._steps: dict[tuple[str, str], dict[str, tuple[int, Step]]] = {}

    def steps(self, stage_id: str, job: Job) -> dict[str, tuple[int, Step]]:
        """The steps of a job by id, with their place in its order."""
        key = (stage_id, job.id)
        if key not in self._steps:
            self._steps[key] = {each.id: (n, each) for n, each in enumerate(job.steps)}
        return self._steps[key]

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """What is known of variables before a run: the written values and the pipeline itself."""
        known = {
            each.key: as_text(each.value)
            for each in self.definition.variables
            if isinstance(each.value, str | int | float | bool)
            and len(as_text(each.value)) <= LENGTH_LIMIT  # a longer one fits in no reference
        }
        if self.pipeline_id is not None:
            known["PIPELINE_ID"] = self.pipeline_id
        else:
            known.pop("PIPELINE_ID", None)
        return known


class Context:
    """One check of one definition."""

    def __init__(
        self,
        parsed: Parsed,
        definition: Definition,
        catalog: Catalog,
        pipelines: Callable[[str], Definition | None],
        pipeline_id: str | None,
    ) -> None:
        self.definition = definition
        self.catalog = catalog
        self.positions: Positions = parsed.positions
        self.problems = Problems(parsed.problems, parsed.left_out)
        self.index = Index(definition, pipeline_id)
        self._pipelines = pipelines
        self._others: dict[str, Index | None] = {}

    def report(
        self,
        code: str,
        message: str,
        path: str,
        *,
        at: Position | None = None,
        severity: Severity = "error",
    ) -> None:
        place = at if at is not None else self.positions.nearest(path)
        self.problems.add(
            code, message, line=place.line, column=place.column, path=path, severity=severity
        )

    def did_you_mean(self, word: str, candidates: Iterable[str]) -> str:
        return self.problems.did_you_mean(word, candidates)

    def schema(self, step: Step) -> StepSchema | None:
        return self.catalog.step(step.step)

    def other(self, pipeline_id: str) -> Index | None:
        """Another pipeline's definition, asked for once; its own where it names itself."""
        if pipeline_id == self.index.pipeline_id:
            return self.index
        if pipeline_id not in self._others:
            found = self._pipelines(pipeline_id)
            self._others[pipeline_id] = Index(found, pipeline_id) if found is not None else None
        return self._others[pipeline_id]
