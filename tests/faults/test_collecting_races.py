"""GC against publish: one winner. Publishers, pruners and collectors at each other's throats."""

import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from threading import Event

import pytest
from django.db import connection

from pipelines import artifacts, blobs, collecting, runs
from pipelines.errors import BytesGone
from pipelines.models import Artifact, Blob, BlobState, ExecutionState, Run
from promotion import publishing, retention
from promotion.keeping import Rules
from promotion.ledger.verify import Verification
from promotion.models import Version
from tests.cast import Site, make_site

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600),
]

ROUNDS = 10_000
#: What a publisher keeps and refers to at once, and what it refers to beside that because somebody
#: kept it before. Each file is a round that the collector may win.
FRESH, AGAIN = 10, 40
#: How many such artifacts a run makes, and how many of one file, which nobody reads again before it
#: is referred to. All of them are published when the run has succeeded.
LARGE, SMALL = 5, 9
#: For how many seconds at most somebody knows of bytes before he refers to them.
PAUSE = 0.03
PUBLISHERS = 3
PACKAGES = 4
#: So few contents that the same bytes come, go and come again all the time.
CONTENTS = 1000
NO_GRACE = timedelta(0)


@dataclass
class Race:
    """What all threads share. `refused` counts rounds that a publisher lost to the collector;
    `broken` is everything that is no such refusal."""

    site: Site
    over: Event = field(default_factory=Event)
    rounds: int = 0
    refused: int = 0
    published: int = 0
    pruned: int = 0
    removed: int = 0
    broken: list[BaseException] = field(default_factory=list)


def content(number: int) -> bytes:
    return b"content %d\n" % number


def publish_until(race: Race, most: int, seed: int) -> None:
    """Keep bytes, record them as artifacts, publish these as versions, over and over."""
    dice, turn = random.Random(seed), 0
    while race.rounds < most:
        turn += 1
        run = runs.report(race.site.pipeline, by=race.site.cast.ada)
        sizes = [(FRESH, AGAIN)] * LARGE + [(1, 0), (0, 1), (0, 1)] * (SMALL // 3)
        dice.shuffle(sizes)
        made = [
            _made(race, run, f"a{number}", fresh, again, dice)
            for number, (fresh, again) in enumerate(sizes)
        ]
        runs.finish(run, ExecutionState.SUCCEEDED, by=race.site.cast.ada)
        for number, artifact in enumerate(made):
            package = f"package-{dice.randrange(PACKAGES)}"
            if artifact is not None:
                _publish(race, package, f"{seed}.{turn}.{number}", artifact)


def _made(
    race: Race, run: Run, name: str, fresh: int, again: int, dice: random.Random
) -> Artifact | None:
    numbers = dice.sample(range(CONTENTS), fresh + again)
    known = [hashlib.sha256(content(number)).hexdigest() for number in numbers[fresh:]]
    try:
        kept = [blobs.keep_bytes([content(number)]) for number in numbers[:fresh]]
        files = [
            artifacts.NamedBlob(blob.pk, blob)
            for blob in [*kept, *Blob.objects.there().filter(pk__in=known)]
        ]
        if not files:
            return None
        race.rounds += len(files)
        race.over.wait(dice.random() * PAUSE)
        place = artifacts.Place("build", "build", "upload")
        return artifacts.report_files(run, place, name, files, by=race.site.cast.ada)
    except BytesGone:
        race.refused += 1
        return None


def _publish(race: Race, package: str, name: str, artifact: Artifact) -> None:
    found = Artifact.objects.select_related("run__pipeline", "run__revision").get(pk=artifact.pk)
    publishing.publish(race.site.repository, package, name, found, by=race.site.cast.ada)
    race.published += 1


def each(race: Race, rounds: int, act: Callable[[], None]) -> None:
    """Do `act` once in so many rounds: left to themselves they would take all the time there is."""
    due = 0
    while not race.over.wait(0.002):
        if race.rounds >= due:
            due = race.rounds + rounds
            act()


def prune(race: Race) -> None:
    race.pruned += retention.retain()


def collect(race: Race) -> None:
    race.removed += collecting.collect(grace=NO_GRACE)


def at_work(race: Race, act: Callable[[], None]) -> None:
    try:
        act()
    except BaseException as broken:
        race.broken.append(broken)
    finally:
        connection.close()


def run_race(site: Site, rounds: int) -> Race:
    retention.set_rules(site.repository, Rules(newest=2, placed_days=0), by=site.cast.admin)
    race = Race(site)
    with ThreadPoolExecutor(PUBLISHERS + 3) as pool:
        others = [
            pool.submit(at_work, race, partial(each, race, rounds_each, partial(act, race)))
            for act, rounds_each in ((prune, 300), (collect, 60), (collect, 60))
        ]
        publishers = [
            pool.submit(at_work, race, partial(publish_until, race, rounds, seed))
            for seed in range(1, PUBLISHERS + 1)
        ]
        for publisher in publishers:
            publisher.result()
        race.over.set()
        for other in others:
            other.result()
    return race


def lost(version: Version) -> list[str]:
    """The files of a version, and its bundle, that do not read as what they were."""
    stored = {file.blob for file in version.files.select_related("blob")}
    if version.bundle is not None:
        stored.add(version.bundle)
    return [str(blob) for blob in stored if not blobs.reads_true(blob)]


def findings() -> list[str]:
    return [each for result in Verification(scrub=True).run() for each in result.findings]


def test_ten_thousand_races_of_publishers_with_pruners_and_collectors_lose_nothing() -> None:
    race = run_race(make_site(), ROUNDS)
    assert race.broken == []
    assert race.rounds >= ROUNDS
    kept = Version.objects.with_bytes().select_related("bundle")
    assert {str(version): lost(version) for version in kept if lost(version)} == {}
    assert findings() == []
    # It was a race: each of them has won.
    assert Version.objects.count() == race.published > 0
    assert Version.objects.filter(pruned_at__isnull=False).count() == race.pruned > 0
    assert min(race.removed, race.refused) > 0
    # Once all is quiet, only what is needed is left, and all of that.
    retention.retain()
    collecting.collect(grace=NO_GRACE)
    assert findings() == []
    needed = collecting.referenced().values_list("pk", flat=True)
    assert set(needed) == set(Blob.objects.there().values_list("pk", flat=True))
    assert not Blob.objects.filter(state=BlobState.CONDEMNED).exists()
