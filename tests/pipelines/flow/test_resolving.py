"""What references lead to where the answer is not simply yes or no."""

import pytest

from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import Report, check
from pipelines.flow.parser import parse

from .documents import checked, codes, errors

NAMED = """\
variables: [{key: APP, value: shop}]
sources:
  own: {type: flowPipeline, flowPipeline: me}
  pack: {type: packages, repo: r, artifact: a, environment: staging}
  image: {type: acr, imageRepo: app}
stages:
  build:
    jobs:
      make:
        steps:
          up: {step: ArtifactUpload, with: {artifact: "%s", filePath: out}}
          odd: {step: Nothing}
      gate: {component: ManualValidate, with: {validatorUsers: [ada]}}
  ship:
    jobs:
      use:
        steps:
          show: {step: Command, with: {run: "%s"}}
"""


def using(name: str, reference: str, pipeline_id: str | None = None) -> Report:
    text = NAMED % (name, reference)
    own = parse(text).definition
    return check(text, LANGUAGE, {"me": own, "other": own}.get, pipeline_id)


def about(report: Report) -> list[str]:
    return [code for code in codes(report) if code not in ("unknown_step", "unused_artifact")]


UP = "$[stages.build.make.up.artifacts."


@pytest.mark.parametrize(
    ("name", "artifact", "expected"),
    [
        ("${APP}-app", "${APP}-app", []),
        ("${APP}-app", "shop-app", []),
        ("shop-app", "${APP}-app", []),
        ("${APP}-app", "store-app", ["unknown_artifact"]),
        ("Artifacts_${PIPELINE_ID}", "Artifacts_${PIPELINE_ID}", []),
        ("Artifacts_${PIPELINE_ID}", "default", []),
        ("Artifacts_${PIPELINE_ID}", "Artifacts_x", ["dynamic_reference"]),
        ("Artifacts_${PIPELINE_ID}", "app", ["unknown_artifact"]),
        ("app-1.0", "app-1.0.downloadUrl", []),
    ],
)
def test_names_with_variables_are_compared_as_far_as_they_are_known(
    name: str, artifact: str, expected: list[str]
) -> None:
    assert about(using(name, f"{UP}{artifact}]")) == expected


def test_a_known_pipeline_id_decides_the_name() -> None:
    assert about(using("A_${PIPELINE_ID}", f"{UP}A_me]", "me")) == []
    assert about(using("A_${PIPELINE_ID}", f"{UP}A_you]", "me")) == ["unknown_artifact"]


def test_the_variables_of_another_pipeline_are_its_own() -> None:
    there = "$[sources.own.stages.build.make.up.artifacts.A_${PIPELINE_ID}]"
    assert about(using("A_${PIPELINE_ID}", there, "other")) == ["unknown_artifact"]
    assert about(using("A_${PIPELINE_ID}", there, "me")) == []


def test_a_pipeline_may_refer_to_its_own_earlier_run() -> None:
    report = using("app", "$[sources.own.stages.ship.use.show.artifacts.x]", "me")
    assert about(report) == ["makes_no_artifact"]
    report = using("app", "$[sources.own.stages.build.make.up.artifacts.app]", "me")
    assert report.references[0].target == "sources.own.stages.build.make.up.artifacts.app"


@pytest.mark.parametrize(
    ("reference", "code", "part"),
    [
        ("$[jobs.make.up.artifacts.app]", "unknown_job", "`$[stages.build.make.up.artifacts.app]`"),
        ("$[stages.build.gate.x.artifacts.y]", "unknown_step_id", "component `ManualValidate`"),
        ("$[jobs.use.show.artifacts.y]", "makes_no_artifact", "`Command`"),
        ("$[sources.own.stages.biuld.make.up.artifacts.app]", "unknown_stage", "pipeline `me`"),
        ("$[sources.pack.dockerUrl]", "wrong_property", "`packages`"),
        ("$[sources.image.downloadUrl]", "wrong_property", "`dockerUrl`"),
    ],
)
def test_the_first_hop_that_fails_is_told_with_a_way_out(
    reference: str, code: str, part: str
) -> None:
    (found,) = [p for p in errors(using("app", reference)) if p.code != "unknown_step"]
    assert found.code == code
    assert part in found.message


@pytest.mark.parametrize(
    ("reference", "target", "type_"),
    [
        ("$[sources.pack]", "sources.pack", "packages"),
        ("$[sources.pack.version]", "sources.pack", "packages"),
        ("$[sources.image.dockerUrl]", "sources.image", "dockerImage"),
        ("$[stages.build.make.odd.artifacts.x]", "stages.build.make.odd.artifacts.x", None),
    ],
)
def test_a_reference_leads_to_its_target(reference: str, target: str, type_: str | None) -> None:
    report = using("app", reference)
    assert about(report) == []
    assert (report.references[0].target, report.references[0].artifact_type) == (target, type_)


def test_a_reference_that_may_lead_anywhere_silences_the_hint_of_no_use() -> None:
    report = using("app", "$[stages.build.${WHICH}.up.artifacts.app]")
    assert codes(report) == ["unknown_step", "dynamic_reference"]


def test_variables_of_scripts_groups_and_outputs_are_not_called_unknown() -> None:
    head = "stages:\n  s:\n    jobs:\n      j:\n        steps:\n"
    script = "          a: {step: Command, with: {run: 'for f in ${FILES}; do echo T=1; done%s'}}\n"
    image = "          b: {step: KubectlApply, with: {kubernetesCluster: c, yamlPath: '${T}'}}\n"
    assert codes(checked(head + script % "" + image)) == ["unknown_variable"]
    assert codes(checked(head + script % " >> $FLOW_ENV" + image)) == []
    assert codes(checked("variableGroups: [g]\n" + head + script % "" + image)) == []
