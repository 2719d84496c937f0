"""How many SQL statements a call takes: pinned, so that no list grows one per row."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from pipelines import runs
from tests.api.caller import V1, Api
from tests.api.conftest import People, Things
from tests.cast import external_run, make_artifact, make_pipeline

CONTROL = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "COMMIT")


def statements(act: Callable[[], Any]) -> list[str]:
    """The SQL of `act`, without what opens and closes transactions."""
    with CaptureQueriesContext(connection) as captured:
        act()
    return [
        each["sql"] for each in captured.captured_queries if not each["sql"].startswith(CONTROL)
    ]


def count(act: Callable[[], Any]) -> int:
    return len(statements(act))


VERSION = "repositories/apps/packages/app/versions/1.0.1/"
RESOLVE = "repositories/apps/packages/app/resolve/?environment=production"
SELECT = {"repository": "apps", "package": "app", "environment": "production"}


def test_one_version_takes_six_statements(people: People) -> None:
    assert count(lambda: people.production.get(VERSION)) <= 6


def test_resolving_takes_eleven_statements(people: People) -> None:
    assert count(lambda: people.production.get(RESOLVE)) <= 11


def test_selecting_takes_sixteen_statements(people: People) -> None:
    assert count(lambda: people.production.post("selections/", SELECT)) <= 16


def test_publishing_takes_a_fixed_number_of_statements_whatever_the_number_of_files(
    people: People, things: Things
) -> None:
    def publish(name: str, files: int) -> int:
        content = {f"{number}.txt": f"{name} {number}".encode() for number in range(files)}
        artifact = make_artifact(things.site.cast.ada, things.site.pipeline, content)
        body = {"version": name, "artifact": artifact.pk}
        path = "repositories/apps/packages/app/versions/"
        return count(lambda: people.ada.post(path, body))

    one = publish("5.0.0", 1)
    assert publish("5.0.1", 40) == one
    # Two of them hold the bytes against the collector, one the artifact against being forgotten.
    assert one <= 21


def _more(things: Things) -> None:
    """More rows of everything that is listed."""
    site = things.site
    for number in range(6):
        site.promote(site.staging, site.publish(f"6.{number}.0"))
        site.request(site.staging, site.publish("1.0.0", package=f"package-{number}"))
        make_pipeline(site.cast.ada, f"pipeline-{number}")
        external_run(site.cast.ada, site.pipeline)
        runs.start(site.pipeline, by=site.cast.ada)


@pytest.mark.parametrize(
    ("path", "most"),
    [("promotions/", 11), ("pipelines/", 3), ("pipelines/app/runs/", 7),
     ("repositories/apps/packages/", 5), ("repositories/apps/packages/app/versions/", 8),
     ("environments/", 2), ("environments/staging/placements/", 3), ("history/", 2),
     ("repositories/", 2), ("pipelines/app/revisions/", 3)],
)  # fmt: skip
def test_a_list_takes_the_same_statements_however_long_it_is(
    path: str, most: int, people: People, things: Things
) -> None:
    before = count(lambda: people.ada.get(path))
    _more(things)
    assert count(lambda: people.ada.get(f"{path}?page_size=200")) == before
    assert before <= most


@pytest.mark.parametrize("form", ["text/csv", "application/x-ndjson"])
def test_a_stream_of_the_history_takes_the_same_statements_however_long_it_is(
    form: str, people: People, things: Things
) -> None:
    before = count(lambda: people.dora.get("history/", Accept=form))
    _more(things)
    assert count(lambda: people.dora.get("history/", Accept=form)) == before


@pytest.mark.parametrize("path", ["/", "/history/", "/promotions/", "/waiting/", "/pipelines/"])
def test_a_page_takes_the_same_statements_however_much_it_shows(path: str, things: Things) -> None:
    client = Client()
    client.force_login(things.site.cast.ben)

    def look() -> None:
        assert client.get(path).status_code == 200

    look()
    before = count(look)
    _more(things)
    after = statements(look)
    assert len(after) <= before, "\n".join(after)


def test_a_call_looks_its_caller_up_in_one_statement(people: People) -> None:
    client = Api(people.production.token)
    found = [sql for sql in statements(lambda: client.get(V1 + VERSION)) if "accounts_token" in sql]
    assert len(found) == 1
