"""Follow a log as server-sent events: every line once, the job's state, and an end that is told."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings

from pipelines import following, logs, runs
from pipelines.api.runs import RawTeller
from pipelines.following import Stream
from pipelines.logs import LogWriter
from pipelines.models import ExecutionState, Job, Run
from pipelines.tails import Place, start
from tests.api.caller import Api, problem, token_for
from tests.cast import Site, make_site
from tests.pipelines.working import job, job_of, one_job, started, yaml

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "pipelines/work/runs/{number}/jobs/stage1/only/log/"


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def ada(site: Site) -> Api:
    return Api(token_for(site.cast.ada))


@dataclass(frozen=True)
class Event:
    name: str
    id: str
    data: str


def events(sent: bytes) -> list[Event]:
    """Read events as the standard says: fields line by line, an empty line between events."""
    made = []
    for block in sent.decode().split("\n\n"):
        fields: dict[str, list[str]] = {}
        for line in block.split("\n"):
            name, colon, value = line.partition(":")
            if colon and name:
                fields.setdefault(name, []).append(value.removeprefix(" "))
        if "data" in fields:
            id_, name = fields.get("id", [""])[0], fields.get("event", ["message"])[0]
            made.append(Event(name, id_, "\n".join(fields["data"])))
    return made


def lines_of(told: list[Event]) -> list[str]:
    return [line for each in told if each.name == "message" for line in each.data.split("\n")]


def follow(api: Api, run: Run, query: str = "?follow=1", **headers: Any) -> list[Event]:
    answer = api.get(PATH.format(number=run.number) + query, **headers)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    return events(answer.content)


# ---- A job that has ended ------------------------------------------------------------------------
def test_a_log_that_is_complete_is_told_whole_and_ends(site: Site, ada: Api) -> None:
    run = one_job(site, r"printf 'a\n\nb\rc\r\n\033[31md\n'; printf 'data: e'")
    state, *told, end = follow(ada, run)
    assert (state.name, json.loads(state.data)) == (
        "state",
        {"status": "succeeded", "attempt": 1},
    )
    assert lines_of(told) == ["a", "", "c", "\x1b[31md", "data: e"]
    assert (end.name, json.loads(end.data)) == ("end", {"status": "succeeded"})


def test_a_follower_who_comes_back_misses_nothing_and_gets_nothing_twice(
    site: Site, ada: Api
) -> None:
    run = one_job(site, "seq 1 1800", "seq 1801 2600; printf 'the end'")
    told = [each for each in follow(ada, run) if each.name == "message"]
    assert len(told) > 3
    expected = [str(number) for number in range(1, 2601)] + ["the end"]
    assert lines_of(told) == expected
    for nth, each in enumerate(told):
        rest = lines_of(told[nth + 1 :])
        assert lines_of(follow(ada, run, Last_Event_ID=each.id)) == rest
        assert lines_of(follow(ada, run, f"?follow=1&after={each.id}")) == rest
        assert (
            lines_of(follow(ada, run, "?follow=1&after=1.0.0.0.0", Last_Event_ID=each.id)) == rest
        )
    logs.seal(job_of(run))
    assert lines_of(follow(ada, run, Last_Event_ID=told[1].id)) == lines_of(told[2:])


def test_a_very_long_line_is_one_line_of_data(site: Site, ada: Api) -> None:
    run = one_job(site, "head -c 2000000 /dev/zero | tr '\\0' x; echo; echo after")
    assert [len(line) for line in lines_of(follow(ada, run))] == [2_000_000, 5]


@pytest.mark.parametrize(
    "query", ["?follow=2", "?follow=yes", "?after=1.0.0.0.0", "?follow=1&after=x"]
)
def test_what_is_no_wish_to_follow_is_refused(site: Site, ada: Api, query: str) -> None:
    run = one_job(site, "true")
    ada.refused("GET", PATH.format(number=run.number) + query, status=422, code="invalid")


def test_an_unknown_parameter_is_refused(site: Site, ada: Api) -> None:
    run = one_job(site, "true")
    path = PATH.format(number=run.number)
    ada.refused("GET", path + "?folow=1", status=400, code="unknown_field")
    assert ada.get(path + "?follow=0").headers["Content-Type"].startswith("text/plain")


# ---- A job that runs ---------------------------------------------------------------------------
@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL", 0.01)


@pytest.fixture
def running(site: Site) -> Job:
    run = started(site, yaml({"only": job("true", "true")}))
    runs.begin(run.pk)
    claimed = runs.claim(job_of(run).pk)
    assert claimed is not None
    return Job.objects.get(pk=claimed.pk)


@pytest.fixture
def stream(running: Job, quick: None) -> Iterator[Stream]:
    made = Stream(running, start(running), RawTeller())
    yield made
    made.close()
    assert following._slots.taken == 0


def read_on(stream: Stream, until: str) -> list[Event]:
    """What comes up to the first event with such a name."""
    told: list[Event] = []
    while not told or told[-1].name != until:
        told += events(next(stream))
    return told


def test_lines_are_told_as_they_come_and_only_when_they_are_whole(
    running: Job, stream: Stream
) -> None:
    writer = LogWriter(running)
    assert json.loads(read_on(stream, "state")[-1].data) == {"status": "running", "attempt": 1}
    writer.write(b"one\ntw")
    writer.flush()
    assert read_on(stream, "message")[-1].data == "one"
    writer.write(b"o\nthree")
    writer.close()
    assert read_on(stream, "message")[-1].data == "two"
    runs.end_job(running, ExecutionState.FAILED, "No.")
    told = read_on(stream, "end")
    assert [(each.name, each.data) for each in told] == [
        ("state", '{"status": "failed", "attempt": 1}'),
        ("message", "three"),
        ("end", '{"status": "failed"}'),
    ]
    assert list(stream) == []


def test_a_stream_says_now_and_then_that_it_is_still_there(
    running: Job, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "HEARTBEAT", 0.0)
    stream = Stream(running, start(running), RawTeller())
    assert b": still here\n\n" in [next(stream) for _ in range(9)]
    stream.close()


def test_a_stream_ends_by_itself_and_is_taken_up_again(
    running: Job, quick: None, monkeypatch: pytest.MonkeyPatch, ada: Api
) -> None:
    monkeypatch.setattr(following, "LONGEST", 0.3)
    writer = LogWriter(running)
    writer.write(b"one\n")
    writer.flush()
    told = follow(ada, running.run)
    assert [each.name for each in told] == ["state", "message"]
    writer.write(b"two\n")
    writer.flush()
    assert lines_of(follow(ada, running.run, Last_Event_ID=told[-1].id)) == ["two"]


def test_a_log_that_begins_anew_is_told_from_where_it_counts(running: Job, stream: Stream) -> None:
    writer = LogWriter(running)
    writer.write(b"of the first attempt\n")
    writer.flush()
    read_on(stream, "message")
    Job.objects.filter(pk=running.pk).update(attempt=2, log_since=2)
    writer = LogWriter(Job.objects.get(pk=running.pk))
    writer.write(b"of the second\n")
    writer.flush()
    assert [each.data for each in read_on(stream, "message")] == [
        '{"status": "running", "attempt": 2}',
        "of the second",
    ]


# ---- Slots -------------------------------------------------------------------------------------
def test_only_so_many_follow_at_a_time_and_who_leaves_makes_room(
    running: Job, ada: Api, quick: None
) -> None:
    path = PATH.format(number=running.run.number)
    with override_settings(LOG_FOLLOWERS=2):
        first, second = (Stream(running, Place(), RawTeller()) for _ in range(2))
        next(first)
        refused = ada.call("GET", f"{path}?follow=1")
        problem(refused, 503, "too_many_followers")
        assert refused.headers["Retry-After"] == "5"
        assert ada.get(path).text == ""
        first.close()
        first.close()
        third = Stream(running, Place(), RawTeller())
        assert following._slots.taken == 2
        # One that was never begun, and one that is forgotten without being closed.
        second.close()
        del third
        assert following._slots.taken == 0


def test_nobody_follows_where_the_site_allows_none(site: Site, ada: Api) -> None:
    run = one_job(site, "true")
    with override_settings(LOG_FOLLOWERS=0):
        ada.refused(
            "GET",
            PATH.format(number=run.number) + "?follow=1",
            status=503,
            code="too_many_followers",
        )


def test_a_stream_that_breaks_gives_its_slot_back(
    running: Job, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(running, Place(), RawTeller())
    next(stream)
    monkeypatch.setattr(following, "_pulse", lambda job_id: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(stream)
    assert following._slots.taken == 0


def test_a_client_that_goes_away_frees_its_slot(running: Job, site: Site, quick: None) -> None:
    client = Client()
    client.force_login(site.cast.ada)
    response: Any = client.get(f"/api/v1/{PATH.format(number=running.run.number)}?follow=1")
    assert next(response.streaming_content) == following.RETRY
    assert following._slots.taken == 1
    response.close()
    assert following._slots.taken == 0


def test_a_poll_without_news_is_one_query(
    running: Job, stream: Stream, django_assert_num_queries: Any
) -> None:
    read_on(stream, "state")
    while next(stream):
        pass
    with django_assert_num_queries(1):
        next(stream)


def test_whoever_may_not_look_may_not_follow(running: Job, site: Site) -> None:
    mallory = Api(token_for(site.cast.mallory))
    path = PATH.format(number=running.run.number) + "?follow=1"
    mallory.refused("GET", path, status=403, code="forbidden")
    Api().refused("GET", path, status=401, code="unauthenticated")


def test_the_web_server_has_more_threads_than_followers() -> None:
    from config.supervisor import programs

    web = list(programs(8000)[0].argv)
    threads = int(web[web.index("--blocking-threads") + 1])
    assert threads >= 2 * settings.LOG_FOLLOWERS
