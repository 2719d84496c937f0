"""The editor in a real Chromium: problems come and go as one types, and the text is saved."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, Route, expect

from accounts.models import User
from pipelines.models import Pipeline
from tests.browser.conftest import Window, Windows
from tests.cast import Cast, make_cast, make_pipeline

pytestmark = pytest.mark.whole

RIGHT = "$[jobs.build_job.upload_step.artifacts.app]"
WRONG = "$[jobs.build_job.uplod_step.artifacts.app]"
TEXT = f"""\
name: Example
stages:
  build_stage:
    jobs:
      build_job:
        steps:
          upload_step:
            step: ArtifactUpload
            with: {{artifact: app, filePath: [target/]}}
      use_job:
        steps:
          use_step:
            step: Command
            with:
              run: ls {RIGHT}
"""
LINE = 15


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


def editor_of(windows: Windows, user: User) -> tuple[Window, Page]:
    window = windows.open(viewport={"width": 1280, "height": 900})
    window.sign_in_as(user)
    return window, window.go(reverse("pipelines:definition", args=["app"]))


def test_a_wrong_reference_is_marked_while_one_types_and_vanishes_once_it_is_right(
    cast: Cast, windows: Windows
) -> None:
    make_pipeline(cast.ada, "app", TEXT)
    _, page = editor_of(windows, cast.ada)
    text, check = page.locator("#id_yaml"), page.locator("#check")
    summary, graph = page.locator("#check-summary"), page.locator("svg.flow")
    mark = page.locator(f"[data-editor-gutter] > li:nth-child({LINE})")
    expect(summary).to_have_text("No problems")
    expect(graph.locator(".flow-artifact")).to_have_count(1)
    expect(page.locator("[data-editor-gutter] > li")).to_have_count(TEXT.count("\n") + 1)

    text.focus()
    text.evaluate(
        "(text, [from, to]) => text.setSelectionRange(from, to)",
        [TEXT.index(RIGHT), TEXT.index(RIGHT) + len(RIGHT)],
    )
    page.keyboard.type(WRONG)
    place = check.get_by_role("link", name=f"Line {LINE}, column 23", exact=True)
    expect(place).to_be_visible()
    expect(check).to_contain_text("did you mean upload_step?")
    expect(check).to_contain_text("leads nowhere")
    expect(summary).to_have_text("1 error, 1 hint")
    expect(mark).to_have_class("is-error tone-danger")
    expect(mark).to_contain_text(f"Line {LINE}, error: ")
    expect(graph.locator(".flow-artifact")).to_have_count(0)

    text.evaluate("text => { text.blur(); text.setSelectionRange(0, 0); }")
    place.click()
    expect(text).to_be_focused()
    assert text.evaluate("text => text.selectionStart") == TEXT.index(RIGHT)

    for _ in WRONG:
        page.keyboard.press("Delete")
    page.keyboard.type(RIGHT)
    expect(summary).to_have_text("No problems")
    expect(check.locator(".problem")).to_have_count(0)
    expect(page.locator("[data-editor-gutter] [class]")).to_have_count(0)
    expect(graph.locator(".flow-artifact")).to_have_count(1)

    page.keyboard.press("Control+End")
    page.keyboard.type("# mended")
    page.keyboard.press("Tab")
    expect(text).not_to_be_focused()
    page.get_by_role("button", name="Save revision").click()
    expect(page.get_by_text("Saved as revision 2.")).to_be_visible()
    pipeline = Pipeline.objects.select_related("revision").get(slug="app")
    assert pipeline.revision is not None
    assert pipeline.revision.yaml == TEXT + "# mended"


def test_whom_a_change_breaks_is_told_while_one_types_and_asked_before_it_is_saved(
    cast: Cast, windows: Windows
) -> None:
    make_pipeline(cast.ada, "app", TEXT)
    through = RIGHT.replace("$[jobs.", "$[sources.up.stages.build_stage.")
    follower = TEXT.replace(RIGHT, through)
    make_pipeline(
        cast.ada, "follower", "sources: {up: {type: flowPipeline, flowPipeline: app}}\n" + follower
    )
    _, page = editor_of(windows, cast.ada)
    text, breaks = page.locator("#id_yaml"), page.locator("#breaks")
    expect(breaks).to_be_hidden()
    text.fill(TEXT.replace("upload_step", "keep_step"))
    expect(breaks).to_contain_text("Saving this breaks 1 other pipeline")
    expect(breaks.get_by_role("link", name="follower")).to_be_visible()
    page.get_by_role("button", name="Save revision").click()
    assert page.url.endswith("/definition/"), "the box must be ticked first"
    page.get_by_label("Save all the same").check()
    page.get_by_role("button", name="Save revision").click()
    expect(page.get_by_text("Saved as revision 2.")).to_be_visible()


def test_an_answer_that_comes_late_does_not_replace_a_newer_one(
    cast: Cast, windows: Windows
) -> None:
    make_pipeline(cast.ada, "app", TEXT)
    window, page = editor_of(windows, cast.ada)
    text, summary = page.locator("#id_yaml"), page.locator("#check-summary")
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/pipelines/-/check/", hold_the_first)
    with page.expect_request("**/pipelines/-/check/"):
        text.fill("stages: [")
    text.fill(TEXT + "unknown: 1\n")
    expect(summary).to_have_text("1 warning")
    # The first request was given up, which htmx tells the console; nothing waits for it any more.
    assert all("htmx:" in each for each in window.complaints)
    assert window.complaints
    window.complaints.clear()
