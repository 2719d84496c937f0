"""What is not there, or not there: another's object under one's own address."""

import pytest

from pipelines import artifacts, blobs, runs
from promotion import publishing
from tests.api.caller import problem
from tests.api.calls import CALLS, WITH_BODY, Call
from tests.api.conftest import People, Things
from tests.cast import make_artifact, make_pipeline

pytestmark = pytest.mark.door

NO_NUMBER = {
    *("affected", "number", "artifact", "promotion", "selection", "upload", "file", "part"),
    *("evidence", "notice", "hold"),
}


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


@pytest.mark.parametrize(
    ("call", "name"),
    [(call, name) for call in CALLS for name in _names(call.path)],
    ids=str,
)
def test_what_the_address_names_must_be_there(
    call: Call, name: str, people: People, things: Things
) -> None:
    who = people.of("ada" if "ada" in call.may else sorted(call.may)[0])
    if (call.method, call.path.rsplit("/", 2)[-2], name) == ("POST", "versions", "package"):
        # Publishing makes the package; only its repository must be there.
        return
    for unknown in ["0", "99999999", "9" * 40] if name in NO_NUMBER else ["nothing", "a b", "ü"]:
        url = call.url(things, **{name: unknown})
        if name == "number" and len(unknown) > 9:
            who.refused(call.method, url, call.data(things), status=400, code="bad_request")
        else:
            who.refused(
                call.method, url, call.data(things), content_type=call.form,
                status=404, code="not_found",
            )  # fmt: skip


@pytest.mark.parametrize("call", [each for each in CALLS if _names(each.path)], ids=str)
def test_nul_in_an_address_is_nothing_that_could_be_found(
    call: Call, people: People, things: Things
) -> None:
    who = people.of("ada" if "ada" in call.may else sorted(call.may)[0])
    for name in set(_names(call.path)) - NO_NUMBER:
        url = call.url(things, **{name: "a%00b"})
        who.refused(
            call.method, url, call.data(things), content_type=call.form,
            status=404, code="not_found",
        )  # fmt: skip


def test_another_repositorys_version_is_not_under_this_one(people: People, things: Things) -> None:
    site = things.site
    publishing.create_repository("other", by=site.cast.ada)
    for path in ("", "download/", "files/readme.txt"):
        people.ada.refused(
            "GET",
            f"repositories/other/packages/app/versions/1.0.0/{path}",
            status=404,
            code="not_found",
        )
    people.ben.refused(
        "POST",
        "repositories/other/packages/app/versions/1.0.0/recall/",
        {"reason": "Not mine."},
        status=404,
        code="not_found",
    )


def test_another_packages_version_is_not_under_this_one(people: People, things: Things) -> None:
    things.site.publish("7.0.0", package="tool")
    people.ada.get("repositories/apps/packages/tool/versions/7.0.0/")
    for path in ("7.0.0/", "7.0.0/download/", "7.0.0/files/app.txt"):
        people.ada.refused(
            "GET", f"repositories/apps/packages/app/versions/{path}", status=404, code="not_found"
        )


def test_another_versions_file_is_not_under_this_one(people: People, things: Things) -> None:
    people.ada.refused(
        "GET",
        "repositories/apps/packages/app/versions/1.1.0/files/readme.txt",
        status=404,
        code="not_found",
    )


def test_another_pipelines_run_job_and_artifacts_are_not_under_this_one(
    people: People, things: Things
) -> None:
    other = make_pipeline(things.site.cast.ada, "other")
    number = things.external.number
    for path in ("", "artifacts/", "resolve/?reference=$[stages.a.b.c.artifacts.default]"):
        people.ada.refused(
            "GET", f"pipelines/other/runs/{number}/{path}", status=404, code="not_found"
        )
    run = runs.start(other, by=things.site.cast.ada)
    for path, method in (("log/", "GET"), ("pass/", "POST"), ("refuse/", "POST")):
        people.ada.refused(
            method,
            f"pipelines/other/runs/{run.number}/jobs/gate_stage/gate_job/{path}",
            status=404,
            code="not_found",
        )


def test_a_reference_finds_nothing_of_another_run(people: People, things: Things) -> None:
    place = artifacts.Place("build", "build", "other_step")
    run = runs.report(things.site.pipeline, by=things.site.cast.ada)
    other = artifacts.report_image(
        run, place, "elsewhere", things.image.image, "", by=things.site.cast.ada
    )
    path = f"pipelines/app/runs/{things.external.number}/resolve/"
    people.ada.refused(
        "GET", f"{path}?reference={other.reference}", status=422, code="unresolved_reference"
    )


def test_a_replacement_must_be_another_version_of_the_same_package(
    people: People, things: Things
) -> None:
    things.site.publish("7.0.0", package="tool")
    path = "repositories/apps/packages/app/versions/1.0.0/recall/"
    body = {"reason": "It loses data.", "replacement": "7.0.0"}
    people.ben.refused("POST", path, body, status=404, code="not_found")
    body["replacement"] = "1.0.0"
    people.ben.refused("POST", path, body, status=422, code="invalid")
    body["replacement"] = "0.9.0"
    people.ben.refused("POST", path, body, status=409, code="wrong_state")


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (call, field)
        for call in WITH_BODY
        for field in ("repository", "package", "environment", "artifact", "items")
        if field in call.body and "pipelines/" not in call.path
    ],
    ids=str,
)
def test_what_a_body_names_must_be_there(
    call: Call, field: str, people: People, things: Things
) -> None:
    who = people.of("ada" if "ada" in call.may else sorted(call.may)[0])
    body = call.data(things)
    if field == "items":
        for name in ("repository", "package", "version"):
            items = [{**body["items"][0], name: "nothing"}]
            who.refused(
                call.method, call.url(things), {**body, "items": items},
                status=404, code="not_found",
            )  # fmt: skip
    else:
        unknown = 99999999 if field == "artifact" else "nothing"
        who.refused(
            call.method, call.url(things), {**body, field: unknown}, status=404, code="not_found"
        )


@pytest.mark.parametrize(
    "path",
    ["nothing/", "v1/", "v1/nothing/", "v2/pipelines/", "v1/pipelines//", "v1/promotions/one/",
     "v1/artifacts/-1/", "v1/selections/1.5/", "schema/extra/"],
)  # fmt: skip
def test_an_unknown_address_below_api_answers_a_problem_document(path: str, people: People) -> None:
    for who in (people.ada, people.nobody):
        problem(who.call("GET", f"/api/{path}"), 404, "not_found")
        problem(who.call("POST", f"/api/{path}", {}), 404, "not_found")


def test_a_missing_artifact_of_another_type_has_no_bytes(people: People, things: Things) -> None:
    people.ada.refused(
        "GET", f"artifacts/{things.image.pk}/download/", status=404, code="not_found"
    )


def test_bytes_that_the_storage_lost_are_reported_not_served_as_nothing(
    people: People, things: Things
) -> None:
    artifact = make_artifact(things.site.cast.ada, things.site.pipeline)
    assert artifact.bundle is not None
    blobs.store().delete(artifact.bundle.storage_name)
    found = people.ada.refused(
        "GET", f"artifacts/{artifact.pk}/download/", status=404, code="not_found"
    )
    assert "storage" in found["detail"]
