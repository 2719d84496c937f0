"""The page of a job over HTTP: what of the log it shows, the search, the download, the stream."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.urls import reverse

from pipelines.logs import LogWriter
from pipelines.models import Job, Run
from pipelines.templatetags.output import SHOWN_CHARACTERS
from pipelines.web import tails
from tests.cast import Site
from tests.pipelines.working import job, job_of, one_job, started, yaml
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(site: Site) -> Client:
    made = Client()
    made.force_login(site.cast.dora)
    return made


def address(run: Run, name: str = "job") -> str:
    return reverse(f"pipelines:{name}", args=["work", run.number, "stage1", "only"])


def content(client: Client, url: str, status: int = 200) -> str:
    with nothing_changes():
        answer: Any = client.get(url)
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert answer.status_code == status, body
    return str(body.decode())


def numbers(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'id="L-(\d+)"', page)]


# ---- What is shown -----------------------------------------------------------------------------
def test_a_line_is_text_however_it_looks_and_colours_are_classes(
    site: Site, client: Client
) -> None:
    run = one_job(site, r"printf '\033[1;31m<script>alert(1)</script>\033[0m & more\033[2J\n'")
    page = content(client, address(run))
    assert (
        '<span class="ansi-bold ansi-red">&lt;script&gt;alert(1)&lt;/script&gt;</span> &amp; more'
    ) in page
    assert "\x1b" not in page
    assert "style=" not in page


def test_what_sluice_says_looks_its_own_way(site: Site, client: Client) -> None:
    page = content(client, address(one_job(site, "exit 3")))
    assert re.search(r'class="log-line log-own"[^§]*\[sluice\] It ended with exit code 3', page)


def test_a_very_long_line_is_shown_by_its_beginning(site: Site, client: Client) -> None:
    run = one_job(site, "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo after")
    page = content(client, address(run))
    assert page.count("x" * SHOWN_CHARACTERS) == 1
    assert f"… {1_000_000 - SHOWN_CHARACTERS} more characters" in page
    assert len(page) < 60_000
    assert numbers(page) == [1, 2]
    assert len(content(client, address(run, "job_download"))) == 1_000_007


def test_a_page_shows_the_end_of_a_long_log_and_any_other_part_of_it(
    site: Site, client: Client
) -> None:
    run = one_job(site, "seq 1 5000", "seq 5001 5100")
    url = address(run)
    page = content(client, url)
    assert numbers(page) == list(range(3101, 5101))
    assert "Lines 3101 to 5100 of 5100." in page
    assert 'id="step-s2"' in page
    part = content(client, f"{url}?line=50")
    assert numbers(part) == list(range(30, 2030))
    assert "Lines 30 to 2029 of 5100." in part
    assert numbers(content(client, f"{url}?step=s1")) == list(range(1, 2001))
    assert numbers(content(client, f"{url}?step=s2")) == list(range(4981, 5101))
    assert numbers(content(client, f"{url}?step=none")) == numbers(page)
    for odd in ("?line=99999999999999999999", "?line=-1", "?line=x", "?line="):
        content(client, url + odd)


def test_headings_tell_steps_and_attempts_apart(site: Site, client: Client) -> None:
    run = started(site, yaml({"only": job("true")}))
    Job.objects.filter(run=run).update(attempt=1)
    for attempt in (1, 2):
        Job.objects.filter(run=run).update(attempt=attempt)
        writer = LogWriter(job_of(run))
        writer.say("source code (git)")
        writer.begin_step("s1")
        writer.write(b"hello\n")
        writer.close()
    page = content(client, address(run))
    assert re.findall(r'class="log-step" id="([\w-]+)"', page) == [
        "before-steps-attempt-1",
        "step-s1-attempt-1",
        "before-steps",
        "step-s1",
    ]


# ---- Search --------------------------------------------------------------------------------------
def test_a_search_looks_at_what_is_seen_and_not_at_codes(site: Site, client: Client) -> None:
    run = one_job(
        site,
        r"printf 'One \033[31mEr\033[0mror\n'; echo fine; echo '<i>ERROR</i>'; printf 'x\rerror'",
    )
    page = content(client, f"{address(run)}?q=error")
    assert re.findall(r'href="\?line=(\d+)#L-(\d+)"', page) == [("1", "1"), ("3", "3"), ("4", "4")]
    assert "One <mark>Error</mark>" in page
    assert "&lt;i&gt;<mark>ERROR</mark>&lt;/i&gt;" in page
    assert "3 lines with “error”." in page
    assert "No line has “[31m” in it." in content(client, f"{address(run)}?q=%5B31m")


def test_a_search_finds_only_so_many(site: Site, client: Client) -> None:
    run = one_job(site, "seq 1 3000")
    page = content(client, f"{address(run)}?q=1")
    assert f"The first {tails.MOST_FOUND} lines with “1”." in page
    long = content(client, f"{address(run)}?q={'1' * 3000}")
    assert f"No line has “{'1' * tails.LONGEST_QUERY}” in it." in long


def test_a_found_line_is_shown_around_what_was_found(site: Site, client: Client) -> None:
    run = one_job(site, "(head -c 100000 /dev/zero | tr '\\0' x); echo -n needle; seq -s ' ' 9999")
    page = content(client, f"{address(run)}?q=needle")
    assert "x" * 100 + "<mark>needle</mark>1 2 3" in page
    assert "x" * 101 not in page


# ---- Download ------------------------------------------------------------------------------------
def test_a_download_is_plain_unless_it_is_wanted_raw(site: Site, client: Client) -> None:
    run = one_job(site, r"printf '\033[1;32mgreen\033[0m \303\244\n'")
    url = address(run, "job_download")
    answer = client.get(url)
    assert answer["Content-Disposition"] == 'attachment; filename="work-1-stage1-only.log"'
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert content(client, url) == "green ä\n"
    assert content(client, f"{url}?raw=1") == "\x1b[1;32mgreen\x1b[0m ä\n"


# ---- While it runs -------------------------------------------------------------------------------
def test_the_stream_sends_what_the_page_appends(site: Site, client: Client) -> None:
    run = one_job(site, "echo '<b>'; printf 'a\\rdata: b\\r\\n'")
    text = content(client, address(run, "job_stream"))
    assert "&lt;b&gt;" in text
    assert "event: end" in text
    for line in text.splitlines():
        assert re.match(r"(data|event|id|retry): |$", line), line


def test_a_stream_that_is_refused_says_when_to_come_back(site: Site, client: Client) -> None:
    run = one_job(site, "true")
    with override_settings(LOG_FOLLOWERS=0):
        answer = client.get(address(run, "job_stream"))
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_polling_brings_only_what_is_new(site: Site, client: Client) -> None:
    run = started(site, yaml({"only": job("true")}))
    Job.objects.filter(run=run).update(attempt=1, state="running")
    writer = LogWriter(job_of(run))
    writer.write(b"\x1b[31mone\ntwo\n")
    writer.flush()
    place = re.findall(r"after=([\d.]+)&amp;seen=([\w-]+)", content(client, address(run)))[0]
    writer.write(b"three\nfo")
    writer.flush()
    url = f"{address(run, 'job_log')}?after={place[0]}&seen={place[1]}"
    answer = client.get(url)
    assert "HX-Refresh" not in answer
    page = answer.content.decode()
    assert numbers(page) == [3]
    assert '<span class="ansi-red">three</span>' in page
    Job.objects.filter(run=run).update(attempt=2, log_since=2)
    assert client.get(url)["HX-Refresh"] == "true"


def test_a_run_that_did_not_move_is_not_sent_again(site: Site, client: Client) -> None:
    run = started(site, yaml({"only": job("true")}))
    page = content(client, reverse("pipelines:run", args=["work", 1]))
    seen, version = re.findall(r"seen=([\w-]*)&amp;version=(\w+)", page)[0]
    url = reverse("pipelines:run_progress", args=["work", 1]) + f"?seen={seen}&version={version}"
    assert content(client, url, 204) == ""
    Job.objects.filter(run=run).update(state="cancelled")
    assert "Cancelled" in content(client, url)


# ---- Colours -------------------------------------------------------------------------------------
def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("variant", [0, 1], ids=["light", "dark"])
def test_every_colour_of_output_can_be_read_on_every_ground(variant: int) -> None:
    text = (Path(settings.BASE_DIR) / "static/css/tokens.css").read_text()
    both = {
        name: (light, dark)
        for name, light, dark in re.findall(
            r"--((?:ansi|log)-[\w-]+): light-dark\((#\w{6}), (#\w{6})\);", text
        )
    }
    screen, paper = text.split("@media print")
    fixed = dict(re.findall(r"--(log-[\w-]+): (#\w{6});", (paper, screen)[variant]))
    named = {name: pair[variant] for name, pair in both.items()} | fixed
    grounds = [name for name in named if "-on-" in name or name == "log-ground"]
    if variant:
        grounds += ["log-line", "log-mark"]
    texts = [name for name in named if name.startswith("ansi-") and "-on-" not in name]
    texts += ["log-text", "log-faint", "log-own"]
    assert (len(texts), len(grounds)) == (19, 10 if variant else 8)
    low = {
        f"{one} on {other}"
        for one in texts
        for other in grounds
        if _contrast(named[one], named[other]) < 4.5
    }
    assert low == set()
