"""The page that adds an artifact: parts, progress, pause, a reload in between, and no scripts."""

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.urls import reverse
from playwright.sync_api import Page, Route, expect

from pipelines import blobs, receiving
from pipelines.models import Artifact, Run, Upload, UploadPart
from tests.browser.conftest import Window, Windows
from tests.cast import Site, external_run, make_site

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]

MIB = 1024**2
SIZE = 20 * MIB + 1


@pytest.fixture
def site(transactional_db: None, settings: Any) -> Site:
    settings.UPLOAD_PART_BYTES = MIB
    return make_site()


@pytest.fixture
def run(site: Site) -> Run:
    return external_run(site.cast.ada, site.pipeline)


@pytest.fixture
def window(site: Site, windows: Windows) -> Window:
    made = windows.open()
    made.sign_in_as(site.cast.ada)
    return made


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def address(run: Run) -> str:
    return reverse("pipelines:artifact_add", args=[run.pipeline.slug, run.number])


def choose(page: Page, name: str, *files: Path) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Files", exact=True).set_input_files(list(files))


def send(page: Page) -> None:
    page.get_by_role("button", name="Upload", exact=True).click()


def arrived(page: Page) -> Artifact:
    page.wait_for_url(re.compile(r"/-/artifacts/\d+/$"))
    return Artifact.objects.select_related("bundle").get(pk=page.url.rstrip("/").split("/")[-1])


def nothing_is_left_in_parts() -> bool:
    """Once a worker has done what it is nudged to."""
    for upload in Upload.objects.all():
        receiving.release(upload.pk)
    return not UploadPart.objects.exists()


class Dam:
    """Lets so many parts through, and holds all that follow until it is opened."""

    def __init__(self, page: Page, most: int) -> None:
        self._page = page
        self._left = most
        self.held: list[Route] = []
        self.passed: list[str] = []
        page.route(re.compile(r"/parts/\d+/\d+/$"), self._handle)

    def _handle(self, route: Route) -> None:
        if self._left <= 0:
            self.held.append(route)
            return
        self._left -= 1
        self.passed.append(route.request.url)
        route.continue_()

    def is_reached(self) -> None:
        """Wait until all parts that it lets through are there, and others are held."""
        patience = time.monotonic() + 60
        while UploadPart.objects.count() < len(self.passed) or not self.held or self._left:
            assert time.monotonic() < patience
            self._page.wait_for_timeout(50)

    def open(self) -> None:
        self._left = 10_000
        for route in self.held:
            route.continue_()


def test_a_file_in_parts_becomes_an_artifact(run: Run, window: Window, large: Path) -> None:
    page = window.go(address(run))
    choose(page, "app", large)
    expect(page.locator("#upload-chosen")).to_have_text("1 file, 20 MiB.")
    dam = Dam(page, 5)
    send(page)
    bar = page.get_by_role("progressbar", name="All files")
    expect(bar).to_have_attribute("value", str(5 * MIB))
    expect(page.get_by_role("progressbar", name="large.bin")).to_be_visible()
    expect(page.locator("#upload-said")).to_contain_text("5 MiB of 20 MiB")
    dam.open()
    artifact = arrived(page)
    assert artifact.bundle is not None
    assert artifact.bundle.sha256 == hashlib.sha256(large.read_bytes()).hexdigest()
    assert blobs.reads_true(artifact.bundle)
    assert nothing_is_left_in_parts()


def test_after_a_reload_only_what_is_missing_is_sent(run: Run, window: Window, large: Path) -> None:
    page = window.go(address(run))
    choose(page, "app", large)
    dam = Dam(page, 7)
    send(page)
    dam.is_reached()
    page.reload()
    page.unroute_all(behavior="ignoreErrors")
    expect(page.get_by_text("Choose the same files below to go on")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("app")
    sent: list[str] = []
    page.on("request", lambda each: sent.append(each.url) if each.method == "PUT" else None)
    choose(page, "app", large)
    send(page)
    artifact = arrived(page)
    assert artifact.bundle is not None
    assert artifact.bundle.sha256 == hashlib.sha256(large.read_bytes()).hexdigest()
    assert len(sent) == 21 - 7
    assert Upload.objects.get().state == "completed"
    window.complaints = [each for each in window.complaints if "ERR_" not in each]


def test_another_file_of_the_same_size_does_not_go_on_with_it(
    run: Run, window: Window, large: Path
) -> None:
    page = window.go(address(run))
    choose(page, "app", large)
    dam = Dam(page, 2)
    send(page)
    dam.is_reached()
    page.reload()
    page.unroute_all(behavior="ignoreErrors")
    large.write_bytes(os.urandom(SIZE))
    choose(page, "app", large)
    send(page)
    expect(page.get_by_role("alert")).to_contain_text("is not the file whose parts are there")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_text("was removed")).to_be_visible()
    assert nothing_is_left_in_parts()
    window.complaints = [each for each in window.complaints if "ERR_" not in each]


def test_a_paused_upload_goes_on_and_a_cancelled_one_leaves_nothing(
    run: Run, window: Window, large: Path
) -> None:
    page = window.go(address(run))
    choose(page, "app", large)
    dam = Dam(page, 3)
    send(page)
    bar = page.get_by_role("progressbar", name="All files")
    dam.is_reached()
    expect(bar).to_have_attribute("value", str(3 * MIB))
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#upload-said")).to_contain_text("paused")
    dam.held.clear()
    dam._left = 2
    page.get_by_role("button", name="Resume").click()
    expect(bar).to_have_attribute("value", str(5 * MIB))
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel upload").click()
    expect(page.get_by_role("button", name="Upload", exact=True)).to_be_visible()
    assert Upload.objects.get().state == "aborted"
    assert nothing_is_left_in_parts()
    window.complaints = [each for each in window.complaints if "ERR_" not in each]


def test_a_refusal_is_said_and_sending_can_be_tried_again(
    run: Run, window: Window, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"one")
    page = window.go(address(run))
    choose(page, "not a name", tmp_path / "a.txt")
    send(page)
    expect(page.get_by_role("alert")).to_contain_text("cannot name an artifact")
    choose(page, "app", tmp_path / "a.txt")
    with override_settings(MAX_UPLOAD_BYTES=2):
        send(page)
        expect(page.get_by_role("alert")).to_contain_text("SLUICE_MAX_UPLOAD_BYTES")
    send(page)
    assert arrived(page).name == "app"
    window.complaints = [each for each in window.complaints if "status of 4" not in each]


def test_a_folder_keeps_its_paths(run: Run, window: Window, tmp_path: Path) -> None:
    for path in ("dist/bin/app", "dist/readme.txt", "dist/empty"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"" if path.endswith("empty") else path.encode())
    page = window.go(address(run))
    page.get_by_label("Name").fill("app")
    page.get_by_label("Or a folder, with all that is in it").set_input_files(tmp_path / "dist")
    send(page)
    files = arrived(page).files.values_list("path", "blob__size")
    assert dict(files) == {"bin/app": 12, "readme.txt": 15, "empty": 0}


def test_what_is_dropped_is_chosen(run: Run, window: Window) -> None:
    page = window.go(address(run))
    page.get_by_label("Name").fill("app")
    transfer = page.evaluate_handle(
        "() => { const made = new DataTransfer();"
        " made.items.add(new File(['dropped'], 'a.txt')); return made; }"
    )
    page.dispatch_event("#upload-drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#upload-chosen")).to_have_text("1 file, 7 B.")
    send(page)
    assert arrived(page).files.get().path == "a.txt"


def test_without_scripts_the_whole_way_goes_by_forms(
    site: Site, windows: Windows, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"one")
    window = windows.open(java_script_enabled=False)
    window.sign_in_as(site.cast.ada)
    page = window.go(reverse("pipelines:pipeline", args=["app"]))
    page.get_by_role("link", name="Report a run").click()
    page.get_by_label("Comment").fill("Built at home")
    page.get_by_role("button", name="Open the run").click()
    page.get_by_role("link", name="Add an artifact").click()
    choose(page, "app", tmp_path / "a.txt")
    send(page)
    assert arrived(page).files.get().path == "a.txt"
    run = Run.objects.get()
    window.go(reverse("pipelines:run", args=["app", run.number]))
    page.get_by_label("No more artifacts").check()
    page.get_by_role("button", name="It succeeded").click()
    expect(page.locator(".badge").first).to_contain_text("Succeeded")
    run.refresh_from_db()
    assert (run.state, run.comment) == ("succeeded", "Built at home")
