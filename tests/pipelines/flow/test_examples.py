"""The three documented ways to refer to an artifact, whole."""

import pytest

from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import check, effective_needs
from pipelines.flow.conditions import parse_condition
from pipelines.flow.parser import parse
from pipelines.flow.schema import SourceSchema, StepSchema

from .documents import (
    ACROSS_PIPELINES,
    ACROSS_STAGES,
    SAME_STAGE,
    builder,
    checked,
    codes,
    errors,
)


def test_a_reference_within_a_stage_resolves_and_implies_that_the_job_waits() -> None:
    report = checked(SAME_STAGE)
    assert report.valid and report.problems == ()
    (reference,) = report.references
    assert reference.target == "stages.ship.image_job.build_image.artifacts.shop-image"
    assert reference.artifact_type == "dockerImage"
    written = SAME_STAGE.splitlines()[reference.line - 1][reference.column - 1 :]
    assert written == reference.text
    assert report.definition is not None
    stage = report.definition.stage("ship")
    assert stage is not None
    assert [effective_needs(stage, job) for job in stage.jobs] == [(), ("image_job",)]
    assert [job.needs for job in stage.jobs] == [(), ()]


def test_a_reference_across_stages_resolves_by_the_default_name() -> None:
    report = checked(ACROSS_STAGES)
    assert report.valid and report.problems == ()
    (reference,) = report.references
    assert reference.target == "stages.build_stage.build_job.upload_step.artifacts.default"
    assert reference.artifact_type == "flowPublic"
    assert reference.path == "stages.deploy_stage.jobs.deploy_job.with.artifact"


def test_a_reference_across_pipelines_resolves_in_the_other_definition() -> None:
    report = checked(ACROSS_PIPELINES)
    assert report.valid and report.problems == ()
    (reference,) = report.references
    assert reference.kind == "pipeline"
    assert reference.pipeline == "builder01"
    assert reference.target == "sources.up.stages.ship.image_job.build_image.artifacts.shop-image"


def test_the_builder_itself_only_hints_that_its_image_is_used_elsewhere() -> None:
    text = SAME_STAGE.replace("$[jobs.image_job.build_image.artifacts.shop-image]", "x")
    report = checked(text)
    assert report.valid
    assert codes(report) == ["unused_artifact"]


def test_without_the_other_pipeline_the_source_is_at_fault() -> None:
    report = check(ACROSS_PIPELINES, LANGUAGE)
    (problem,) = report.problems
    assert (problem.code, problem.line, problem.column) == ("unknown_pipeline", 5, 19)
    assert report.references[0].target is None


@pytest.mark.parametrize("text", [SAME_STAGE, ACROSS_STAGES, ACROSS_PIPELINES])
def test_a_report_is_the_same_every_time_and_for_bytes(text: str) -> None:
    once = check(text, LANGUAGE, builder)
    assert check(text, LANGUAGE, builder) == once
    assert check(text.encode(), LANGUAGE, builder) == once
    assert check(text.replace("\n", "\r\n"), LANGUAGE, builder).problems == once.problems
    assert check(parse(text), LANGUAGE, builder) == once


@pytest.mark.parametrize("each", list(LANGUAGE.steps.values()), ids=lambda each: each.name)
def test_the_example_of_every_step_checks_without_error(each: StepSchema) -> None:
    work = each.example.replace("\n", "\n            ")
    if each.kind == "component":
        job = f"        {each.example}".replace("\n", "\n        ")
    else:
        job = f"        steps:\n          one:\n            {work}"
    text = (
        "stages:\n"
        "  build:\n"
        "    jobs:\n"
        "      compile:\n"
        "        steps:\n"
        "          upload: {step: ArtifactUpload, with: {filePath: out}}\n"
        "  ship:\n"
        "    jobs:\n"
        "      build:\n"
        "        steps:\n"
        "          push: {step: DockerBuildPush, with: {artifact: my_image, image: x}}\n"
        "      work:\n" + job
    )
    report = checked(text)
    assert errors(report) == []
    assert [each.severity for each in report.problems if each.severity == "warning"] == []


@pytest.mark.parametrize("each", list(LANGUAGE.sources.values()), ids=lambda each: each.type)
def test_the_example_of_every_source_checks_without_error(each: SourceSchema) -> None:
    body = each.example.replace("\n", "\n    ").replace("n86bexample", "builder01")
    text = (
        f"sources:\n  one:\n    {body}\nstages:\n  a:\n    jobs:\n      b:\n        steps:\n"
        "          c: {step: Command, with: {run: make}}\n"
    )
    assert checked(text).problems == ()


def test_everything_a_job_may_say_is_read() -> None:
    report = checked(
        """\
        name: all of it
        sources:
          app: {type: git, endpoint: https://x/app, triggerEvents: [push, tagPush]}
          lib: {type: git, endpoint: https://x/lib, triggerEvents: push, branch: 1.10}
        defaultWorkspace: app
        variables:
          - {key: COLOUR, value: red}
          - {key: COUNT, value: 3, type: Number}
        variableGroups: [one, two]
        cache: {paths: [.m2]}
        concurrencyConfig:
          maxRunningPipelineInstances: 1
          pipelineMaxRunningBehavior: preemptOldest
        stages:
          s:
            jobs:
              first:
                runsOn: public/eu
                steps:
                  c: {name: C, step: Command, workspace: lib, with: {run: make}}
              second:
                runsOn:
                  group: private/x
                  labels: linux, amd64
                  vm: true
                  instanceType: SMALL
                timeoutMinutes: 10
                driven: manual
                needs: first
                condition: succeed(first) && "${COLOUR}" != "blue"
                sourceOption: []
                plugins:
                  - plugin: Mail
                component: ManualValidate
                with: {validatorUsers: [ada]}
        """
    )
    assert report.problems == ()
    definition = report.definition
    assert definition is not None
    assert definition.name == "all of it"
    assert definition.default_workspace == "app"
    assert [(v.key, v.value, v.type) for v in definition.variables] == [
        ("COLOUR", "red", "String"),
        ("COUNT", 3, "Number"),
    ]
    assert definition.variable_groups == ("one", "two")
    assert definition.concurrency.max_runs == 1
    assert definition.sources["lib"].fields["branch"] == "1.10"
    assert definition.sources["lib"].name == "lib"
    first, second = definition.stages[0].jobs
    assert first.runs_on.group == "public/eu"
    assert first.timeout_minutes == 240 and first.source_option is None
    assert first.steps[0].workspace == "lib"
    assert second.runs_on.labels == ("linux", "amd64") and second.runs_on.vm
    assert second.runs_on.instance_type == "SMALL"
    assert (second.timeout_minutes, second.driven, second.needs) == (10, "manual", ("first",))
    assert second.source_option == ()
    assert second.component == "ManualValidate"
    assert second.plugins == ({"plugin": "Mail"},)
    assert second.condition is not None and parse_condition(second.condition).jobs
    assert definition.job("s", "second") is second
    assert definition.job("s", "third") is None and definition.job("t", "first") is None


def test_old_spellings_of_an_upload_are_read() -> None:
    report = checked(
        """\
        stages:
          s:
            jobs:
              j:
                steps:
                  up: {step: ArtifactUpload, with: {type: packages, path: out, version: 1.10}}
        """
    )
    assert report.problems == ()
    assert report.definition is not None
    step = report.definition.stages[0].jobs[0].steps[0]
    schema = LANGUAGE.steps["ArtifactUpload"]
    arguments = schema.arguments(step.with_)
    assert arguments["filePath"] == ["out"] and arguments["version"] == "1.10"
    assert schema.made_type(step.with_) == "packages"
    assert schema.artifact_name(step.with_) == "Artifacts_${PIPELINE_ID}"
