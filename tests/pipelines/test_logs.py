"""Logs: written in pieces, masked, capped, merged when the job has ended, and read by lines."""

import base64
import random
import zlib
from collections.abc import Callable

import pytest
from django.db import DatabaseError
from django.test import override_settings

from pipelines import logs, tails
from pipelines.logs import LogWriter
from pipelines.masking import Masker
from pipelines.models import Job, LogChunk
from tests.cast import Site
from tests.pipelines.working import job, job_of, log_of, one_job, started, yaml
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def running(site: Site) -> Job:
    """A job whose first attempt has begun."""
    made = job_of(started(site, yaml({"only": job("true", "true")})))
    return attempt(made, 1)


def attempt(row: Job, number: int, *, since: int = 1) -> Job:
    Job.objects.filter(pk=row.pk).update(attempt=number, log_since=since)
    return Job.objects.get(pk=row.pk)


def text_of(row: Job) -> str:
    return "".join(logs.read(row))


def pieces(row: Job) -> list[tuple[int, str, str]]:
    return [(each.attempt, each.step, each.text) for each in LogChunk.objects.filter(job=row)]


def in_pieces(row: Job, *texts: str, step: str = "s1", masker: Masker | None = None) -> LogWriter:
    """Write each text as a piece of its own."""
    writer = LogWriter(row, masker)
    writer.begin_step(step)
    for text in texts:
        writer.write(text.encode())
        writer.flush()
    return writer


# ---- Writing -----------------------------------------------------------------------------------
def test_a_piece_is_kept_compressed_with_its_size_and_its_lines(running: Job) -> None:
    in_pieces(running, "ä\n" * 5000, "end")
    first, second = LogChunk.objects.filter(job=running)
    assert zlib.decompress(first.data).decode() == "ä\n" * 5000
    assert len(first.data) < 200
    assert (first.sequence, first.characters, first.lines) == (0, 10_000, 5000)
    assert (second.sequence, second.characters, second.lines) == (10_000, 3, 0)


SECRET = "hunter2-and-more"


def test_no_secret_gets_into_the_log_whoever_says_it(running: Job) -> None:
    writer = LogWriter(running, Masker([SECRET]))
    writer.begin_step("s1")
    writer.say(f"cloning https://user:{SECRET}@host/")
    encoded = base64.b64encode(f"user:{SECRET}".encode()).decode()
    for byte in f"{SECRET} and {encoded} and hunter".encode():
        writer.write(bytes([byte]))
    writer.begin_step("s2")
    writer.write(b"2-and-more\n")
    writer.close()
    said, *rest = text_of(running).splitlines()
    assert said == "[sluice] cloning https://user:***@host/"
    # The character before the mask is made of the colon and only two bits of the secret.
    assert rest == ["*** and dXNlcjp*** and hunter", "2-and-more"]


def test_a_secret_that_is_learnt_meanwhile_is_hidden_from_then_on(running: Job) -> None:
    masker = Masker()
    writer = LogWriter(running, masker)
    masker.add(SECRET)
    writer.write(f"{SECRET}\n".encode())
    writer.close()
    assert text_of(running) == "***\n"


def test_what_is_held_back_is_little_and_comes_when_the_step_ends(running: Job) -> None:
    writer = in_pieces(running, step="s1", masker=Masker([SECRET]))
    writer.write(b"line\nhunter2")
    writer._store()
    assert text_of(running) == "line\n"
    writer.begin_step("s2")
    assert pieces(running) == [(1, "s1", "line\n"), (1, "s1", "hunter2\n")]


def test_sluice_speaks_on_a_line_of_its_own(running: Job) -> None:
    writer = in_pieces(running, "no end")
    writer.say("It ended with exit code 1.")
    writer.close()
    assert text_of(running) == "no end\n[sluice] It ended with exit code 1.\n"


def test_a_full_log_counts_what_it_drops_and_still_hears_sluice(running: Job) -> None:
    with override_settings(MAX_LOG_BYTES=1000):
        writer = LogWriter(running)
    block = b"x" * 1_000_000
    for _ in range(1000):
        writer.write(block)
    writer.say("It ended with exit code 1.")
    writer.close()
    writer.close()
    assert text_of(running) == (
        "x" * 1000
        + "\n[sluice] the log is full; what comes after this is dropped\n"
        + "[sluice] It ended with exit code 1.\n"
        + "[sluice] 999,999,000 bytes were dropped\n"
    )


def test_sluice_itself_cannot_fill_a_log_without_end(running: Job) -> None:
    writer = LogWriter(running)
    for _ in range(1000):
        writer.say("x" * 1000)
    writer.close()
    assert len(text_of(running)) <= logs.OWN_ROOM


def test_a_log_that_is_exactly_full_lost_nothing(running: Job) -> None:
    with override_settings(MAX_LOG_BYTES=5):
        writer = LogWriter(running)
    writer.write(b"12345")
    writer.close()
    assert text_of(running) == "12345"


# ---- Merging -----------------------------------------------------------------------------------
def test_the_pieces_of_an_ended_attempt_become_few(running: Job) -> None:
    writer = in_pieces(running, *["one\n"] * 50)
    writer.begin_step("s2")
    writer.write(b"two\n")
    writer.close()
    before = text_of(running)
    logs.seal(running)
    assert pieces(running) == [(1, "s1", "one\n" * 50), (1, "s2", "two\n")]
    assert [each.lines for each in LogChunk.objects.filter(job=running)] == [50, 1]
    assert text_of(running) == before
    with nothing_changes():
        logs.seal(running)


def test_a_merged_piece_has_a_limit(running: Job) -> None:
    noise = random.Random(7)
    texts = ["".join(noise.choices("abc\n", k=60_000)) for _ in range(12)]
    in_pieces(running, *texts)
    logs.seal(running)
    sizes = [each.characters for each in LogChunk.objects.filter(job=running)]
    assert sum(sizes) == 720_000
    assert max(sizes) <= logs.PIECE
    assert len(sizes) == 3
    assert text_of(running) == "".join(texts)


def test_merging_that_is_interrupted_is_done_by_the_next_call(
    running: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = in_pieces(running, "a\n", "b\n")
    writer.begin_step("s2")
    for text in (b"c\n", b"d\n"):
        writer.write(text)
        writer.flush()
    whole, merged = logs._merge, 0

    def broken(keys: list[int]) -> None:
        nonlocal merged
        merged += 1
        if merged == 2:
            raise DatabaseError("lost")
        whole(keys)

    with monkeypatch.context() as patch, pytest.raises(DatabaseError):
        patch.setattr(logs, "_merge", broken)
        logs.seal(running)
    assert text_of(running) == "a\nb\nc\nd\n"
    logs.seal(running)
    assert pieces(running) == [(1, "s1", "a\nb\n"), (1, "s2", "c\nd\n")]


def test_two_that_merge_at_once_lose_nothing(running: Job) -> None:
    in_pieces(running, "a\n", "b\n", "c\n")
    keys = list(LogChunk.objects.filter(job=running).values_list("pk", flat=True))
    logs.seal(running)
    with nothing_changes():
        logs._merge(keys)


# ---- Which attempts are read ---------------------------------------------------------------------
def test_the_log_is_that_of_the_attempts_that_count(running: Job) -> None:
    in_pieces(running, "first")
    second = attempt(running, 2)
    in_pieces(second, "second\n")
    assert text_of(second) == "firstsecond\n"
    third = attempt(running, 3, since=2)
    in_pieces(third, "third\n")
    assert text_of(third) == "second\nthird\n"
    assert text_of(attempt(running, 3, since=3)) == "third\n"


# ---- By lines ------------------------------------------------------------------------------------
def read(row: Job, after: tails.Place | None = None, *, whole: bool = False) -> list[str]:
    place = after or tails.start(row)
    return [line.text for line in tails.lines(row, place, whole=whole)]


def test_a_line_that_comes_in_pieces_is_one_line(running: Job) -> None:
    in_pieces(running, "a", "b\nc", "", "d\n\ne")
    assert read(running) == ["ab", "cd", ""]
    assert read(running, whole=True) == ["ab", "cd", "", "e"]


@pytest.mark.parametrize("sealed", [False, True])
def test_reading_on_from_any_line_misses_none_and_repeats_none(running: Job, sealed: bool) -> None:
    in_pieces(running, *[f"{nth} " + "x" * (nth % 7) + "\n" * (nth % 3) for nth in range(200)], "e")
    second = attempt(running, 2)
    in_pieces(second, "again\n", "and again")
    whole = list(tails.lines(second, tails.start(second), whole=True))
    assert [line.number for line in whole] == list(range(1, len(whole) + 1))
    assert "\n".join(line.text for line in whole[-2:]) == "again\nand again"
    if sealed:
        logs.seal(second)
    place = tails.start(second)
    for nth, line in enumerate(whole, 1):
        place = place.after(line)
        again = list(tails.lines(second, tails.Place.read(str(place)), whole=True))
        assert again == whole[nth:]


def test_a_reader_reads_on_while_the_pieces_are_merged(running: Job) -> None:
    writer = in_pieces(running, "a\n", "b\n")
    place = tails.start(running)
    for line in tails.lines(running, place, whole=False):
        place = place.after(line)
    writer.write(b"c\n")
    writer.close()
    logs.seal(running)
    assert read(running, place) == ["c"]


def test_an_attempt_after_which_another_began_has_no_open_line(running: Job) -> None:
    in_pieces(running, "died here")
    second = attempt(running, 2)
    in_pieces(second, "x\n")
    assert read(second) == ["died here", "x"]


@pytest.mark.parametrize(
    "text", ["", "1", "1.2.3.4", "1.2.3.4.5.6", "a.b.c.d.e", "-1.0.0.0.0", "1.٣.0.0.0", "1.2.3.4.x"]
)
def test_what_is_no_place_is_read_from_the_beginning(running: Job, text: str) -> None:
    in_pieces(running, "a\n")
    place = tails.Place.read(text)
    assert tails.is_stale(place, running)
    assert read(running, place) == ["a"]


def test_a_place_in_an_attempt_that_no_longer_counts_is_stale(running: Job) -> None:
    place = tails.Place(1, 5, 1)
    assert not tails.is_stale(place, running)
    assert tails.is_stale(place, attempt(running, 2, since=2))


Write = Callable[[Job], Job]


def _one_attempt(row: Job) -> Job:
    writer = in_pieces(row, "1\n2", "\n3\n", "4", "4\n5\n")
    writer.begin_step("s2")
    writer.write(b"6\n7\n")
    writer.close()
    return row


def _two_attempts(row: Job) -> Job:
    in_pieces(row, "1\n2", "2")
    second = attempt(row, 2)
    in_pieces(second, "3\n", "4\n5")
    return second


def _merged(row: Job) -> Job:
    made = _one_attempt(row)
    logs.seal(made)
    return made


@pytest.mark.parametrize("write", [_one_attempt, _two_attempts, _merged])
def test_every_line_is_found_by_its_number(running: Job, write: Write) -> None:
    made = write(running)
    whole = list(tails.lines(made, tails.start(made), whole=True))
    index = tails.Index(made)
    assert index.count(whole=True) == len(whole)
    assert index.count(whole=False) == len(whole) - (write is _two_attempts)
    for number in range(1, len(whole) + 1):
        place = index.before_line(number)
        assert place.lines == number - 1
        assert list(tails.lines(made, place, whole=True)) == whole[number - 1 :]
    for number in (len(whole) + 1, len(whole) + 100):
        assert read(made, index.before_line(number), whole=True) == []
    for number in (0, -5):
        assert read(made, index.before_line(number), whole=True) == [line.text for line in whole]


def test_the_parts_of_a_log_are_told_by_the_line_at_which_each_begins(running: Job) -> None:
    assert tails.Index(running).parts() == []
    made = _one_attempt(running)
    assert tails.Index(made).parts() == [tails.Part(1, "s1", 1), tails.Part(1, "s2", 6)]


def test_an_empty_log_has_no_line(running: Job) -> None:
    index = tails.Index(running)
    assert (index.count(whole=True), read(running, index.before_line(5))) == (0, [])


def test_a_very_long_line_is_kept_whole(site: Site) -> None:
    run = one_job(site, "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after")
    long, after = [line.text for line in tails.lines(job_of(run), tails.Place(), whole=True)]
    assert (len(long), after) == (3_000_000, "after")
    assert len(log_of(run)) == 3_000_007
