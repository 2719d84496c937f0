"""The promotion history over HTTP: filtered, paged, and streamed whole for other programs."""

import csv
import io
import json

import pytest

from promotion.models import LedgerEntry
from tests.api.conftest import People, Things
from tests.api.test_lists import walk


def test_the_history_is_the_ledger_newest_first(people: People, things: Things) -> None:
    rows = walk(people.dora, "history/")
    assert [row["sequence"] for row in rows] == list(range(LedgerEntry.objects.count()))[::-1]
    for row in rows:
        assert row["type"].count(".") == 1
        assert isinstance(row["data"], dict)


@pytest.mark.parametrize(
    ("query", "key", "value"),
    [("actor=ben", "actor", "ben"), ("type=version.published", "type", "version.published")],
)
def test_entries_are_filtered_by_what_they_say(
    query: str, key: str, value: str, people: People, things: Things
) -> None:
    every = walk(people.dora, "history/")
    found = walk(people.dora, f"history/?{query}")
    assert found == [row for row in every if row[key] == value]
    assert 0 < len(found) < len(every)


def test_entries_are_filtered_by_what_they_are_about(people: People, things: Things) -> None:
    things.site.publish("7.0.0", package="tool")
    about_tool = walk(people.dora, "history/?repository=apps&package=tool")
    assert [row["type"] for row in about_tool] == ["version.published"]
    staging = walk(people.dora, "history/?environment=staging&type=promotion.completed")
    assert len(staging) == 2
    assert walk(people.dora, "history/?environment=nowhere") == []
    assert walk(people.dora, "history/?actor=nobody") == []


def test_since_is_included_and_until_is_not(people: People, things: Things) -> None:
    every = walk(people.dora, "history/")
    middle = every[len(every) // 2]["at"]
    since = walk(people.dora, f"history/?since={middle}")
    until = walk(people.dora, f"history/?until={middle}")
    assert middle in {row["at"] for row in since}
    assert middle not in {row["at"] for row in until}
    assert since + until == every
    assert walk(people.dora, "history/?since=2001-01-01&until=2002-01-01") == []


def test_lines_of_json_are_the_same_entries(people: People, things: Things) -> None:
    answer = people.dora.get("history/", Accept="application/x-ndjson")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert rows == walk(people.dora, "history/")


def test_a_table_is_the_same_entries(people: People, things: Things) -> None:
    answer = people.dora.get("history/?type=promotion.requested", Accept="text/csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    expected = walk(people.dora, "history/?type=promotion.requested")
    assert [int(row["sequence"]) for row in rows] == [row["sequence"] for row in expected]
    assert [json.loads(row["data"]) for row in rows] == [row["data"] for row in expected]
    assert [row["leaf_hash"] for row in rows] == [row["leaf_hash"] for row in expected]


def test_no_cell_of_the_table_is_a_formula(people: People, things: Things) -> None:
    """A spreadsheet runs what begins with = + - @; a comment is somebody's text."""
    path = f"promotions/{things.requested.pk}/reject/"
    body = {"plan_digest": things.requested.plan_digest, "comment": '=HYPERLINK("http://x")'}
    people.ben.post(path, body, expect=200)
    answer = people.dora.get("history/", Accept="text/csv")
    for row in csv.reader(io.StringIO(answer.text)):
        assert not any(cell[:1] in set("=+-@") for cell in row)


@pytest.mark.parametrize("form", ["application/x-ndjson", "text/csv"])
def test_a_stream_is_refused_as_a_problem(form: str, people: People) -> None:
    people.production.refused("GET", "history/", Accept=form, status=403, code="forbidden")
    people.dora.refused("GET", "history/?since=x", Accept=form, status=422, code="invalid")


@pytest.mark.parametrize("form", ["text/html", "application/xml", "*/*", "application/json"])
def test_every_other_form_is_json(form: str, people: People) -> None:
    assert people.dora.get("history/", Accept=form).json["results"]
