"""Hide secrets in a stream of text, in whatever form they come and however the stream is cut.

Pure Python. A secret is looked for as it is, URL-encoded, and inside of base64: what base64 makes
of it depends on where it begins in a group of three bytes, so there are three of those, in two
alphabets. A secret of several lines, like a private key, is hidden line by line.
"""

import re
from base64 import b64encode
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote, quote_plus

MASK = "***"
#: A shorter secret would be found everywhere, and hidden where it is none.
SHORTEST = 4
SHORTEST_LINE = 8
#: A longer form is looked for in pieces, so that little text is ever held back.
PIECE = 64

#: By so many of its first characters a form is found before it is compared.
ANCHOR = 4

# Programs break base64 into lines, but nobody breaks it twice within an anchor.
MOST_BREAK = 2
BREAKS = "\r\n"
BROKEN = re.compile(r"(\r?\n|\r)")
TO_URL_SAFE = str.maketrans("+/", "-_")
ESCAPED = re.compile(r"%[0-9A-F]{2}")
LINE_END = re.compile(r"\r\n|\r|\n")
#: `key: value`, `key=value` or `"key": "value",` of a kubeconfig, an env file or a JSON credential.
ASSIGNED = re.compile(r"""["']?[\w.-]+["']?\s*[:=]\s*["']?(.+?)["']?,?""")

# The signature of one of Sluice's own links needs no sign-in, and more people read logs than may
# download. It is not known beforehand, but looks like nothing else.
LINK = "signature="
LONGEST_LINK = len(LINK) + 256
SIGNED = r"[A-Za-z0-9%:_.-]"
OPEN_LINK = re.compile(f"{LINK}{SIGNED}*")
SIGNED_LINK = f"(?P<link>{LINK}){SIGNED}{{1,{LONGEST_LINK - len(LINK)}}}"


@dataclass(frozen=True, slots=True)
class _Form:
    """One text to look for. What stands beyond its first `needed` characters may be missing."""

    text: str
    needed: int
    may_break: bool = False

    def end_in(self, text: str, start: int) -> int | None:
        """Where the form ends that begins at `start`; None where another text stands there."""
        end: int | None = start + self.needed
        if not text.startswith(self.text[: self.needed], start):
            end = _walk(text, start, self.text[: self.needed]) if self.may_break else None
        if end is None or self.needed == len(self.text):
            return end
        last, padding = self.text[self.needed], self.text[self.needed + 1 :]
        further = _walk(text, end, last)
        if further is None:
            return end
        return further + len(padding) * text.startswith(padding, further)


def _walk(text: str, at: int, wanted: str) -> int | None:
    """The end of `wanted` at this place of the text, whatever line breaks lie inside of it."""
    for character in wanted:
        breaks = 0
        while breaks < MOST_BREAK and text[at : at + 1] in BREAKS and at < len(text):
            at, breaks = at + 1, breaks + 1
        if not text.startswith(character, at):
            return None
        at += 1
    return at


def masked(text: str, secrets: Iterable[str]) -> str:
    """A whole text without any form of the secrets."""
    masker = Masker(secrets)
    return masker.feed(text) + masker.finish()


class Masker:
    """Replaces every form of the secrets it was given by `***`. More may be added at any time."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[_Form] = set()
        self._held = ""
        self._has_just_masked = False
        self._is_prepared = False
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> bool:
        """Hide `secret` from now on; False where it is too short to be hidden sensibly."""
        forms = [form for each in _parts(secret) for form in _forms(each)]
        self._forms.update(forms)
        self._is_prepared = False
        return bool(forms)

    def feed(self, text: str) -> str:
        """The next piece of text without secrets. Its end waits while it may begin a secret."""
        return self._masked(self._held + text, is_end=False)

    def finish(self) -> str:
        """What was held back: nothing follows it any more."""
        return self._masked(self._held, is_end=True)

    def _prepare(self) -> None:
        forms = sorted(self._forms, key=lambda form: len(form.text), reverse=True)
        self._plain = sorted({LINK, *(form.text for form in forms if not form.may_break)})
        self._broken = sorted({form.text for form in forms if form.may_break})
        self._first = frozenset(text[0] for text in (*self._plain, *self._broken))
        self._longest = max(
            len(form.text) * (1 + MOST_BREAK * form.may_break)
            for form in (*forms, _Form(LINK, len(LINK)))
        )
        self._by_anchor: dict[str, list[_Form]] = {}
        for form in forms:
            self._by_anchor.setdefault(form.text[:ANCHOR], []).append(form)
        anchors = _alternatives([*self._by_anchor])
        self._pattern = re.compile(f"{anchors}|{SIGNED_LINK}" if anchors else SIGNED_LINK)
        self._is_prepared = True

    def _masked(self, text: str, *, is_end: bool) -> str:
        if not self._is_prepared:
            self._prepare()
        made: list[str] = []
        at = 0
        while True:
            limit = len(text) if is_end else self._first_open(text, at)
            found = self._next(text, at, limit)
            if found is None:
                break
            start, end = found
            made += self._shown(text[at:start])
            made += self._hidden(text[start:end])
            at = end
        made += self._shown(text[at:limit])
        self._held = text[limit:]
        return "".join(made)

    def _next(self, text: str, at: int, limit: int) -> tuple[int, int] | None:
        """The first and longest form from `at` on.

        What begins at `limit` or later may turn out to be part of something longer.
        """
        while (found := self._pattern.search(text, at)) and found.start() < limit:
            start = found.start()
            if found["link"]:
                return found.end("link"), found.end()
            ends = [form.end_in(text, start) for form in self._by_anchor[found[0]]]
            if end := max((each for each in ends if each), default=0):
                return start, end
            at = start + 1
        return None

    def _shown(self, text: str) -> Iterator[str]:
        if text:
            self._has_just_masked = False
            yield text

    def _hidden(self, secret: str) -> Iterator[str]:
        """The mask, on each line that the secret was on; once where secrets touch each other."""
        for nth, part in enumerate(BROKEN.split(secret)):
            if nth % 2:
                yield from self._shown(part)
            elif part and not self._has_just_masked:
                self._has_just_masked = True
                yield MASK

    def _first_open(self, text: str, at: int) -> int:
        """Where the first text begins that could still become a form, or the end."""
        first = len(text)
        link = text.rfind(LINK, at)
        if link >= 0 and len(text) - link < LONGEST_LINK and OPEN_LINK.fullmatch(text, link):
            first = link
        for start in range(max(at, len(text) - self._longest), first):
            if text[start] in self._first and self._may_go_on(text[start:]):
                return start
        return first

    def _may_go_on(self, end: str) -> bool:
        if _begins_one(self._plain, end):
            return True
        whole = BROKEN.sub("", end)
        if len(whole) != len(end) and any(each in BREAKS for each in end[:ANCHOR]):
            return False
        return _begins_one(self._broken, whole)


def _begins_one(texts: list[str], start: str) -> bool:
    """Whether one of the sorted texts begins with `start` and is longer."""
    at = bisect_left(texts, start)
    if at < len(texts) and texts[at] == start:
        at += 1
    return at < len(texts) and texts[at].startswith(start)


def _alternatives(texts: list[str]) -> str:
    """One regular expression for all texts; alike beginnings are told apart only once."""
    if len(texts) < 2:
        return re.escape("".join(texts))
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(text[0], []).append(text[1:])
    return "|".join(
        f"{re.escape(first)}(?:{_alternatives(rests)})" for first, rests in groups.items()
    )


# ---- What a secret may look like ---------------------------------------------------------------
def _parts(secret: str) -> Iterator[str]:
    """The texts to hide: the secret, or the lines of it that are long enough, and their values."""
    lines = [line.strip() for line in LINE_END.split(secret.strip())]
    if len(lines) == 1:
        if len(lines[0]) >= SHORTEST:
            yield lines[0]
        return
    for line in lines:
        assigned = ASSIGNED.fullmatch(line)
        # A key inside of JSON has its line ends written as \n.
        values = assigned[1].split("\\n") if assigned else []
        yield from (each for each in {line, *values} if len(each) >= SHORTEST_LINE)


def _forms(secret: str) -> Iterator[_Form]:
    escaped = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    # JavaScript's encodeURIComponent lets these stand as well.
    escaped.add(quote(secret, safe="!'()*"))
    lower = {ESCAPED.sub(lambda found: found[0].lower(), each) for each in escaped}
    for text in {secret} | escaped | lower:
        yield from _pieces(_Form(text, len(text)))
    for skipped in range(3):
        for form in _base64(secret.encode("utf-8", "surrogatepass"), skipped):
            yield from _pieces(form)
            yield from _pieces(_Form(form.text.translate(TO_URL_SAFE), form.needed, form.may_break))


def _base64(data: bytes, skipped: int) -> Iterator[_Form]:
    """What of base64 the data alone decides, where it begins `skipped` bytes into a group.

    The last character is decided by what follows; where nothing does, it and the padding are
    those of the data's own end.
    """
    text = b64encode(bytes(skipped) + data).decode()
    first = (0, 2, 3)[skipped]
    yield _Form(text[first:], (skipped + len(data)) * 8 // 6 - first, may_break=True)


def _pieces(form: _Form) -> Iterator[_Form]:
    """The form cut evenly into pieces that touch each other, the last with what may be missing."""
    count = -(-form.needed // PIECE)
    cuts = [form.needed * nth // count for nth in range(count + 1)]
    for start, end in pairwise(cuts):
        until = len(form.text) if end == form.needed else end
        yield _Form(form.text[start:until], end - start, form.may_break)
        # A line may have ended within the anchor: then what stands on the next one is still found.
        if form.may_break and end - start >= 16 + ANCHOR:
            yield _Form(form.text[start + ANCHOR : until], end - start - ANCHOR, may_break=True)
