"""Match a pattern that somebody wrote against a text that somebody else chose. Neither is trusted.

Python's regular expressions may search for longer than anybody waits, or take all memory there is,
and nothing inside the process can stop them. So a child process matches, within limits of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Final

LONGEST_PATTERN: Final = 1000
LONGEST_TEXT: Final = 255
WORK_SECONDS: Final = 1
#: The child does nothing for most of it on a machine that is very busy.
WAIT_SECONDS: Final = 30

_PLAIN: Final = re.compile(r"[A-Za-z0-9_/-]*")
_CHILD: Final = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({WORK_SECONDS}, {WORK_SECONDS}))
resource.setrlimit(resource.RLIMIT_AS, ({2**28}, {2**28}))
pattern, text = json.load(sys.stdin)
try:
    print(re.fullmatch(pattern, text) is not None)
except re.error as error:
    sys.exit(str(error))
except (MemoryError, OverflowError, RecursionError):
    sys.exit("it takes too much memory to match")
"""


class BadPattern(ValueError):
    """Why a pattern cannot be matched, as the end of a sentence."""


def matches(pattern: str, text: str) -> bool:
    """Whether the whole `text` is what `pattern` describes; BadPattern when that stays unknown."""
    if len(pattern) > LONGEST_PATTERN:
        raise BadPattern(f"it is longer than {LONGEST_PATTERN} characters")
    if len(text) > LONGEST_TEXT:
        raise BadPattern(f"it is matched against no more than {LONGEST_TEXT} characters")
    if _PLAIN.fullmatch(pattern):
        return pattern == text
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=json.dumps([pattern, text]),
            env={},
            capture_output=True,
            timeout=WAIT_SECONDS,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BadPattern("it takes too long to match") from error
    if done.returncode < 0:
        raise BadPattern("it takes too long to match")
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["it cannot be read"]
        raise BadPattern(said[0][:200])
    return done.stdout.strip() == "True"
