"""What is inside stored files: listings of archives and previews of texts.

Nothing is unpacked to disk, and no member is followed. A look costs time and memory, both bounded
(archives/nouns.py): only a few go on at once and of each person one, and their answers are kept,
which never grow stale, because bytes are named by what they are. Only refusals, and what a look
came to that had no time for more, are forgotten after a while.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Generic, TypeVar

from accounts.models import User
from pipelines import archives, blobs, previews
from pipelines.archives import Archive, Listing, Member
from pipelines.errors import Busy, BytesGone, Invalid, NotFound
from pipelines.models import Blob, BlobState
from pipelines.previews import Preview

#: Goes up when the same bytes would be listed otherwise, so that callers ask anew.
VERSION = 1
#: Looks that go on at once in one process, and for how many seconds further ones wait: longer than
#: a look may take.
MOST_AT_ONCE = 2
PATIENCE = 15.0
#: For how many seconds a look that came to no end, or to a refusal, stands for the next ones.
KEPT_FOR_NOW = 600.0
MOST_FOR_NOW = 20_000
#: What is kept: an answer weighs as many as it has members, and more where their names are long.
KEPT_MEMBERS = 100_000
LONG_NAME = 128
KEPT_SNIFFS = 20_000

Answer = TypeVar("Answer")


class Kept(Generic[Answer]):
    """Answers by key, those asked for last; the oldest go when they weigh too much in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: OrderedDict[Hashable, tuple[Answer, int]] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Answer | None:
        with self._lock:
            if key not in self._answers:
                return None
            self._answers.move_to_end(key)
            return self._answers[key][0]

    def put(self, key: Hashable, answer: Answer, weight: int = 1) -> None:
        with self._lock:
            if key in self._answers:
                self._weight -= self._answers.pop(key)[1]
            self._answers[key] = answer, weight
            self._weight += weight
            while self._weight > self._most:
                _, (_, gone) = self._answers.popitem(last=False)
                self._weight -= gone


_listings: Kept[Listing] = Kept(KEPT_MEMBERS)
_sniffs: Kept[str] = Kept(KEPT_SNIFFS)


class Turns:
    """Who looks just now. A person has one look, and one more that waits, so that nobody keeps all
    others waiting."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._looking: set[Hashable] = set()
        self._waiting: set[Hashable] = set()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, who: Hashable) -> Iterator[None]:
        """One look of `who`, or Busy where its turn does not come in time."""
        with self._changed:
            if who in self._waiting:
                raise Busy(
                    "You are looking into other archives just now, and another look of yours is "
                    "waiting already. Ask again in a moment."
                )
            self._waiting.add(who)
            has_come = self._changed.wait_for(lambda: self._is_free_for(who), PATIENCE)
            self._waiting.discard(who)
            if not has_come:
                raise Busy("Other archives are being looked into just now. Ask again in a moment.")
            self._looking.add(who)
        try:
            yield
        finally:
            with self._changed:
                self._looking.discard(who)
                self._changed.notify_all()

    def _is_free_for(self, who: Hashable) -> bool:
        return who not in self._looking and len(self._looking) < self._most


#: What stands for now: until when, and a listing or why there is none.
_for_now: Kept[tuple[float, Listing | str]] = Kept(MOST_FOR_NOW)
_turns = Turns(MOST_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Text:
    """A text to show, or `preview` None where it is none."""

    size: int | None
    preview: Preview | None
    member: Member | None = None


def tag(blob: Blob) -> str:
    """The entity tag of a listing that came to its end, known without a look."""
    return f'"{blob.sha256[:40]}-{VERSION}"'


def look_into(blob: Blob, name: str, *, by: User) -> Listing:
    """What is in the archive. Raises Invalid where it is none or cannot be looked into."""
    key = blob.sha256, name
    found = _listings.get(key) or _standing(key)
    if found is None:
        with _refusals_kept(key), _look(blob, by) as file:
            found = archives.look(Archive(file, blob.size, name))
        if found.is_hurried:
            _stand(key, found, weight_of(found))
        else:
            _listings.put(key, found, weight_of(found))
    return found


def _standing(key: Hashable) -> Listing | None:
    """What stands for now; a refusal is raised anew."""
    until, found = _for_now.get(key) or (0.0, None)
    if time.monotonic() >= until:
        return None
    if isinstance(found, str):
        raise Invalid(found)
    return found


def _stand(key: Hashable, answer: Listing | str, weight: int) -> None:
    _for_now.put(key, (time.monotonic() + KEPT_FOR_NOW, answer), weight)


@contextmanager
def _refusals_kept(key: Hashable) -> Iterator[None]:
    try:
        yield
    except Invalid as refusal:
        _stand(key, refusal.detail, 1 + len(refusal.detail) // LONG_NAME)
        raise


def weight_of(listing: Listing) -> int:
    letters = sum(len(each.path) + len(each.link_target) for each in listing.members)
    return 1 + len(listing.members) + letters // LONG_NAME


def read_text(blob: Blob) -> Text:
    """The beginning of a file, if it is a text."""
    with opened(blob) as file:
        data = file.read(previews.READ)
    return Text(blob.size, previews.preview(data, is_whole=len(data) >= blob.size))


def read_member(blob: Blob, name: str, index: int, *, by: User) -> Text:
    """The beginning of a member, by its position in the listing, if it is a text."""
    key = blob.sha256, name, index
    _standing(key)
    with _refusals_kept(key), _look(blob, by) as file:
        # One byte more tells whether there is more.
        member, data = archives.read_member(
            Archive(file, blob.size, name), index, previews.READ + 1
        )
    is_whole = len(data) <= previews.READ
    preview = previews.preview(data[: previews.READ], is_whole=is_whole)
    return Text(len(data) if is_whole else member.size, preview, member)


def sniff(blob: Blob) -> str:
    """ "archive", "text" or "" for neither, told by the first bytes of the file."""
    found = _sniffs.get(blob.sha256)
    if found is None:
        with opened(blob) as file:
            head = file.read(archives.HEAD)
            found = _word(head, blob, file)
        _sniffs.put(blob.sha256, found)
    return found


def known_sniff(blob: Blob) -> str | None:
    """The same where it is known already."""
    return _sniffs.get(blob.sha256)


def _word(head: bytes, blob: Blob, file: IO[bytes]) -> str:
    if archives.kind_of(head).form:
        return "archive"
    if archives.may_end_in_zip(head):
        try:
            archives.form_of(Archive(file, blob.size))
        except Invalid:
            pass
        else:
            return "archive"
    is_whole = len(head) >= blob.size
    return "text" if previews.preview(head, is_whole=is_whole) is not None else ""


@contextmanager
def opened(blob: Blob) -> Iterator[IO[bytes]]:
    """The stored bytes, or a refusal that says where they went."""
    if blob.state == BlobState.REMOVED:
        raise BytesGone(f"The bytes {blob.sha256} are no longer kept: retention removed them.")
    try:
        file = blobs.open_blob(blob)
    except FileNotFoundError as error:
        raise NotFound(
            f"The bytes {blob.sha256} are missing from the storage. Tell an operator."
        ) from error
    with file:
        yield file


@contextmanager
def _look(blob: Blob, by: User) -> Iterator[IO[bytes]]:
    """The stored bytes, for one of the few looks that may go on at once."""
    with _turns.turn(by.pk), opened(blob) as file:
        yield file
