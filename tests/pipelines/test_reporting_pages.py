"""Pages of runs that are reported by hand: opened, given artifacts, ended."""

import html
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User
from pipelines import receiving, runs
from pipelines.artifacts import Place
from pipelines.models import Artifact, ExecutionState, Run, Upload
from tests.cast import Site, external_run
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

EVERYONE = ["ada", "ben", "cleo", "dora", "production", "admin", "mallory"]
REPORTERS = {"ada", "admin"}
PLACE = {"stage": "build", "job": "build", "step": "upload"}


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(answer: Any) -> str:
    return " ".join(html.unescape(answer.content.decode()).split())


def address(name: str, run: Run, *more: object) -> str:
    return reverse(f"pipelines:{name}", args=[run.pipeline.slug, run.number, *more])


def form(**changed: Any) -> dict[str, Any]:
    """A form as a browser sends it; with None a field is left out."""
    file = SimpleUploadedFile("a.txt", b"one")
    whole = {"name": "app", **PLACE, "file": file, "end": "yes", **changed}
    return {key: value for key, value in whole.items() if value is not None}


def begin(run: Run, by: User) -> Upload:
    files = [receiving.Announced("a.txt", 3)]
    return receiving.create(run, Place("build", "build", "upload"), "begun", files, by=by)


@pytest.mark.parametrize("name", EVERYONE)
def test_whoever_may_report_runs_finds_the_way_and_others_are_refused(
    site: Site, name: str
) -> None:
    run = external_run(site.cast.ada, site.pipeline)
    client = as_(site.cast.everyone()[name])
    pipeline = reverse("pipelines:pipeline", args=["app"])
    report = reverse("pipelines:run_report", args=["app"])
    may = name in REPORTERS
    assert (report in text_of(client.get(pipeline))) is may
    assert (address("artifact_add", run) in text_of(client.get(address("run", run)))) is may
    for page in (report, address("artifact_add", run)):
        assert client.get(page).status_code == (200 if may else 403)
    if may:
        made = client.post(address("artifact_add", run), form())
        assert (made.status_code, Artifact.objects.get().name) == (303, "app")
        assert client.post(report, {"comment": "By hand"}).status_code == 303
        answer = client.post(address("run_finish", run), {"status": "failed", "confirmed": "yes"})
        assert answer.status_code == 303
        run.refresh_from_db()
        assert run.state == "failed"
        return
    with nothing_changes():
        for page, sent in (
            (report, {"comment": "By hand"}),
            (address("artifact_add", run), form()),
            (address("run_finish", run), {"status": "failed", "confirmed": "yes"}),
        ):
            assert client.post(page, sent).status_code == 403


def test_the_end_asks_first_and_is_one_of_two(site: Site) -> None:
    run = external_run(site.cast.ada, site.pipeline)
    client = as_(site.cast.ada)
    with nothing_changes():
        for sent in (
            {"status": "succeeded"},
            {"status": "cancelled", "confirmed": "yes"},
            {"confirmed": "yes"},
        ):
            assert client.post(address("run_finish", run), sent).status_code == 422


def test_what_has_ended_or_runs_inside_takes_no_artifact(site: Site) -> None:
    ended = external_run(site.cast.ada, site.pipeline)
    runs.finish(ended, ExecutionState.SUCCEEDED, by=site.cast.ada)
    client = as_(site.cast.ada)
    for run in (ended, runs.start(site.pipeline, by=site.cast.ada)):
        assert "Add an artifact" not in text_of(client.get(address("run", run)))
        with nothing_changes():
            assert client.get(address("artifact_add", run)).status_code == 409
            assert client.post(address("artifact_add", run), form()).status_code == 409


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"end": None}, 400, "ended before its end"),
        ({"name": "a b"}, 422, "cannot name an artifact"),
        ({"name": ""}, 422, "This field is required"),
        ({"step": "a.b"}, 422, "could not stand in a reference"),
        ({"file": None}, 422, "at least one file"),
    ],
)
def test_a_form_that_cannot_be_right_keeps_nothing(
    site: Site, changed: dict[str, Any], status: int, said: str
) -> None:
    run = external_run(site.cast.ada, site.pipeline)
    client = as_(site.cast.ada)
    with nothing_changes():
        answer = client.post(address("artifact_add", run), form(**changed))
    assert answer.status_code == status
    assert said in text_of(answer)


def test_a_form_that_breaks_off_in_its_file_keeps_nothing(site: Site) -> None:
    run = external_run(site.cast.ada, site.pipeline)
    client = as_(site.cast.ada)
    fields = "".join(
        f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"name": "app", **PLACE}.items()
    )
    body = fields + '--cut\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
    with nothing_changes():
        answer = client.post(
            address("artifact_add", run), body.encode(), "multipart/form-data; boundary=cut"
        )
    assert answer.status_code == 400


def test_what_was_begun_is_shown_to_whoever_began_it_who_may_discard_it(site: Site) -> None:
    run = external_run(site.cast.ada, site.pipeline)
    upload = begin(run, site.cast.ada)
    discard = address("upload_abort", run, upload.pk)
    ada, admin = as_(site.cast.ada), as_(site.cast.admin)
    assert discard in text_of(ada.get(address("artifact_add", run)))
    assert discard not in text_of(admin.get(address("artifact_add", run)))
    with nothing_changes():
        assert admin.post(discard).status_code == 404
    elsewhere = address("upload_abort", external_run(site.cast.ada, site.pipeline), upload.pk)
    assert ada.post(elsewhere).status_code == 404
    assert ada.post(discard).status_code == 303
    upload.refresh_from_db()
    assert upload.state == "aborted"
