"""Image sources: a tag of a real registry is pinned to a digest, and stays it."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import override_settings

from pipelines import images, runs
from pipelines.errors import Invalid
from pipelines.flow.document import Position, Source
from pipelines.models import ExecutionState, Run
from tests.cast import Site, work_off
from tests.parts import registry as parts
from tests.parts.registry import PASSWORD, USER
from tests.pipelines.connected import connect
from tests.pipelines.working import job, log_of, said, started, yaml

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

S = ExecutionState


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)):
        yield


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with parts.server(password=True) as address:
        yield address


@pytest.fixture
def reg(site: Site, guarded: str) -> str:
    connect(site, "reg", "registry", {"password": PASSWORD}, host=guarded, username=USER)
    return guarded


def push(address: str, repository: str, *tags: str, content: bytes = b"") -> str:
    return parts.push_image(address, repository, *tags, content=content, password=True)


def run_of(site: Site, script: str = "true", asked: Any = None, **fields: Any) -> Run:
    source = {"type": "acr", "serviceConnection": "reg", **fields}
    definition = yaml({"only": job(script)}, sources={"img": source})
    return started(site, definition, asked={"img": asked} if asked else {})


def worked(site: Site, script: str = "true", asked: Any = None, **fields: Any) -> Run:
    return work_off(run_of(site, script, asked, **fields))


# ---- Pinned --------------------------------------------------------------------------------------
def test_a_tag_is_pinned_to_its_digest_and_does_not_move_under_the_run(
    site: Site, reg: str
) -> None:
    one = push(reg, "team/app", "1.0", content=b"one")
    script = "echo $[sources.img]; echo $[sources.img.dockerTag] $[sources.img.digest]"
    run = run_of(site, script, namespace="team", imageRepo="app", imageTag="1.0")
    runs.begin(run.pk)
    two = push(reg, "team/app", "1.0", content=b"two")
    run = work_off(run)
    assert run.state == S.SUCCEEDED, run.error or log_of(run)
    image = f"{reg}/team/app:1.0"
    assert said(run) == [f"{image}@{one}", f"1.0 {one}"]
    assert run.sources["img"]["why"] == "the digest of the tag 1.0, named by the definition"
    assert f"uses {image}@{one}" in log_of(run)
    assert PASSWORD not in log_of(run) + str(run.sources)
    again = work_off(runs.start(run.pipeline, by=site.cast.ada))
    assert said(again)[0] == f"{image}@{two}"


def test_the_callers_tag_stands_before_the_definitions(site: Site, reg: str) -> None:
    two = push(reg, "team/named", "2.0", content=b"two")
    run = worked(site, asked={"version": "2.0"}, imageRepo="team/named", imageTag="1.0")
    assert run.state == S.SUCCEEDED, run.error
    assert run.sources["img"]["image"] == f"{reg}/team/named:2.0@{two}"
    assert run.sources["img"]["why"] == "the digest of the tag 2.0, named for this run"


def test_the_highest_tag_that_the_filter_allows_is_taken(site: Site, reg: str) -> None:
    for tag in ("1.2", "1.9", "1.10", "2.0-rc1", "latest", "1.10-beta"):
        push(reg, "team/many", tag, content=tag.encode())
    run = worked(site, imageRepo="team/many", versionFilter=r"\d+\.\d+")
    assert run.state == S.SUCCEEDED, run.error
    assert run.sources["img"]["version"] == "1.10"
    assert "the highest that versionFilter" in run.sources["img"]["why"]


def test_any_registry_may_be_named_by_its_host(site: Site, reg: str) -> None:
    one = push(reg, "team/hosted", "1")
    run = worked(site, imageRepo=f"{reg}/team/hosted", imageTag="1")
    assert run.state == S.SUCCEEDED, run.error
    assert run.sources["img"]["digest"] == one


# ---- Refused before any step ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"imageTag": "nope"}, "has no tag “nope”. It has: 1.0."),
        ({"imageTag": "1.0", "imageRepo": "team/none"}, "has no repository “team/none”"),
        ({}, "name the tag for this run"),
        ({"versionFilter": r"v.*"}, "allows none of the tags. There are: 1.0."),
        ({"versionFilter": r"v.*", "imageTag": "1.0"}, "does not allow the tag “1.0”"),
        ({"imageTag": "1.0", "imageRepo": "Team/App"}, "is not the name of an image"),
        ({"imageTag": "a b", "imageRepo": "team/refused"}, "is not the name of an image"),
        ({"imageTag": "1", "imageRepo": "team/refused:1"}, "has a tag"),
        ({"imageTag": "1", "imageRepo": "127.0.0.2:1/x"}, "is not sent to 127.0.0.2:1"),
        ({"imageTag": "1", "serviceConnection": "other"}, "There is no service connection"),
        ({"imageTag": "1", "serviceConnection": ""}, "names no registry"),
    ],
)
def test_an_image_that_cannot_be_pinned_breaks_the_run_with_what_to_do(
    site: Site, reg: str, fields: dict[str, str], says: str
) -> None:
    push(reg, "team/refused", "1.0")
    run = worked(site, "echo begun", **{"imageRepo": "team/refused", **fields})
    assert run.state == S.ERRORED
    assert says in run.error
    assert run.jobs.get().state == S.CANCELLED
    assert PASSWORD not in run.error


def test_a_wrong_password_breaks_the_run_and_is_not_shown(site: Site, guarded: str) -> None:
    connect(site, "reg", "registry", {"password": "a wrong one"}, host=guarded, username=USER)
    run = worked(site, imageRepo="team/app", imageTag="1.0")
    assert run.state == S.ERRORED
    assert f"{guarded} does not take the credentials of “{USER}”" in run.error
    assert "a wrong one" not in run.error


def test_a_filter_that_searches_for_ever_is_stopped(site: Site, reg: str) -> None:
    push(reg, "team/slow", "a" * 100)
    run = worked(site, imageRepo="team/slow", versionFilter="(a+)+b")
    assert run.state == S.ERRORED
    assert "versionFilter cannot be used: it takes too long to match" in run.error


# ---- Names ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (
            {"region": "cn-hangzhou", "namespace": "team", "imageRepo": "app"},
            "registry.cn-hangzhou.aliyuncs.com/team/app",
        ),
        (
            {"region": "cn-x", "instance": "mine", "namespace": "team", "imageRepo": "app"},
            "mine-registry.cn-x.cr.aliyuncs.com/team/app",
        ),
        ({"imageRepo": "ghcr.io/team/app"}, "ghcr.io/team/app"),
        ({"imageRepo": "docker.io/alpine"}, "docker.io/library/alpine"),
    ],
)
def test_an_image_has_its_registry_by_region_or_by_host(fields: dict[str, Any], name: str) -> None:
    source = Source("img", "acr", fields, Position(1, 1))
    assert str(images._name(source, "")) == name


def test_a_source_that_names_no_registry_is_refused() -> None:
    source = Source("img", "acr", {"imageRepo": "team/app"}, Position(1, 1))
    with pytest.raises(Invalid, match="Write its host in front of it"):
        images._name(source, "")
