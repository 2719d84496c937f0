"""What a plan would change, against what the environment has."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from pipelines import definitions, runs
from pipelines.models import Artifact, Run
from promotion import built, diffs, plans, promoting, publishing
from promotion.diffs import Difference
from promotion.evidence import keeping
from promotion.models import Environment, Version
from tests.cast import Site, make_artifact, work_off
from tests.pipelines.working import job, upload, yaml
from tests.sealed import unsealed
from tests.world import nothing_changes

A, B, C = "a" * 40, "b" * 40, "c" * 40
CODE = "https://github.com/team/app.git"


def difference(environment: Environment, *versions: Version) -> tuple[Difference, ...]:
    with nothing_changes():
        return diffs.diff(plans.plan(environment, versions))


def definition(*variables: tuple[str, str]) -> str:
    """It uploads a file, and does not look at its source."""
    declared = [{"key": key, "value": value, "type": "String"} for key, value in variables]
    work = job("echo $BUILD_NUMBER > a", upload("a"), sourceOption=[])
    code = {"type": "git", "endpoint": CODE, "branch": "main"}
    return yaml({"make": work}, sources={"code": code}, variables=declared)


def built_of(site: Site, run: Run, name: str) -> Version:
    assert work_off(run).state == "succeeded", run.error
    artifact = Artifact.objects.select_related("run__pipeline", "run__revision").get(run=run)
    return publishing.publish(site.repository, "app", name, artifact, by=site.cast.ada).version


def start(site: Site, commit: str, **variables: str) -> Run:
    site.pipeline.refresh_from_db()
    return runs.start(
        site.pipeline, by=site.cast.ada, asked={"code": {"commit": commit}}, variables=variables
    )


@pytest.fixture
def revised(site: Site) -> Site:
    """The pipeline takes its code from a repository."""
    text = definition(("LEVEL", "debug"), ("API_TOKEN", "hunter2"))
    definitions.revise(site.pipeline, text, by=site.cast.ada)
    return site


# ---- Files and bytes ---------------------------------------------------------------------------
def test_the_difference_is_shown_file_by_file(site: Site) -> None:
    old = site.publish("1.0.0", files={"gone": b"1", "kept": b"2", "other": b"3"})
    new = site.publish("1.1.0", files={"kept": b"2", "new": b"4", "other": b"33"})
    site.promote(site.staging, old)
    (found,) = difference(site.staging, new)
    assert (found.replaced, found.version, found.kind) == (old, new, "upgrade")
    assert [(each.path, each.change) for each in found.files.listed.first] == [
        ("gone", "removed"),
        ("new", "added"),
        ("other", "changed"),
    ]
    assert found.files.unchanged == 1
    assert not found.has_same_bytes


def test_what_comes_for_the_first_time_is_compared_with_nothing(site: Site) -> None:
    (found,) = difference(site.staging, site.publish("1.0.0"))
    assert (found.is_first, found.kind, found.files.added) == (True, "new", 1)
    assert (found.variables.total, found.revisions) == (0, None)


def test_the_same_bytes_under_another_name_are_told(site: Site) -> None:
    same = {"app.txt": b"the same"}
    site.promote(site.staging, site.publish("1.0.0", files=same))
    (found,) = difference(site.staging, site.publish("1.0.1", files=same))
    assert found.has_same_bytes
    assert (found.files.listed.total, found.files.unchanged) == (0, 1)


# ---- Where it comes from -----------------------------------------------------------------------
def test_commits_variables_and_revisions_are_those_of_the_runs(revised: Site) -> None:
    old = built_of(revised, start(revised, A, REGION="eu"), "1.0.0")
    start(revised, B)
    work_off(revised.pipeline.runs.order_by("-number")[0])
    revised.promote(revised.staging, old)
    text = definition(("LEVEL", "info"), ("API_TOKEN", "hunter3"))
    definitions.revise(revised.pipeline, text, by=revised.cast.ada)
    new = built_of(revised, start(revised, C, REGION="us"), "1.1.0")
    (found,) = difference(revised.staging, new)
    (commit,) = found.commits
    assert (commit.source, commit.before, commit.after) == ("code", A, C)
    assert commit.compare_url == f"https://github.com/team/app/compare/{A}...{C}"
    assert [(each.run, each.commit) for each in commit.between.first] == [(2, B)]
    assert [(each.name, each.of, each.before, each.after) for each in found.variables.first] == [
        ("REGION", "run", "eu", "us"),
        ("API_TOKEN", "definition", None, None),
        ("LEVEL", "definition", "debug", "info"),
    ]
    assert found.revisions == (2, 3)
    (back,) = diffs.diff(plans.Plan(revised.staging, "rollback", {}, "", "", ((old, new),)))
    assert [(each.before, each.after) for each in back.commits] == [(C, A)]
    assert back.commits[0].compare_url.endswith(f"{A}...{C}")
    assert [each.commit for each in back.commits[0].between.first] == [B]


def published_at(site: Site, name: str, commit: str) -> Version:
    """A version of a run that another system executed at `commit`."""
    artifact = make_artifact(site.cast.ada, site.pipeline)
    with unsealed():
        Run.objects.filter(pk=artifact.run_id).update(commit=commit)
    artifact.run.refresh_from_db()
    return publishing.publish(site.repository, "app", name, artifact, by=site.cast.ada).version


def test_of_a_run_that_another_system_executed_its_commit_is_known(site: Site) -> None:
    old, new = published_at(site, "1.0.0", A), published_at(site, "1.1.0", B)
    site.promote(site.staging, old)
    (found,) = difference(site.staging, new)
    (commit,) = found.commits
    assert (commit.source, commit.before, commit.after) == ("", A, B)
    assert (commit.endpoint, commit.compare_url) == ("", "")


def test_of_many_runs_between_the_last_are_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(built, "RUNS_BETWEEN", 2)
    old = published_at(site, "1.0.0", "1" * 40)
    for number in range(2, 6):
        runs.report(site.pipeline, by=site.cast.ada, commit=str(number) * 40)
    new = published_at(site, "1.1.0", "6" * 40)
    site.promote(site.staging, old)
    (found,) = difference(site.staging, new)
    (commit,) = found.commits
    assert [each.run for each in commit.between.first] == [5, 4]
    assert [each.commit for each in commit.between.first] == ["5" * 40, "4" * 40]
    assert commit.between.left_out == 2


# ---- What is said of it ------------------------------------------------------------------------
def add_evidence(site: Site, version: Version, result: str, kind: str = "test") -> None:
    keeping.add_evidence(
        version, by=site.cast.ada, predicate_type=kind, result=result, payload={"of": version.name}
    )


def test_evidence_is_compared_by_type_and_result(site: Site) -> None:
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    add_evidence(site, old, "passed")
    site.promote(site.staging, old)
    add_evidence(site, new, "failed")
    add_evidence(site, new, "clean", kind="scan")
    (found,) = difference(site.staging, new)
    assert [(each.type, each.change, each.before, each.after) for each in found.evidence.first] == [
        ("scan", "added", (), ("clean",)),
        ("test", "changed", ("passed",), ("failed",)),
    ]


def test_a_promotion_shows_for_ever_what_was_said_when_it_was_requested(site: Site) -> None:
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    site.promote(site.staging, old)
    promotion = site.promote(site.staging, new)
    add_evidence(site, new, "failed")
    planned = plans.Plan(site.staging, promotion.kind, {}, "", "", ((new, old),))
    (then,) = diffs.diff(planned, as_of=promotion.requested_at)
    (now,) = diffs.diff(planned)
    assert (then.evidence.total, now.evidence.total) == (0, 1)


class Part:
    """What a reader of bills of materials gives."""

    name, purl = "left", ""

    def __init__(self, version: str) -> None:
        self.version, self.licences = version, ("MIT",)


def test_bills_of_materials_are_compared_up_to_a_size(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def parts(statement: Any) -> tuple[Part, ...]:
        read.append(statement.pk)
        return (Part(json.loads(statement.payload)["payload"]["of"]),)

    monkeypatch.setattr(built, "components_of", parts)
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    add_evidence(site, old, "", kind="https://cyclonedx.org/bom")
    site.promote(site.staging, old)
    add_evidence(site, new, "", kind="https://cyclonedx.org/bom")
    (found,) = difference(site.staging, new)
    assert found.components is not None
    (left,) = found.components.first
    assert (left.versions_before, left.versions_after) == (("1.0.0",), ("1.1.0",))
    assert len(read) == 2
    monkeypatch.setattr(built, "MOST_OF_BILLS", 10)
    (found,) = difference(site.staging, new)
    assert (found.components, len(read)) == (None, 2)


# ---- Bounds ------------------------------------------------------------------------------------
def queries_of(site: Site, *versions: Version) -> int:
    planned = plans.plan(site.staging, versions)
    with CaptureQueriesContext(connection) as asked:
        diffs.diff(planned)
    return len(asked)


def test_as_many_questions_are_asked_of_five_packages_as_of_one(site: Site) -> None:
    names = [f"p{number}" for number in range(5)]
    old = [site.publish("1.0.0", package=name) for name in names]
    site.promote(site.staging, *old)
    new = [site.publish("1.1.0", package=name) for name in names]
    for version in (*old, *new):
        add_evidence(site, version, "passed")
    # Their runs, the runs between, and their evidence.
    assert (queries_of(site, new[0]), queries_of(site, *new)) == (3, 3)


def test_a_plan_asks_the_same_of_five_packages_as_of_one(site: Site) -> None:
    versions = [site.publish("1.0.0", package=f"p{number}") for number in range(5)]
    counts = []
    for chosen in (versions[:1], versions):
        with CaptureQueriesContext(connection) as asked:
            plans.plan(site.staging, chosen)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_train_lists_fewer_lines_of_each_package(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffs, "FEWEST", 2)
    files = {f"{number:02}": b"x" for number in range(10)}
    versions = [site.publish("1.0.0", package=f"p{n}", files=files) for n in range(3)]
    planned = plans.plan(site.staging, versions)
    found = diffs.diff(planned, most=12)
    assert [len(each.files.listed.first) for each in found] == [4, 4, 4]
    assert [each.files.added for each in found] == [10, 10, 10]
    assert [len(each.files.listed.first) for each in diffs.diff(planned, most=3)] == [2, 2, 2]


# ---- Doors -------------------------------------------------------------------------------------
@pytest.fixture
def ada(site: Site, client: Client) -> Client:
    client.force_login(site.cast.ada)
    return client


def test_the_page_of_a_plan_shows_what_would_differ(site: Site, ada: Client) -> None:
    site.promote(site.staging, site.publish("1.0.0", files={"bin/app": b"one"}))
    new = site.publish("1.1.0", files={"bin/app": b"second"})
    with nothing_changes():
        page = ada.get(f"/promotions/new/?environment=staging&version={new.pk}").content.decode()
    assert "What would differ" in page
    assert "1 file changed" in page
    assert "bin/app" in page


def test_a_promotion_goes_on_showing_what_it_changed(site: Site, ada: Client) -> None:
    site.promote(site.staging, site.publish("1.0.0", files={"one.txt": b"one"}))
    second = site.promote(site.staging, site.publish("1.1.0", files={"two.txt": b"two"}))
    site.promote(site.staging, site.publish("1.2.0", files={"three.txt": b"three"}))
    page = ada.get(f"/promotions/{second.pk}/").content.decode()
    assert "1 file added · 1 file removed" in page
    assert ("one.txt" in page, "two.txt" in page, "three.txt" in page) == (True, True, False)


def test_the_words_fit_first_placements_rollbacks_and_same_bytes(site: Site, ada: Client) -> None:
    same = {"a": b"1"}
    one, two = site.publish("1.0.0", files=same), site.publish("1.1.0", files=same)
    three = site.publish("1.2.0", files={"a": b"2"})
    said = []
    for version in (one, two, three):
        address = f"/promotions/new/?environment=staging&version={version.pk}"
        said.append(ada.get(address).content.decode())
        site.promote(site.staging, version)
    assert "First time in staging: there is nothing to compare it with." in said[0]
    assert "Nothing but metadata changes: 1.1.0 holds the very same bytes as 1.0.0" in said[1]
    assert "metadata" not in said[2]
    back = promoting.roll_back(site.staging, one.package, by=site.cast.ada, to=two)
    page = ada.get(f"/promotions/{back.pk}/").content.decode()
    assert "This goes back from 1.2.0 to 1.1.0." in page


def test_a_value_that_is_named_like_a_secret_is_on_no_page(revised: Site, client: Client) -> None:
    client.force_login(revised.cast.ada)
    old = built_of(revised, start(revised, A, DEPLOY_TOKEN="hunter4"), "1.0.0")
    revised.promote(revised.staging, old)
    new = built_of(revised, start(revised, C, DEPLOY_TOKEN="hunter5"), "1.1.0")
    address = f"/promotions/new/?environment=staging&version={new.pk}"
    page = client.get(address).content.decode()
    assert "DEPLOY_TOKEN" in page
    assert "hunter" not in page
