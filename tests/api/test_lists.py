"""Lists: every row once, page by page, whatever the size of a page."""

from typing import Any

import pytest

from promotion import policies
from tests.api.caller import Api
from tests.api.calls import READS, Call
from tests.api.conftest import People, Things
from tests.api.contract import operations
from tests.cast import external_run, make_pipeline

LISTS = [
    call
    for call in READS
    if any(
        each["name"] == "page_size"
        for each in operations()[call.method, call.path].get("parameters", ())
    )
]


def walk(who: Api, url: str) -> list[Any]:
    """All rows, following `next` to its end."""
    rows: list[Any] = []
    pages = 0
    link: str | None = url
    while link:
        page = who.get(link).json
        assert set(page) == {"results", "next", "previous"}
        rows += page["results"]
        link = "/" + page["next"].split("/", 3)[3] if page["next"] else None
        pages += 1
        assert pages < 200, "the pages do not end"
    return rows


def _sized(url: str, size: int) -> str:
    return f"{url}{'&' if '?' in url else '?'}page_size={size}"


def _fill(things: Things) -> None:
    """Several of everything that is listed; environments of the same rank among them."""
    site = things.site
    for number in range(5):
        make_pipeline(site.cast.ada, f"pipeline-{number}")
        external_run(site.cast.ada, site.pipeline)
        policies.create_environment(f"env-{number}", rank=7, by=site.cast.admin)
        site.publish(f"2.{number}.0")
        site.publish("1.0.0", package=f"package-{number}")


@pytest.mark.parametrize("call", LISTS, ids=str)
def test_pages_of_every_size_walk_every_row_once(
    call: Call, people: People, things: Things
) -> None:
    _fill(things)
    url = call.url(things)
    whole = people.ada.get(_sized(url, 200)).json
    assert whole["next"] is None
    assert whole["previous"] is None
    assert whole["results"]
    for size in (1, 2, 3, 7):
        assert walk(people.ada, _sized(url, size)) == whole["results"]


def test_previous_leads_back(people: People, things: Things) -> None:
    _fill(things)
    first = people.ada.get("pipelines/?page_size=2").json
    second = people.ada.get("/" + first["next"].split("/", 3)[3]).json
    back = people.ada.get("/" + second["previous"].split("/", 3)[3]).json
    assert back["results"] == first["results"]


def test_a_page_has_at_most_200_rows(people: People, things: Things) -> None:
    for _ in range(201):
        external_run(things.site.cast.ada, things.site.pipeline)
    assert len(people.ada.get("pipelines/app/runs/?page_size=1000").json["results"]) == 200
    assert len(people.ada.get("pipelines/app/runs/").json["results"]) == 50


def test_a_row_that_comes_between_two_pages_moves_none(people: People, things: Things) -> None:
    before = [run["number"] for run in walk(people.ada, "pipelines/app/runs/")]
    first = people.ada.get("pipelines/app/runs/?page_size=2").json
    external_run(things.site.cast.ada, things.site.pipeline)
    rest = walk(people.ada, "/" + first["next"].split("/", 3)[3])
    assert [run["number"] for run in first["results"] + rest] == before


def test_runs_are_filtered_by_their_status(people: People, things: Things) -> None:
    found = people.ada.get("pipelines/app/runs/?status=running").json["results"]
    assert [run["number"] for run in found] == [things.external.number]
    assert people.ada.get("pipelines/app/runs/?status=failed").json["results"] == []


@pytest.mark.parametrize(
    ("query", "which"),
    [("state=requested", {"requested"}), ("state=failed", {"failed"}), ("state=expired", set()),
     ("environment=staging&state=failed", {"failed"}), ("environment=nowhere", set()),
     ("environment=production&state=requested", set()), ("package=apps/app&state=requested",
     {"requested"}), ("package=apps/other", set()), ("package=app", set())],
)  # fmt: skip
def test_promotions_are_filtered(
    query: str, which: set[str], people: People, things: Things
) -> None:
    expected = {getattr(things, name).pk for name in which}
    found = people.ada.get(f"promotions/?{query}").json["results"]
    assert {each["id"] for each in found} == expected


def test_what_awaits_me_are_the_requests_of_others_that_i_may_decide(
    people: People, things: Things
) -> None:
    def awaiting(who: Api) -> list[int]:
        return [each["id"] for each in who.get("promotions/?awaiting=me").json["results"]]

    assert awaiting(people.ben) == [things.requested.pk]
    assert awaiting(people.ada) == []
    assert awaiting(people.dora) == []
    people.ben.post(
        f"promotions/{things.requested.pk}/reject/",
        {"plan_digest": things.requested.plan_digest},
        expect=200,
    )
    assert awaiting(people.cleo) == []


def test_placements_are_told_as_they_were(people: People, things: Things) -> None:
    path = "environments/staging/placements/"
    now = people.ada.get(path).json["results"]
    assert [each["version"] for each in now] == ["1.0.1"]
    (since,) = [each["since"] for each in now]
    assert people.ada.get(f"{path}?as_of={since}").json["results"] == now
    assert people.ada.get(f"{path}?as_of=2001-01-01").json["results"] == []
    history = people.ada.get("history/?type=promotion.completed&environment=staging").json
    first_placed = history["results"][-1]["at"]
    then = people.ada.get(f"{path}?as_of={since[:-7]}000000Z").json["results"]
    assert first_placed <= since
    assert [each["version"] for each in then] in ([], ["1.0.0"])


def test_environments_stand_in_their_order(people: People, things: Things) -> None:
    names = [each["name"] for each in people.ada.get("environments/").json["results"]]
    assert names == ["staging", "production"]
    made = people.admin.post("environments/", {"name": "last"}).json
    assert made["rank"] == 3
    people.admin.post("environments/", {"name": "first", "rank": 0})
    names = [each["name"] for each in people.ada.get("environments/").json["results"]]
    assert names == ["first", "staging", "production", "last"]


def test_a_package_tells_its_newest_version_that_may_be_used(
    people: People, things: Things
) -> None:
    path = "repositories/apps/packages/app/"
    assert people.ada.get(path).json["latest"] == "1.1.0"
    people.ben.post(f"{path}versions/1.1.0/recall/", {"reason": "It loses data."}, expect=200)
    assert people.ada.get(path).json["latest"] == "1.0.1"
    assert {each["environment"] for each in people.ada.get(path).json["placements"]} == {
        "staging",
        "production",
    }
