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


def faults(entries: Sequence[Custom]) -> dict[str, str]:
    """By name, what is wrong with expressions that cannot be read."""
    if not entries:
        return {}
    told = _ask({entry.name: entry.expression for entry in entries}, None)
    return {name: answer.fault for name, answer in told.items() if answer.fault}


def answers(entries: Sequence[Custom], facts: Mapping[str, Any]) -> dict[str, CustomAnswer]:
    """What each expression says of `facts`, which are plain JSON."""
    if not entries:
        return {}
    return _ask({entry.name: entry.expression for entry in entries}, facts)


def _ask(
    expressions: Mapping[str, str], facts: Mapping[str, Any] | None
) -> dict[str, CustomAnswer]:
    asked = canonical({"expressions": dict(expressions), "facts": facts})
    if len(asked) > MAX_FACTS_BYTES:
        return dict.fromkeys(expressions, CustomAnswer(False, "there are too many facts"))
    key = f"cel:{hashlib.sha256(asked).hexdigest()}"
    told: dict[str, bool | str] | None = cache.get(key)
    if told is None:
        told = _in_a_process(asked)
        if told is None:
            why = "it took too long or too much memory"
            return dict.fromkeys(expressions, CustomAnswer(False, why))
        cache.set(key, told, KEPT_SECONDS)
    return {
        name: CustomAnswer(answer) if isinstance(answer, bool) else CustomAnswer(False, answer)
        for name, answer in told.items()
    }


def _in_a_process(asked: bytes) -> dict[str, bool | str] | None:
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(CHILD)],
            input=asked,
            capture_output=True,
            timeout=SECONDS,
            check=True,
            env={},
        )
    except (subprocess.SubprocessError, OSError):
        return None
    told: dict[str, bool | str] = json.loads(done.stdout)
    return told
