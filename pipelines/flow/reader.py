"""A tree of nodes to a typed definition: which keys there are, of which shape, with which ids.

Reading goes on after a fault with a sensible stand-in, so that one report names all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pipelines.flow.document import (
    DEFAULT_TIMEOUT_MINUTES,
    Concurrency,
    Definition,
    Job,
    Position,
    RunsOn,
    Source,
    Stage,
    Step,
    Value,
    Variable,
    as_text,
)
from pipelines.flow.keys import KeyReader
from pipelines.flow.nodes import ListNode, MapNode, Node, ScalarNode, join, shorten

STAGE_ID_LENGTH: Final = 64
JOB_ID_LENGTH: Final = 30
SOURCE_ID_LENGTH: Final = 30
STEP_ID_LENGTH: Final = 64
JOB_LIMIT: Final = 5000
TIMEOUT_LIMIT: Final = 7 * 24 * 60

VARIABLE_TYPES: Final = ("String", "Number", "Boolean", "Object")

_VARIABLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_TOP_KEYS: Final = (
    "name",
    "sources",
    "defaultWorkspace",
    "variables",
    "variableGroups",
    "cache",
    "concurrencyConfig",
    "stages",
)
_STAGE_KEYS: Final = ("name", "jobs")
_JOB_KEYS: Final = (
    "name",
    "runsOn",
    "timeoutMinutes",
    "driven",
    "needs",
    "condition",
    "sourceOption",
    "steps",
    "component",
    "with",
    "plugins",
)
_STEP_KEYS: Final = ("name", "step", "workspace", "with")
_RUNS_ON_KEYS: Final = ("group", "container", "labels", "vm", "instanceType")
_VARIABLE_KEYS: Final = ("key", "value", "type")
_CONCURRENCY_KEYS: Final = (
    "maxRunningPipelineInstances",
    "pipelineMaxRunningBehavior",
    "maxRunningJobInstances",
)
_MAX_RUNNING_BEHAVIORS: Final = ("rejectNew", "preemptOldest")


class Reader(KeyReader):
    """Reads one document."""

    def definition(self, root: MapNode, positions: Mapping[str, Position]) -> Definition:
        self._jobs = 0
        self._unknown_keys(root, _TOP_KEYS, "")
        if "stages" not in root.entries:
            self._problems.add(
                "missing_key",
                "a definition needs `stages`"
                + self._problems.did_you_mean("stages", self._strangers(root, _TOP_KEYS)),
                line=root.line,
                column=root.column,
            )
        name = self._string(root, "name", "") or ""
        sources = {each.id: each for each in self._sources(root)}
        workspace = self._string(root, "defaultWorkspace", "")
        variables = tuple(self._variables(root))
        groups = self._strings(root, "variableGroups", "") or ()
        cache = self._value_of(root, "cache", "")
        concurrency = self._concurrency(root)
        stages = tuple(self._stages(root))
        return Definition(
            name=name,
            sources=sources,
            default_workspace=workspace,
            variables=variables,
            variable_groups=groups,
            cache=cache,
            concurrency=concurrency,
            stages=stages,
            positions=positions,
        )

    def _sources(self, root: MapNode) -> Iterator[Source]:
        for key, node, path in self._mappings(root, "sources", "", "source"):
            self._id(key, path, SOURCE_ID_LENGTH, "source")
            fields: dict[str, Value] = {}
            for name, (field_key, value) in node.entries.items():
                read = self._value(value, join(path, name), field_key)
                if name != "type":
                    fields[name] = read
            type_ = self._string(node, "type", path)
            if type_ is None and "type" not in node.entries:
                self._fault("missing_key", key, path, f"source `{key.text}` needs a `type`")
            yield Source(key.text, type_ or "", fields, _at(key))

    def _variables(self, root: MapNode) -> Iterator[Variable]:
        entry = self._entry(root, "variables", "")
        if entry is None:
            return
        _, node = entry
        if not isinstance(node, ListNode):
            self._wrong(node, "variables", "a list of `key` and `value` pairs")
            return
        for index, item in enumerate(node.items):
            path = f"variables[{index}]"
            self._places[path] = item
            if not isinstance(item, MapNode):
                self._wrong(item, path, "a mapping with `key` and `value`")
                continue
            self._unknown_keys(item, _VARIABLE_KEYS, path)
            key = self._string(item, "key", path)
            value = self._value_of(item, "value", path)
            type_ = self._string(item, "type", path) or "String"
            if type_ not in VARIABLE_TYPES:
                self._choice(item.entries["type"][1], join(path, "type"), type_, VARIABLE_TYPES)
            if key is None or not _VARIABLE_KEY.fullmatch(key):
                at = item.entries["key"][1] if "key" in item.entries else item
                self._fault(
                    "bad_variable",
                    at,
                    path,
                    "a variable needs a `key` of letters, digits and `_`",
                )
                continue
            yield Variable(key, value, type_, _at(item), path)

    def _concurrency(self, root: MapNode) -> Concurrency:
        written = self._free_mapping(root, "concurrencyConfig", "", _CONCURRENCY_KEYS)
        entry = root.entries.get("concurrencyConfig")
        node = entry[1] if entry is not None else None
        if not isinstance(node, MapNode):
            return Concurrency()
        path = "concurrencyConfig"
        behavior = written.get("pipelineMaxRunningBehavior")
        if behavior is not None and behavior not in _MAX_RUNNING_BEHAVIORS:
            key = "pipelineMaxRunningBehavior"
            self._choice(
                node.entries[key][1], join(path, key), as_text(behavior), _MAX_RUNNING_BEHAVIORS
            )
        return Concurrency(
            max_runs=self._count(node, "maxRunningPipelineInstances", path),
            preempts=behavior == "preemptOldest",
            max_jobs=self._count(node, "maxRunningJobInstances", path),
        )

    def _count(self, node: MapNode, key: str, path: str) -> int | None:
        value = self._value_of(node, key, path)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self._wrong(node.entries[key][1], join(path, key), "a whole number from 1")
            return None
        return value

    def _stages(self, root: MapNode) -> Iterator[Stage]:
        for key, node, path in self._mappings(root, "stages", "", "stage"):
            self._id(key, path, STAGE_ID_LENGTH, "stage")
            self._unknown_keys(node, _STAGE_KEYS, path)
            name = self._string(node, "name", path)
            if "jobs" not in node.entries:
                self._fault("missing_key", key, path, f"stage `{shorten(key.text)}` needs `jobs`")
            jobs: list[Job] = []
            for job_key, job_node, job_path in self._mappings(node, "jobs", path, "job"):
                if self._jobs == JOB_LIMIT:
                    self._fault(
                        "too_many_jobs",
                        job_key,
                        job_path,
                        f"a definition has at most {JOB_LIMIT} jobs; split it into pipelines",
                    )
                    break
                self._jobs += 1
                jobs.append(self._job(job_key, job_node, job_path))
            yield Stage(key.text, name or key.text, tuple(jobs), _at(key))

    def _job(self, key: ScalarNode, node: MapNode, path: str) -> Job:
        self._id(key, path, JOB_ID_LENGTH, "job")
        self._unknown_keys(node, _JOB_KEYS, path)
        component = self._string(node, "component", path)
        if component is None and "steps" not in node.entries:
            self._fault(
                "missing_key",
                key,
                path,
                f"job `{shorten(key.text)}` has nothing to do; give it `steps` or a `component`",
            )
        if "component" in node.entries and "steps" in node.entries:
            self._fault(
                "conflicting_keys",
                node.entries["component"][0],
                join(path, "component"),
                "a job has either `steps` or one `component`; make two jobs of it",
            )
        if "with" in node.entries and "component" not in node.entries:
            self._fault(
                "conflicting_keys",
                node.entries["with"][0],
                join(path, "with"),
                "`with` belongs to a `component` or to a step; move it into the step",
            )
        driven = self._string(node, "driven", path) or "auto"
        if driven not in ("auto", "manual"):
            self._choice(
                node.entries["driven"][1], join(path, "driven"), driven, ("auto", "manual")
            )
        steps = tuple(
            self._step(step_key, step_node, step_path)
            for step_key, step_node, step_path in self._mappings(node, "steps", path, "step")
        )
        plugins = self._value_of(node, "plugins", path)
        if plugins is not None and not isinstance(plugins, list):
            self._wrong(node.entries["plugins"][1], join(path, "plugins"), "a list")
        return Job(
            id=key.text,
            name=self._string(node, "name", path) or key.text,
            runs_on=self._runs_on(node, path),
            timeout_minutes=self._timeout(node, path),
            driven=driven,
            needs=self._strings(node, "needs", path) or (),
            condition=self._string(node, "condition", path),
            source_option=self._strings(node, "sourceOption", path),
            steps=steps,
            component=component,
            with_=self._free_mapping(node, "with", path),
            plugins=tuple(plugins) if isinstance(plugins, list) else (),
            at=_at(key),
        )

    def _step(self, key: ScalarNode, node: MapNode, path: str) -> Step:
        self._id(key, path, STEP_ID_LENGTH, "step")
        self._unknown_keys(node, _STEP_KEYS, path)
        kind = self._string(node, "step", path)
        if kind is None and "step" not in node.entries:
            self._fault(
                "missing_key",
                key,
                path,
                f"step `{shorten(key.text)}` needs `step`, the name of what it does",
            )
        return Step(
            id=key.text,
            name=self._string(node, "name", path) or key.text,
            step=kind or "",
            workspace=self._string(node, "workspace", path),
            with_=self._free_mapping(node, "with", path),
            at=_at(key),
        )

    def _runs_on(self, job: MapNode, path: str) -> RunsOn:
        entry = self._entry(job, "runsOn", path)
        if entry is None:
            return RunsOn()
        _, node = entry
        path = join(path, "runsOn")
        if isinstance(node, ScalarNode):
            return RunsOn(group=node.text)
        if isinstance(node, ListNode):
            self._wrong(node, path, "the name of a group, or a mapping")
            return RunsOn()
        self._unknown_keys(node, _RUNS_ON_KEYS, path)
        vm = self._value_of(node, "vm", path)
        if vm is not None and not isinstance(vm, bool):
            self._wrong(node.entries["vm"][1], join(path, "vm"), "true or false")
        labels = self._strings(node, "labels", path) or ()
        return RunsOn(
            group=self._string(node, "group", path),
            container=self._string(node, "container", path),
            labels=tuple(part.strip() for each in labels for part in each.split(",")),
            vm=vm is True,
            instance_type=self._string(node, "instanceType", path),
        )

    def _timeout(self, job: MapNode, path: str) -> int:
        value = self._value_of(job, "timeoutMinutes", path)
        if value is None:
            return DEFAULT_TIMEOUT_MINUTES
        node = job.entries["timeoutMinutes"][1]
        path = join(path, "timeoutMinutes")
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(node, path, "a whole number of minutes")
            return DEFAULT_TIMEOUT_MINUTES
        if not 1 <= value <= TIMEOUT_LIMIT:
            self._fault(
                "out_of_range", node, path, f"a timeout is between 1 and {TIMEOUT_LIMIT} minutes"
            )
            return DEFAULT_TIMEOUT_MINUTES
        return value


def _at(node: Node) -> Position:
    return Position(node.line, node.column)
