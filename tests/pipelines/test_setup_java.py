"""SetupJava: what the worker has comes onto the path, and what it has not is named."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from pipelines.models import ExecutionState
from pipelines.steps import setup_java
from tests.cast import Site
from tests.parts import java
from tests.pipelines.working import log_of, one_job, said

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState


@pytest.fixture
def tools(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with JDKs 1.8, 11.0 and 17, and Mavens 3.5.2 and 3.9.1."""
    folder = open_to_all(tmp_path_factory.mktemp("tools"))
    for version in ("1.8.0_392", "11.0.22", "17.0.15"):
        java.jdk(folder, version)
    for version in ("3.5.2", "3.9.1"):
        java.maven(folder, version)
    monkeypatch.setattr(setup_java, "JDK_FOLDERS", (str(folder),))
    monkeypatch.setattr(setup_java, "MAVEN_FOLDERS", (str(folder),))
    return folder


def open_to_all(folder: Path) -> Path:
    """The job's own user must get to it where the tests run as root."""
    for each in (folder, *folder.parents[:3]):
        each.chmod(each.stat().st_mode | 0o011)
    folder.chmod(0o755)
    return folder


def set_up(**with_: Any) -> dict[str, Any]:
    return {"step": "SetupJava", "with": with_}


@pytest.fixture(autouse=True)
def no_mapping() -> Iterator[None]:
    with override_settings(JDKS={}, MAVENS={}):
        yield


@pytest.mark.parametrize(
    ("asked", "found"),
    [("1.8", "1.8.0_392"), ("8", "1.8.0_392"), ("11", "11.0.22"), ("17.0", "17.0.15")],
)
def test_a_jdk_is_found_by_its_feature_release(
    site: Site, tools: Path, asked: str, found: str
) -> None:
    run = one_job(site, set_up(jdkVersion=asked), 'echo "$JAVA_HOME"; command -v java')
    home = tools / f"jdk-{found}"
    assert run.state == S.SUCCEEDED, log_of(run)
    assert said(run) == [str(home), str(home / "bin" / "java")]


@pytest.mark.parametrize(("asked", "found"), [("3.5.2", "3.5.2"), ("3.6", "3.9.1")])
def test_a_maven_may_be_newer_but_not_older(
    site: Site, tools: Path, asked: str, found: str
) -> None:
    run = one_job(site, set_up(mavenVersion=asked), "command -v mvn")
    assert said(run) == [str(tools / f"apache-maven-{found}" / "bin" / "mvn")]


def test_without_a_fitting_maven_the_log_says_so(site: Site, tools: Path) -> None:
    run = one_job(site, set_up(mavenVersion="4.0"), 'echo "${M2_HOME:-none}"')
    assert said(run) == ["none"]
    assert "no Maven 4.0 or newer" in log_of(run)


def test_a_jdk_that_is_not_there_fails_and_names_those_that_are(site: Site, tools: Path) -> None:
    run = one_job(site, set_up(jdkVersion="21"), "echo never")
    assert run.state == S.FAILED
    assert "no JDK 21. It has: 1.8.0_392, 11.0.22, 17.0.15." in run.error
    assert "SLUICE_JDKS=21=" in run.error


def test_an_operator_may_say_where_a_version_is(site: Site, tools: Path) -> None:
    elsewhere = str(tools / "jdk-17.0.15")
    with override_settings(JDKS={"1.8": elsewhere}, MAVENS={"3.5.2": str(tools)}):
        run = one_job(site, set_up(), 'echo "$JAVA_HOME $M2_HOME"')
    assert said(run) == [f"{elsewhere} {tools}"]


def test_a_place_that_an_operator_named_and_that_is_empty_is_said(site: Site, tools: Path) -> None:
    with override_settings(JDKS={"1.8": "/nowhere"}):
        run = one_job(site, set_up(), "echo never")
    assert "SLUICE_JDKS says that JDK 1.8 is in /nowhere, and it is not" in run.error
