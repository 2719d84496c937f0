"""The files for GitHub, GitLab and Jenkins: the documentation shows them, and they work."""

import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from pipelines import definitions
from pipelines.flow.document import Definition
from pipelines.models import Pipeline, Run
from tests.cast import Site
from tests.other_ci.building import (
    BROKEN,
    DIGEST,
    EXAMPLES,
    Build,
    GitHub,
    checked_out,
    read,
    run_gitlab,
)

DOCUMENT = (Path(settings.BASE_DIR) / "docs" / "other-ci.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
SHOWN = {"github.yml": "yaml", "gitlab-ci.yml": "yaml", "Jenkinsfile": "groovy"}
AT = {"gitlab": "ci/sluice.sh", "github": ".github/actions/sluice/sluice.sh"}


def reported(state: str, artifacts: set[str]) -> Run:
    run = Run.objects.get()
    assert (run.state, run.commit) == (state, "c0ffee")
    assert set(run.artifacts.values_list("name", flat=True)) == artifacts
    return run


# ---- The documentation ---------------------------------------------------------------------------
@pytest.mark.parametrize("name", SHOWN)
def test_the_documentation_shows_the_very_file(name: str) -> None:
    assert (SHOWN[name], (EXAMPLES / name).read_text()) in BLOCKS


def test_the_documented_call_makes_a_pipeline_that_knows_what_is_reported(build: Build) -> None:
    Pipeline.objects.filter(slug="app").update(slug="other")
    (call,) = [text for kind, text in BLOCKS if kind == "sh" and "/api/v1/pipelines/" in text]
    address = "https://sluice.example.com"
    assert address in call
    made = build.script(call.replace(address, build.url), SLUICE_TOKEN=build.token)
    assert made.status == 0, made
    pipeline = Pipeline.objects.select_related("revision").get(slug="app")
    assert pipeline.revision is not None
    shown = definitions.check((EXAMPLES / "pipeline.yaml").read_text()).definition
    assert shown is not None
    assert places(definitions.definition_of(pipeline.revision)) == places(shown)


def places(definition: Definition) -> list[tuple[object, ...]]:
    return [
        (stage.id, job.id, step.id, step.step, step.with_)
        for stage in definition.stages
        for job in stage.jobs
        for step in job.steps
    ]


# ---- Every block is a shell's --------------------------------------------------------------------
def blocks() -> dict[str, str]:
    github, gitlab = read("github.yml"), read("gitlab-ci.yml")["build"]
    steps = [*github["jobs"]["build"]["steps"], *read("action.yml")["runs"]["steps"]]
    jenkins = re.findall(r"^ *sh '(.*?)'", (EXAMPLES / "Jenkinsfile").read_text(), re.MULTILINE)
    return {
        **{f"github {index}": step["run"] for index, step in enumerate(steps) if "run" in step},
        **{
            f"gitlab {part}": "\n".join(gitlab[part])
            for part in ("before_script", "script", "after_script")
        },
        **{f"jenkins {index}": text for index, text in enumerate(jenkins)},
        "the script": (EXAMPLES / "sluice.sh").read_text(),
    }


@pytest.mark.parametrize("name", blocks())
def test_a_block_is_shell(name: str) -> None:
    checked = subprocess.run(
        ["sh", "-n"], input=blocks()[name], text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_action_pastes_no_input_into_its_script() -> None:
    assert [step for step in read("action.yml")["runs"]["steps"] if "${{" in step["run"]] == []


# ---- They work -----------------------------------------------------------------------------------
def test_gitlab_reports_a_build(build: Build) -> None:
    assert run_gitlab(checked_out(build, AT["gitlab"])) == "success"
    run = reported("succeeded", {"app", "image"})
    assert run.url == "https://gitlab.example.com/shop/app/-/jobs/77"


def test_gitlab_reports_a_build_that_fails(build: Build) -> None:
    assert run_gitlab(checked_out(build, AT["gitlab"], makefile=BROKEN)) == "failed"
    reported("failed", set())


def test_github_reports_a_build(build: Build) -> None:
    assert GitHub(checked_out(build, AT["github"])).run() == "success"
    run = reported("succeeded", {"app", "image"})
    assert run.url == "https://github.example.com/shop/app/actions/runs/5"
    image = run.artifacts.get(name="image")
    assert image.image.endswith(f"@{DIGEST}")
    assert image.reference == "$[stages.build.build.push.artifacts.image]"


def test_github_reports_a_build_that_fails(build: Build) -> None:
    assert GitHub(checked_out(build, AT["github"], makefile=BROKEN)).run() == "failure"
    reported("failed", set())


def test_github_ends_nothing_that_did_not_begin(build: Build, site: Site) -> None:
    build.token = "sluice_0123456789"
    github = GitHub(checked_out(build, AT["github"]))
    assert github.run() == "failure"
    assert not Run.objects.exists()
    assert set(github.steps) == {"sluice"}


def test_the_action_expands_patterns_and_keeps_names_with_spaces(build: Build) -> None:
    github = GitHub(checked_out(build, AT["github"]))
    (upload,) = [
        step
        for step in github.workflow["jobs"]["build"]["steps"]
        if step.get("with", {}).get("do") == "upload"
    ]
    upload["with"]["files"] = "dist/*.txt\nMakefile\nno; touch harm\n"
    build.write("no; touch harm")
    assert github.run() == "success"
    paths = reported("succeeded", {"app", "image"}).artifacts.get(name="app").files
    assert set(paths.values_list("path", flat=True)) == {
        "the app.txt",
        "Makefile",
        "no; touch harm",
    }
    assert not (build.folder / "harm").exists()


def test_jenkins_calls_what_works(build: Build) -> None:
    """There is no Jenkins here; its shell lines are run in their order."""
    checked_out(build, AT["gitlab"])
    text = (EXAMPLES / "Jenkinsfile").read_text()
    image = re.search(r"IMAGE = '(.*)'", text)
    assert image
    build.more |= {"IMAGE": image[1], "BUILD_TAG": "jenkins-app-1", "GIT_COMMIT": "c0ffee"}
    assert text.count("{") == text.count("}")
    assert text.index("post {") > text.rindex("stage(")
    for line in re.findall(r"^ *sh '(.*?)'", text, re.MULTILINE):
        done = build.script(line, STATUS="SUCCESS")
        assert done.status == 0, done
    reported("succeeded", {"app", "image"})
