"""What every test has: seals that only the tests themselves may open, and a queue to look at."""

import os
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import TransactionTestCase, override_settings

from tests.cast import Cast, Site, make_site
from tests.emptied import empty
from tests.site import DATA

# As many as tests/site.py has users of jobs for.
MOST_PROCESSES = 4
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup"}


def pytest_xdist_auto_num_workers() -> int:
    """Many tests wait for what they started, so there is one process more than processors."""
    return min(len(os.sched_getaffinity(0)) + 1, MOST_PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process has a long file left when the others are
    done (the Makefile keeps the order by --no-loadscope-reorder). And each test is marked that asks
    a database: the others say the same whichever it is, so they run once."""
    items.sort(key=lambda item: item.get_closest_marker("whole") is None)
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & DATABASE_FIXTURES or item.get_closest_marker("django_db"):
            item.add_marker("database")


@pytest.fixture(autouse=True, scope="session")
def tables_are_emptied_our_way() -> Iterator[None]:
    """Tests with real transactions empty the tables afterwards, which the seals refuse; and Django
    would go through every table and make all permissions anew, each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: empty())
        yield


@pytest.fixture(autouse=True)
def nobody_listens_to_the_queue(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Nudges are kept for the test to look at: the database is the truth, a nudge only hurries."""
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "pipelines.queue._send", lambda task, row_id, queue: sent.append((task, row_id))
    )
    return sent


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """A database for each process that tests. SQLite's is a file, as in production: threads cannot
    wait for each other's locks in memory."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(DATA / "test.sqlite3")


@pytest.fixture(autouse=True, scope="session")
def passwords_are_hashed_fast() -> Iterator[None]:
    """The cast has seven passwords in almost every test; none of them needs to withstand anyone."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def cast(site: Site) -> Cast:
    return site.cast
