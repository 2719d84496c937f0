"""The page of a job while it runs and afterwards: lines that arrive, links, search, download."""

import re
import time
from collections.abc import Iterator

import pytest
from django.test import override_settings
from django.urls import reverse
from playwright.sync_api import Page, Request, expect

from pipelines import following, runs
from pipelines.logs import LogWriter
from pipelines.models import ExecutionState, Job
from tests.browser.conftest import Window, Windows
from tests.cast import Site, make_site
from tests.pipelines.working import job, job_of, started, yaml

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]


class Work:
    """A job of two steps that a worker is at, and what it writes."""

    def __init__(self) -> None:
        self.site: Site = make_site()
        run = started(self.site, yaml({"only": job("make", "make test")}))
        runs.begin(run.pk)
        claimed = runs.claim(job_of(run).pk)
        assert claimed is not None
        self.job = Job.objects.get(pk=claimed.pk)
        self.writer = LogWriter(self.job)
        self.begin("s1")

    def begin(self, step: str) -> None:
        row = self.job.steps.get(key=step)
        for before in self.job.steps.filter(position__lt=row.position, state="running"):
            runs.end_step(before, ExecutionState.SUCCEEDED, exit_code=0)
        runs.begin_step(row)
        self.writer.begin_step(step)

    def write(self, text: str) -> None:
        self.writer.write(text.encode())
        self.writer.flush()

    def end(self, state: ExecutionState = ExecutionState.SUCCEEDED, error: str = "") -> None:
        self.writer.close()
        runs.end_job(self.job, state, error)

    @property
    def page(self) -> str:
        return self.address("job")

    def address(self, name: str) -> str:
        return reverse(f"pipelines:{name}", args=["work", 1, "stage1", "only"])


@pytest.fixture
def work(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    # The server of the tests notices only by writing that a reader has left.
    monkeypatch.setattr(following, "HEARTBEAT", 0.5)
    yield Work()
    _slots_come_free()


def _slots_come_free() -> None:
    patience = time.monotonic() + 20
    while following._slots.taken and time.monotonic() < patience:
        time.sleep(0.05)
    assert following._slots.taken == 0


@pytest.fixture
def window(work: Work, windows: Windows) -> Window:
    made = windows.open()
    made.sign_in_as(work.site.cast.ada)
    return made


def texts(page: Page) -> list[str]:
    return page.locator("#job-log .log-text").all_inner_texts()


def asked(page: Page, name: str) -> list[str]:
    """Notes each request of the page to an address that ends so."""
    made: list[str] = []

    def note(request: Request) -> None:
        if request.url.partition("?")[0].endswith(f"/{name}/"):
            made.append(request.url)

    page.on("request", note)
    return made


# ---- While it runs -----------------------------------------------------------------------------
def test_lines_arrive_by_themselves_without_asking_again_and_again(
    work: Work, window: Window
) -> None:
    polls = asked(window.page, "log")
    work.write("one\n")
    page = window.go(work.page)
    log = page.get_by_role("log", name="Output of the job")
    expect(log).to_have_attribute("aria-live", "off")
    work.write("\x1b[31mtwo\x1b[0m <b>x</b>\nthr")
    expect(page.locator("#L-2 .ansi-red")).to_have_text("two")
    expect(page.locator("#L-2")).to_contain_text("<b>x</b>")
    work.begin("s2")
    work.write("four\n")
    expect(page.locator("#step-s2")).to_have_text("s2")
    assert texts(page) == ["one", "two <b>x</b>", "thr", "four"]
    expect(page.get_by_label("Steps done")).to_have_attribute("value", "1")
    work.end(ExecutionState.FAILED, "It said no.")
    expect(page.locator("#job-state")).to_contain_text("It said no.")
    expect(page.locator("#job-state .badge").first).to_contain_text("Failed")
    assert polls == []
    _slots_come_free()


def test_a_reader_who_leaves_gives_the_slot_back(work: Work, window: Window) -> None:
    with window.page.expect_request(re.compile("/stream/")):
        page = window.go(work.page)
    work.write("one\n")
    expect(page.locator("#L-1")).to_contain_text("one")
    assert following._slots.taken == 1
    window.go(reverse("pipelines:pipeline_list"))
    _slots_come_free()


def test_where_no_stream_is_to_be_had_the_page_asks_instead(work: Work, window: Window) -> None:
    polls = asked(window.page, "log")
    with override_settings(LOG_FOLLOWERS=0):
        page = window.go(work.page)
        work.write("one\n")
        expect(page.locator("#L-1")).to_contain_text("one")
        work.write("\x1b[1mtwo\n")
        expect(page.locator("#L-2 .ansi-bold")).to_have_text("two")
        work.write("three\n")
        expect(page.locator("#L-3 .ansi-bold")).to_have_text("three")
        assert texts(page) == ["one", "two", "three"]
        work.end()
        expect(page.locator("#job-state .badge").first).to_contain_text("Succeeded")
    assert len(polls) > 1
    _refusals_are_no_faults(window)


def _refusals_are_no_faults(window: Window) -> None:
    window.complaints = [each for each in window.complaints if "503" not in each]


def test_a_stream_that_is_refused_later_goes_on_by_asking(
    work: Work, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LONGEST", 1.0)
    work.write("one\n")
    page = window.go(work.page)
    work.write("two\n")
    expect(page.locator("#L-2")).to_contain_text("two")
    with override_settings(LOG_FOLLOWERS=0):
        with page.expect_request(re.compile("/log/")):
            work.write("three\n")
        expect(page.locator("#L-3")).to_contain_text("three")
        work.end()
        expect(page.locator("#job-state .badge").first).to_contain_text("Succeeded")
    _refusals_are_no_faults(window)
    assert texts(page) == ["one", "two", "three"]


def test_the_end_is_followed_only_while_the_reader_is_there(work: Work, window: Window) -> None:
    work.write("".join(f"{nth}\n" for nth in range(1, 201)))
    page = window.go(work.page)
    log = page.locator("#job-log")
    away = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    assert log.evaluate(away) < 48
    work.write("".join(f"{nth}\n" for nth in range(201, 301)))
    expect(page.locator("#L-300")).to_be_attached()
    assert log.evaluate(away) < 48
    log.evaluate("log => { log.scrollTop = 100; }")
    work.write("".join(f"{nth}\n" for nth in range(301, 401)))
    expect(page.locator("#L-400")).to_be_attached()
    assert log.evaluate("log => log.scrollTop") == 100
    work.end()


def test_elapsed_times_count_on(work: Work, window: Window) -> None:
    page = window.go(work.page)
    elapsed = page.locator("#job-state [data-elapsed]").first
    first = elapsed.inner_text()
    expect(elapsed).not_to_have_text(first)
    work.end()
    expect(page.locator("#job-state [data-elapsed]")).to_have_count(0)


def test_the_run_shows_its_graph_live_and_asks_cheaply(work: Work, window: Window) -> None:
    answers: list[int] = []
    window.page.on(
        "response", lambda got: answers.append(got.status) if "/progress/" in got.url else None
    )
    page = window.go(reverse("pipelines:run", args=["work", 1]))
    expect(page.locator(".job-card")).to_contain_text("Running")
    with page.expect_response(lambda got: "/progress/" in got.url and got.status == 204):
        pass
    work.end()
    runs.advance(work.job.run_id)
    expect(page.locator(".job-card")).to_contain_text("Succeeded")
    expect(page.locator(".badge").first).to_contain_text("Succeeded")
    assert answers[0] == 204


# ---- Afterwards --------------------------------------------------------------------------------
@pytest.fixture
def long(work: Work) -> Work:
    """A job that ended, with more lines than one page shows."""
    work.write("".join(f"line {nth}\n" for nth in range(1, 3001)))
    work.begin("s2")
    work.write("".join(f"\x1b[3{nth % 8}mtest {nth}\x1b[0m passed\n" for nth in range(1, 2501)))
    work.end()
    return work


def test_a_line_has_an_address_wherever_it_stands(long: Work, window: Window) -> None:
    page = window.go(long.page)
    expect(page.locator(".log-line")).to_have_count(2000)
    page.locator("#L-5400 .log-number").click()
    assert page.url.endswith("#L-5400")
    window.go(reverse("pipelines:pipeline_list"))
    window.go(f"{long.page}#L-123")
    line = page.locator("#L-123:target")
    expect(line).to_be_visible()
    expect(line).to_be_in_viewport()
    expect(line).to_contain_text("line 123")
    assert "line=123" in page.url
    page.get_by_role("link", name="Later lines").click()
    expect(page.locator("#L-2102:target")).to_be_in_viewport()
    page.get_by_role("link", name="The end").click()
    expect(page.locator("#L-5500")).to_be_in_viewport()


def test_a_click_on_a_step_leads_to_where_its_output_begins(long: Work, window: Window) -> None:
    page = window.go(long.page)
    steps = page.locator("#job-state")
    steps.get_by_role("link", name="s2").click()
    expect(page.locator("#step-s2:target")).to_be_in_viewport()
    expect(page.locator("#L-3001")).to_be_in_viewport()
    steps.get_by_role("link", name="s1").click()
    expect(page.locator("#step-s1:target")).to_be_in_viewport()
    expect(page.locator("#L-1")).to_be_in_viewport()


def test_a_search_finds_lines_and_leads_to_them(long: Work, window: Window) -> None:
    page = window.go(long.page)
    page.keyboard.press("/")
    page.keyboard.type("TEST 77 p")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="1 line with “TEST 77 p”.")).to_be_visible()
    expect(page.locator("mark")).to_have_text("test 77 p")
    page.get_by_role("link", name="Line 3077 in the log").click()
    expect(page.locator("#L-3077:target")).to_be_in_viewport()


def test_all_of_it_works_without_scripts(long: Work, windows: Windows) -> None:
    window = windows.open(java_script_enabled=False)
    window.sign_in_as(long.site.cast.dora)
    page = window.go(long.page)
    expect(page.locator("#L-5500")).to_contain_text("test 2500 passed")
    page.get_by_label("Search in the log").fill("line 42")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Line 42 in the log").click()
    expect(page.locator("#L-42:target")).to_be_in_viewport()
    page.locator("#job-state").get_by_role("link", name="s2").click()
    expect(page.locator("#step-s2:target")).to_be_in_viewport()


def test_the_download_is_the_whole_log(long: Work, window: Window) -> None:
    page = window.go(long.page)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    assert waiting.value.suggested_filename == "work-1-stage1-only.log"
    text = waiting.value.path().read_text()
    assert text.startswith("line 1\nline 2\n")
    assert text.endswith("test 2500 passed\n")
    assert "\x1b" not in text
