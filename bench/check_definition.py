"""How long a large definition takes to read and to check.

    python bench/check_definition.py [JOBS] [--repeat N]

Writes a document of JOBS jobs (2,000 by default), a fifth of them in each of five stages, every
deploying job referring to a building one, and prints the best of N times for each half.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import check
from pipelines.flow.parser import parse

STAGES = 5

Result = TypeVar("Result")


def document(jobs: int) -> str:
    lines = ["name: large", "sources:", "  app:", "    type: git", "    endpoint: https://x/app"]
    lines.append("stages:")
    for stage in range(STAGES):
        lines += [f"  stage_{stage}:", "    jobs:"]
        for job in range(jobs // STAGES // 2):
            lines += [
                f"      build_{job}:",
                "        steps:",
                "          compile:",
                "            step: Command",
                "            with:",
                f"              run: make part-{job}",
                "          keep:",
                "            step: ArtifactUpload",
                "            with:",
                f"              artifact: part-{job}",
                "              filePath: out/",
                f"      deploy_{job}:",
                "        component: VMDeploy",
                "        with:",
                f"          artifact: $[jobs.build_{job}.keep.artifacts.part-{job}]",
                "          machineGroup: machines",
                "          artifactDownloadPath: /srv/part.tgz",
                "          run: tar zxf /srv/part.tgz",
            ]
    return "\n".join(lines) + "\n"


def best(work: Callable[[], Result], repeat: int) -> tuple[float, Result]:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> int:
    arguments = argparse.ArgumentParser(description="Time the reading and checking of a definition")
    arguments.add_argument("jobs", nargs="?", type=int, default=2000)
    arguments.add_argument("--repeat", type=int, default=3)
    given = arguments.parse_args()
    text = document(given.jobs)
    parse_time, parsed = best(lambda: parse(text), given.repeat)
    check_time, report = best(lambda: check(parsed, LANGUAGE), given.repeat)
    count = sum(len(stage.jobs) for stage in report.definition.stages) if report.definition else 0
    print(f"{count} jobs, {len(text):,} characters, {len(report.references)} references")
    print(f"parse {parse_time:.3f} s")
    print(f"check {check_time:.3f} s")
    print(f"both  {parse_time + check_time:.3f} s")
    if not report.valid:
        print(f"not valid: {report.problems[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
