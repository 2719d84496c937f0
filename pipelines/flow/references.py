"""The grammar of `$[…]`, which names artifacts, and of `${…}`, which names variables.

    $[jobs.<job>.<step>.artifacts.<artifact>]
    $[stages.<stage>.<job>.<step>.artifacts.<artifact>]
    $[sources.<source>.stages.<stage>.<job>.<step>.artifacts.<artifact>]
    $[sources.<source>]

each with an optional property at its end, like `.downloadUrl`. `${VAR}` may stand inside.

A value that replaces a variable or a reference is never read again: what someone typed into a
variable or a commit message cannot become a reference, nor grow without bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pipelines.flow.problems import nearest

Kind: TypeAlias = Literal["job", "stage", "pipeline", "source"]

PROPERTIES: Final = (
    "downloadUrl",
    "dockerUrl",
    "dockerTag",
    "md5",
    "version",
    "sha256",
    "digest",
)
DEFAULT_ARTIFACT: Final = "default"  # the step's own artifact, whatever it is called
LENGTH_LIMIT: Final = 600  # of the part between the brackets
EXPANSION_LIMIT: Final = 8 * 1024 * 1024  # characters after replacement

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OPENING = re.compile(r"\$\[")
_BODY = re.compile(rf"[^\[\]\n]{{0,{LENGTH_LIMIT}}}")
_HOP = re.compile(r"(?:[A-Za-z0-9_-]|\$\{[A-Za-z_][A-Za-z0-9_]*\})+")
_ARTIFACT = re.compile(r"(?:[^\s\[\]{}$\x00-\x1f\x7f]|\$\{[A-Za-z_][A-Za-z0-9_]*\})+")
# `$[1+2]` is arithmetic to some shells. Only what begins like a path is meant as a reference.
_ATTEMPT = re.compile(
    r"\s*(?:$|(?:jobs|stages|sources)(?![A-Za-z0-9_])|(?:[A-Za-z_][\w-]*|\$\{\w+\})\s*\.)"
)


class ReferenceError_(ValueError):  # noqa: N801 -- ReferenceError is a built-in
    """A reference cannot be read. `offset` counts from 0 in the text that was searched."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference as written; `start` and `end` delimit it in the text that was searched."""

    text: str
    kind: Kind
    source: str | None = None
    stage: str | None = None
    job: str | None = None
    step: str | None = None
    artifact: str | None = None
    property: str | None = None
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Something that was meant as a reference: either the reference, or what is wrong with it."""

    text: str
    start: int
    end: int
    reference: Reference | None
    error: ReferenceError_ | None


@dataclass(frozen=True, slots=True)
class FoundVariable:
    name: str
    start: int
    end: int


def parse_reference(text: str) -> Reference:
    """Read one whole `$[…]`; ReferenceError_ where it is malformed."""
    if not text.startswith("$["):
        raise ReferenceError_("a reference begins with `$[`", 0)
    body = _BODY.match(text, 2)
    end = body.end() if body is not None else 2
    if end >= len(text) or text[end] != "]":
        raise ReferenceError_(_why_unclosed(text, 2, end), end)
    if end + 1 != len(text):
        raise ReferenceError_("there is text after the closing `]`", end + 1)
    return _parse_body(text, 0, end + 1)


def find_references(text: str) -> tuple[Found, ...]:
    """Every reference in a text in order, the malformed ones with their error."""
    return tuple(_find(text))


def format_reference(reference: Reference) -> str:
    """The text of a reference; parsing it gives the same reference again."""
    hops: list[str | None]
    tail = ["artifacts", reference.artifact]
    if reference.kind == "job":
        hops = ["jobs", reference.job, reference.step, *tail]
    elif reference.kind == "stage":
        hops = ["stages", reference.stage, reference.job, reference.step, *tail]
    elif reference.kind == "pipeline":
        where = [reference.stage, reference.job, reference.step]
        hops = ["sources", reference.source, "stages", *where, *tail]
    else:
        hops = ["sources", reference.source]
    if reference.property is not None:
        hops.append(reference.property)
    return "$[" + ".".join(hop or "" for hop in hops) + "]"


def whole_reference(value: object) -> Reference | None:
    """The reference that a value consists of, and of nothing else."""
    if not isinstance(value, str):
        return None
    try:
        return parse_reference(value.strip())
    except ReferenceError_:
        return None


def find_variables(text: str) -> tuple[FoundVariable, ...]:
    return tuple(FoundVariable(m[1], m.start(), m.end()) for m in _VARIABLE.finditer(text))


def expand_variables(text: str, variables: Mapping[str, str]) -> str:
    """Replace each known `${VAR}` once; an unknown one stays as it is written.

    Raises ReferenceError_ where the result would pass EXPANSION_LIMIT.
    """
    return _Expansion(variables).variables_in(text, 0)


def substitute(text: str, lookup: Callable[[Reference], str], variables: Mapping[str, str]) -> str:
    """Replace `${VAR}`, inside references too, then each reference by what `lookup` says.

    Raises ReferenceError_ for a malformed reference, and whatever `lookup` raises.
    """
    expansion = _Expansion(variables)
    parts: list[str] = []
    done = 0
    for found in _find(text):
        parts.append(expansion.variables_in(text[done : found.start], done))
        reference = _expanded(found, variables)
        parts.append(expansion.counted(lookup(reference), found.start))
        done = found.end
    parts.append(expansion.variables_in(text[done:], done))
    return "".join(parts)


def expand_reference(reference: Reference, variables: Mapping[str, str]) -> Reference:
    """The reference that it is once the variables inside it have values."""
    if "${" not in reference.text:
        return reference
    found = Found(reference.text, reference.start, reference.end, reference, None)
    return _expanded(found, variables)


class _Expansion:
    """Replaces while counting what it adds."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._length = 0

    def counted(self, text: str, offset: int) -> str:
        self._length += len(text)
        if self._length > EXPANSION_LIMIT:
            raise ReferenceError_("the text grows too long when variables are replaced", offset)
        return text

    def variables_in(self, text: str, base: int) -> str:
        parts: list[str] = []
        done = 0
        for match in _VARIABLE.finditer(text):
            parts.append(self.counted(text[done : match.start()], base + done))
            value = self._variables.get(match[1], match[0])
            parts.append(self.counted(value, base + match.start()))
            done = match.end()
        parts.append(self.counted(text[done:], base + done))
        return "".join(parts)


def _expanded(found: Found, variables: Mapping[str, str]) -> Reference:
    if "${" not in found.text:
        if found.reference is None:
            raise found.error or ReferenceError_("malformed reference", found.start)
        return found.reference
    try:
        read = parse_reference(expand_variables(found.text, variables))
    except ReferenceError_ as error:
        raise ReferenceError_(error.message, found.start) from error
    return Reference(
        text=read.text,
        kind=read.kind,
        source=read.source,
        stage=read.stage,
        job=read.job,
        step=read.step,
        artifact=read.artifact,
        property=read.property,
        start=found.start,
        end=found.end,
    )


def _find(text: str) -> Iterator[Found]:
    at = 0
    while (opening := _OPENING.search(text, at)) is not None:
        start = opening.start()
        at = opening.end()
        body = _BODY.match(text, at)
        end = body.end() if body is not None else at
        closed = end < len(text) and text[end] == "]"
        inner = text[at:end]
        if not _ATTEMPT.match(inner) or (not closed and not inner.strip()):
            continue
        if not closed:
            # The rest of the word is all that can belong to it.
            word = re.match(r"\S*", inner)
            end = at + (word.end() if word is not None else 0)
            error = ReferenceError_(_why_unclosed(text, at, at + len(inner)), start)
            yield Found(text[start:end], start, end, None, error)
        else:
            at = end + 1
            try:
                yield Found(text[start:at], start, at, _parse_body(text, start, at), None)
            except ReferenceError_ as error:
                # Kept, not raised again: its traceback would keep the frames alive with it.
                yield Found(text[start:at], start, at, None, error.with_traceback(None))
        at = max(at, end)


def _why_unclosed(text: str, start: int, end: int) -> str:
    if end - start >= LENGTH_LIMIT:
        return f"a reference is at most {LENGTH_LIMIT} characters long"
    if end < len(text) and text[end] == "[":
        return "a `[` inside a reference; close the reference with `]` first"
    return "the reference is never closed; end it with `]`"


def _parse_body(text: str, start: int, end: int) -> Reference:
    """Read `$[…]` at text[start:end], whose brackets are already found."""
    whole = text[start:end]
    body = text[start + 2 : end - 1]
    blank = re.search(r"\s", body)
    if blank is not None:
        raise ReferenceError_("a reference holds no spaces; remove them", start + 2 + blank.start())
    hops = _Hops(body, start + 2)
    root = hops.take("`jobs`, `stages` or `sources`")
    if root == "jobs":
        job, step = hops.take("a job's id"), hops.take("a step's id")
        artifact, property_ = hops.artifact()
        return Reference(whole, "job", None, None, job, step, artifact, property_, start, end)
    if root == "stages":
        stage, job, step = (
            hops.take("a stage's id"),
            hops.take("a job's id"),
            hops.take("a step's id"),
        )
        artifact, property_ = hops.artifact()
        return Reference(whole, "stage", None, stage, job, step, artifact, property_, start, end)
    if root == "sources":
        source = hops.take("a source's id")
        if not hops.left:
            return Reference(whole, "source", source, start=start, end=end)
        after = hops.take("`stages` or a property")
        if after == "stages":
            stage, job, step = (
                hops.take("a stage's id"),
                hops.take("a job's id"),
                hops.take("a step's id"),
            )
            artifact, property_ = hops.artifact()
            return Reference(
                whole, "pipeline", source, stage, job, step, artifact, property_, start, end
            )
        if after in PROPERTIES and not hops.left:
            return Reference(whole, "source", source, property=after, start=start, end=end)
        raise hops.error(
            f"`{after}` is neither `stages` nor a property of a source's artifact",
            _meant(after, ("stages", *PROPERTIES)),
        )
    raise hops.error(
        f"`{root}` begins no reference; begin with `jobs`, `stages` or `sources`",
        _meant(root, ("jobs", "stages", "sources")),
    )


class _Hops:
    """The dotted parts of a reference, taken from the left."""

    def __init__(self, body: str, base: int) -> None:
        self._parts = body.split(".")
        self._next = 0
        self._offset = base

    @property
    def left(self) -> bool:
        return self._next < len(self._parts)

    def take(self, what: str) -> str:
        if not self.left:
            raise ReferenceError_(f"the reference ends where {what} is expected", self._offset)
        part = self._parts[self._next]
        if not part:
            raise ReferenceError_(f"{what} is missing between two dots", self._offset)
        if not _HOP.fullmatch(part):
            raise ReferenceError_(f"`{part}` cannot be {what}", self._offset)
        self._next += 1
        self._offset += len(part) + 1
        return part

    def artifact(self) -> tuple[str, str | None]:
        """`artifacts.<artifact>` with the property that may follow, to the end."""
        word = self.take("`artifacts`")
        if word != "artifacts":
            if self._parts[self._next - 2] == "artifacts":
                raise self.error("a step's id is missing before `artifacts`", "")
            raise self.error(f"`artifacts` is expected after the step, not `{word}`", "")
        rest = self._parts[self._next :]
        if not any(rest):
            raise ReferenceError_("the artifact's name is missing after `artifacts`", self._offset)
        property_ = rest.pop() if len(rest) > 1 and rest[-1] in PROPERTIES else None
        name = ".".join(rest)
        if not all(rest) or not _ARTIFACT.fullmatch(name):
            raise ReferenceError_(f"`{name}` cannot be the name of an artifact", self._offset)
        return name, property_

    def error(self, message: str, remedy: str) -> ReferenceError_:
        """About the part that was taken last."""
        taken = self._parts[self._next - 1]
        return ReferenceError_(message + remedy, self._offset - len(taken) - 1)


def _meant(word: str, candidates: tuple[str, ...]) -> str:
    near = nearest(word, candidates)
    return f"; did you mean `{near}`?" if near is not None else ""
