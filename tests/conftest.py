"""What every test has: seals that only the tests themselves may open, and a queue to look at."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import TransactionTestCase

from tests.sealed import unsealed


@pytest.fixture(autouse=True, scope="session")
def flush_may_pass_the_seals() -> Iterator[None]:
    """Tests with real transactions empty the tables afterwards, which the seals refuse."""
    case_class: Any = TransactionTestCase
    whole = case_class._fixture_teardown

    def teardown(case: Any) -> None:
        with unsealed():
            whole(case)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", teardown)
        yield


@pytest.fixture(autouse=True)
def nobody_listens_to_the_queue(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Nudges are kept for the test to look at: the database is the truth, a nudge only hurries."""
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr("pipelines.queue._send", lambda task, row_id: sent.append((task, row_id)))
    return sent
