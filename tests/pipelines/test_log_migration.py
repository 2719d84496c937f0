"""Logs of before are compressed, and can be made plain again."""

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from pipelines import logs
from pipelines.models import Job
from tests.cast import Site
from tests.pipelines.working import job, job_of, started, yaml

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = [("pipelines", "0005_push_hooks")]


def migrate(targets: list[tuple[str, str]]) -> Any:
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return executor.loader.project_state(targets).apps


@pytest.fixture
def newest() -> Any:
    # Of every app: what stands on these migrations is taken back with them.
    names = MigrationExecutor(connection).loader.graph.leaf_nodes()
    yield names
    migrate(names)


def test_a_plain_log_is_compressed_and_comes_back(site: Site, newest: Any) -> None:
    row = job_of(started(site, yaml({"only": job("true")})))
    Job.objects.filter(pk=row.pk).update(attempt=2, log_since=1)
    row.refresh_from_db()
    chunks = migrate(BEFORE).get_model("pipelines", "LogChunk").objects
    texts = {1: ["a", "b\n", "ä🙂\nc"], 2: ["again\n" * 5000, "x", "", "end\n"]}
    for attempt, pieces in texts.items():
        for sequence, text in enumerate(pieces):
            if text:
                chunks.create(
                    job_id=row.pk,
                    attempt=attempt,
                    sequence=sequence,
                    step="s1",
                    text=text,
                    written_at=timezone.now(),
                )
    migrate(newest)
    whole = "".join("".join(pieces) for pieces in texts.values())
    assert "".join(logs.read(row)) == whole
    places = list(row.log_chunks.values_list("attempt", "sequence", "characters", "lines"))
    assert places[:3] == [(1, 0, 1, 0), (1, 1, 2, 1), (1, 3, 4, 1)]
    logs.seal(row)
    assert "".join(logs.read(row)) == whole
    plain = migrate(BEFORE).get_model("pipelines", "LogChunk").objects
    ordered = plain.order_by("attempt", "sequence").values_list("text", flat=True)
    assert "".join(ordered) == whole
