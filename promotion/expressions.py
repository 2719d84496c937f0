"""A policy's own gates: CEL expressions, evaluated apart and within bounds.

The library answers within the process that asks and cannot be stopped, so each question has a
process of its own, with a limit of CPU time, memory and waiting. It gets the facts and nothing
else: no environment, no settings. Answers about the same facts are kept for a minute.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.cache import cache

from pipelines.canonical import canonical
from promotion.gates import CustomAnswer
from promotion.gates.language import Custom

CHILD = Path(__file__).parent / "gates" / "cel_child.py"
SECONDS = 5
KEPT_SECONDS = 60
MAX_FACTS_BYTES = 1024 * 1024
TOO_MUCH = "it took too long or too much memory"


#: How many facts one process is asked about.
TOGETHER = 25

Answers = dict[str, bool | str]


def faults(entries: Sequence[Custom]) -> dict[str, str]:
    """By name, what is wrong with expressions that cannot be read."""
    if not entries:
        return {}
    told = _ask(entries, None)
    if told is None:
        return {entry.name: TOO_MUCH for entry in entries}
    return {name: answer for name, answer in told[0].items() if isinstance(answer, str)}


def answers(entries: Sequence[Custom], facts: Mapping[str, Any]) -> dict[str, CustomAnswer]:
    """What each expression says of `facts`, which are plain JSON."""
    told = answers_each(entries, [facts])[0]
    return (
        told if told is not None else {each.name: CustomAnswer(False, TOO_MUCH) for each in entries}
    )


def answers_each(
    entries: Sequence[Custom], facts: Sequence[Mapping[str, Any]]
) -> list[dict[str, CustomAnswer] | None]:
    """The same of many facts; None where it took too long, or where too many did before."""
    if not entries:
        return [{} for _ in facts]
    told: list[dict[str, CustomAnswer] | None] = []
    for begin in range(0, len(facts), TOGETHER):
        some = facts[begin : begin + TOGETHER]
        # Once too long is too long: the others are not waited for as well.
        answered = _ask(entries, some) if None not in told else None
        told += [None] * len(some) if answered is None else [_read(each) for each in answered]
    return told


def _read(answers: Answers) -> dict[str, CustomAnswer]:
    return {
        name: CustomAnswer(answer) if isinstance(answer, bool) else CustomAnswer(False, answer)
        for name, answer in answers.items()
    }


def _ask(
    entries: Sequence[Custom], facts: Sequence[Mapping[str, Any]] | None
) -> list[Answers] | None:
    expressions = {entry.name: entry.expression for entry in entries}
    asked = canonical({"expressions": expressions, "facts": facts})
    if len(asked) > MAX_FACTS_BYTES:
        return None
    key = f"cel:{hashlib.sha256(asked).hexdigest()}"
    told: list[Answers] | None = cache.get(key)
    if told is None:
        told = _in_a_process(asked)
        if told is not None:
            cache.set(key, told, KEPT_SECONDS)
    return told


def _in_a_process(asked: bytes) -> list[Answers] | None:
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(CHILD)],
            input=asked,
            capture_output=True,
            timeout=SECONDS,
            check=True,
            env={},
        )
        told: list[Answers] = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return None
    return told
