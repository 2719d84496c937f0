"""Evaluates a policy's own expressions, in a process of its own that is bounded in time and memory.

Run by its path, never imported: `python -I cel_child.py`, one JSON document in and one out.
In: {"expressions": {name: text}, "facts": {…} or null to read the expressions only}.
Out: {name: true, false or a text that says what is wrong}.
"""

import json
import resource
import sys

SECONDS, BYTES = 2, 512 * 1024 * 1024


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    import cel

    asked = json.load(sys.stdin)
    answers: dict[str, bool | str] = {}
    for name, text in asked["expressions"].items():
        try:
            program = cel.compile(text)
            answer = True if asked["facts"] is None else program.execute(asked["facts"])
        except (ValueError, RuntimeError, TypeError) as error:
            answers[name] = " ".join(str(error).split())[:300]
            continue
        told = f"it answers {type(answer).__name__}, not true or false"
        answers[name] = answer if isinstance(answer, bool) else told
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
