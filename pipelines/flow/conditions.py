"""Job conditions: a small grammar, its tree, and its evaluation.

    condition: "${CI_COMMIT_REF_NAME}" == "master" && succeed(build_job)

`!` binds tightest, then `==` and `!=`, then `&&`, then `||`. Everything compares as text. Where
a text stands alone, it holds if it reads `true`. Nothing of a condition is ever executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pipelines.flow.problems import nearest
from pipelines.flow.references import expand_variables

LENGTH_LIMIT: Final = 4000
DEPTH_LIMIT: Final = 40

FUNCTIONS: Final[Mapping[str, str]] = {
    "startsWith": "startsWith(text, beginning): the text begins so",
    "endsWith": "endsWith(text, end): the text ends so",
    "contains": "contains(text, part): the part stands somewhere in the text",
    "always": "always(): holds whatever happened before",
    "succeed": "succeed(job, …): every named job succeeded; without a name, all before it did",
    "failed": "failed(job, …): a named job failed; without a name, any before it did",
}
_TEXT_FUNCTIONS: Final = ("startsWith", "endsWith", "contains")
_JOB_FUNCTIONS: Final = ("succeed", "failed")
_ARGUMENTS: Final = 2  # of a text function
_FAILED: Final = frozenset({"failed", "errored"})


class ConditionError(ValueError):
    """A condition cannot be read. `offset` counts from 0 in its text."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Text:
    """A literal or `${VAR}`, with the variables still in it."""

    value: str
    offset: int


@dataclass(frozen=True, slots=True)
class Compare:
    operator: Literal["==", "!="]
    left: Text
    right: Text


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expression


@dataclass(frozen=True, slots=True)
class Both:
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Either:
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Text, ...]
    offset: int


Expression: TypeAlias = "Text | Compare | Not | Both | Either | Call"


@dataclass(frozen=True, slots=True)
class Condition:
    text: str
    expression: Expression

    @property
    def jobs(self) -> tuple[Text, ...]:
        """The jobs it asks about, with the offset of each."""
        return tuple(
            argument
            for call in _calls(self.expression)
            if call.name in _JOB_FUNCTIONS
            for argument in call.arguments
        )


def parse_condition(text: str) -> Condition:
    """Read a condition; ConditionError where it is malformed."""
    if len(text) > LENGTH_LIMIT:
        raise ConditionError(f"a condition is at most {LENGTH_LIMIT} characters long", LENGTH_LIMIT)
    return Condition(text, _Parser(text).whole())


def evaluate(
    condition: Condition, variables: Mapping[str, str], outcomes: Mapping[str, str]
) -> bool:
    """Whether the condition holds.

    An unknown variable stays as it is written, so it equals little; a job without an outcome
    neither succeeded nor failed.
    """
    return _holds(condition.expression, variables, outcomes)


def _holds(
    expression: Expression, variables: Mapping[str, str], outcomes: Mapping[str, str]
) -> bool:
    match expression:
        case Text():
            return _text(expression, variables).strip().lower() == "true"
        case Compare(operator, left, right):
            equal = _text(left, variables) == _text(right, variables)
            return equal if operator == "==" else not equal
        case Not(operand):
            return not _holds(operand, variables, outcomes)
        case Both(operands):
            return all(_holds(each, variables, outcomes) for each in operands)
        case Either(operands):
            return any(_holds(each, variables, outcomes) for each in operands)
        case Call():
            return _call(expression, variables, outcomes)


def _call(call: Call, variables: Mapping[str, str], outcomes: Mapping[str, str]) -> bool:
    arguments = [_text(each, variables) for each in call.arguments]
    match call.name:
        case "startsWith":
            return arguments[0].startswith(arguments[1])
        case "endsWith":
            return arguments[0].endswith(arguments[1])
        case "contains":
            return arguments[1] in arguments[0]
        case "succeed":
            return all(outcomes.get(each) == "succeeded" for each in arguments or outcomes)
        case "failed":
            return any(outcomes.get(each) in _FAILED for each in arguments or outcomes)
    return True  # always


def _text(text: Text, variables: Mapping[str, str]) -> str:
    return expand_variables(text.value, variables)


def _calls(expression: Expression) -> Iterator[Call]:
    waiting = [expression]
    while waiting:
        current = waiting.pop()
        match current:
            case Call():
                yield current
            case Not(operand):
                waiting.append(operand)
            case Both(operands) | Either(operands):
                waiting.extend(reversed(operands))
            case _:
                pass


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<operator>==|!=|&&|\|\||!|\(|\)|,)
      | "(?P<double>(?:[^"\\]|\\.)*)"
      | '(?P<single>(?:[^'\\]|\\.)*)'
      | (?P<variable>\$\{[A-Za-z_][A-Za-z0-9_]*\})
      | (?P<word>[A-Za-z0-9_][A-Za-z0-9_.\-]*)
      | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

# What people bring along from other languages.
_FOREIGN: Final[Mapping[str, str]] = {
    "=": "compare with `==`",
    "&": "join with `&&`",
    "|": "join with `||`",
    "$": "write a variable as `${NAME}`",
    '"': 'close the text with a second `"`',
    "'": "close the text with a second `'`",
}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int


class _Parser:
    """Recursive descent with a bound on its depth."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def whole(self) -> Expression:
        expression = self._either()
        token = self._tokens[self._next]
        if token.kind != "end":
            raise ConditionError(
                f"`{token.text}` is not expected here; join parts with `&&` or `||`", token.offset
            )
        return expression

    def _either(self) -> Expression:
        operands = [self._both()]
        while self._accept("||"):
            operands.append(self._both())
        return operands[0] if len(operands) == 1 else Either(tuple(operands))

    def _both(self) -> Expression:
        operands = [self._comparison()]
        while self._accept("&&"):
            operands.append(self._comparison())
        return operands[0] if len(operands) == 1 else Both(tuple(operands))

    def _comparison(self) -> Expression:
        left = self._unary()
        token = self._tokens[self._next]
        if token.text not in ("==", "!=") or token.kind != "operator":
            return left
        self._next += 1
        right = self._unary()
        if not isinstance(left, Text) or not isinstance(right, Text):
            raise ConditionError(
                f"`{token.text}` compares two texts; a function or a group already holds or not",
                token.offset,
            )
        return Compare("==" if token.text == "==" else "!=", left, right)

    def _unary(self) -> Expression:
        token = self._tokens[self._next]
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise ConditionError(
                f"the condition is nested more than {DEPTH_LIMIT} deep", token.offset
            )
        expression: Expression
        if self._accept("!"):
            expression = Not(self._unary())
        elif self._accept("("):
            expression = self._either()
            self._expect(")")
        else:
            expression = self._operand()
        self._depth -= 1
        return expression

    def _operand(self) -> Expression:
        token = self._tokens[self._next]
        if token.kind in ("end", "operator"):
            what = "the condition ends" if token.kind == "end" else f"`{token.text}` stands"
            raise ConditionError(
                f"{what} where a text, a variable or a function is expected", token.offset
            )
        self._next += 1
        if token.kind == "word":
            if self._accept("("):
                return self._function(token)
            if token.text in FUNCTIONS:
                raise ConditionError(
                    f"`{token.text}` is a function; write {FUNCTIONS[token.text].split(':')[0]}",
                    token.offset,
                )
        return Text(token.text, token.offset)

    def _function(self, name: _Token) -> Call:
        if name.text not in FUNCTIONS:
            near = nearest(name.text, FUNCTIONS)
            remedy = f"; did you mean `{near}`?" if near is not None else ""
            raise ConditionError(f"there is no function `{name.text}`{remedy}", name.offset)
        arguments: list[Text] = []
        if not self._accept(")"):
            arguments.append(self._argument())
            while self._accept(","):
                arguments.append(self._argument())
            self._expect(")")
        wrong = (
            len(arguments) != _ARGUMENTS if name.text in _TEXT_FUNCTIONS else name.text == "always"
        )
        if wrong and (arguments or name.text != "always"):
            raise ConditionError(
                f"write {FUNCTIONS[name.text].split(':')[0]}: `{name.text}` was given "
                f"{len(arguments)} values",
                name.offset,
            )
        return Call(name.text, tuple(arguments), name.offset)

    def _argument(self) -> Text:
        token = self._tokens[self._next]
        if token.kind in ("end", "operator"):
            raise ConditionError("a text or a job's id is expected here", token.offset)
        self._next += 1
        return Text(token.text, token.offset)

    def _accept(self, operator: str) -> bool:
        token = self._tokens[self._next]
        if token.kind == "operator" and token.text == operator:
            self._next += 1
            return True
        return False

    def _expect(self, operator: str) -> None:
        if not self._accept(operator):
            token = self._tokens[self._next]
            found = f"`{token.text}`" if token.text else "the end"
            raise ConditionError(f"`{operator}` is expected here, not {found}", token.offset)


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            offset = at + len(text[at:]) - len(text[at:].lstrip())
            found = text[offset]
            remedy = _FOREIGN.get(found, "quote the text")
            raise ConditionError(f"`{found}` means nothing here; {remedy}", offset)
        kind = str(match.lastgroup)
        value = str(match[kind])
        if kind in ("double", "single"):
            offset = match.start(kind) - 1
            value = _ESCAPE.sub(r"\1", value)
        else:
            offset = match.start(kind)
        yield _Token(kind, value, offset)
        if kind == "end":
            return
        at = match.end()
