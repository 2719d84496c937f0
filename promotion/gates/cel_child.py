"""Evaluates a policy's own expressions, in a process of its own that is bounded in time and memory.

Run by its path, never imported: `python -I cel_child.py`, one JSON document in and one out.
In: {"expressions": {name: text}, "facts": [{…}, …] or null to read the expressions only}.
Out: for each of the facts, or once for none, {name: true, false or a text that says what is wrong}.
"""

import json
import resource
import sys
from typing import Any

SECONDS, BYTES = 2, 512 * 1024 * 1024


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import cel

    asked = json.load(sys.stdin)
    programs: dict[str, Any] = {}
    faults: dict[str, bool | str] = {}
    for name, text in asked["expressions"].items():
        try:
            programs[name] = cel.compile(text)
        except Exception as error:
            faults[name] = said(error)
    if asked["facts"] is None:
        answers = [dict.fromkeys(programs, True) | faults]
    else:
        answers = [
            {name: answer(program, facts) for name, program in programs.items()} | faults
            for facts in asked["facts"]
        ]
    json.dump(answers, sys.stdout)


def answer(program: Any, facts: Any) -> bool | str:
    try:
        told = program.execute(facts)
    except Exception as error:
        return said(error)
    return (
        told if isinstance(told, bool) else f"it answers {type(told).__name__}, not true or false"
    )


def said(error: Exception) -> str:
    """What is wrong with one expression, whatever it is: the others still have their answers."""
    text = " ".join(str(error).split())[:300]
    return f"it looks for what is not there: {text}" if isinstance(error, LookupError) else text


if __name__ == "__main__":
    main()
