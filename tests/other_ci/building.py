"""A folder in which another CI system builds, and that system's part in it.

Sluice answers on a real port, the script runs in the system's own `sh`, and each CI file is walked
step by step as its system would: conditions, inputs, a shell for each block.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings

EXAMPLES = Path(settings.BASE_DIR) / "examples" / "other-ci"
DIGEST = "sha256:" + "b7" * 32
MAKEFILE = (
    f"all:\n\tmkdir -p dist\n\techo built > 'dist/the app.txt'\n\techo {DIGEST} > digest.txt\n"
)
BROKEN = "all:\n\t@echo it does not compile\n\t@false\n"


@dataclass(frozen=True)
class Said:
    """How a program ended, and what it said."""

    status: int
    out: str
    errors: str


@dataclass
class Build:
    """One build: its folder and its variables. Only what a CI system sets is set."""

    folder: Path
    url: str
    token: str
    pipeline: str = "app"
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "SLUICE_URL": self.url,
            "SLUICE_TOKEN": self.token,
            "SLUICE_PIPELINE": self.pipeline,
            "SLUICE_WAIT": "0",
            **self.more,
        }

    def write(self, path: str, content: bytes = b"built") -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def sluice(self, *arguments: str, shell: str = "sh", **changed: str) -> Said:
        """Call the script as a step of a build does."""
        return self._run([shell, str(EXAMPLES / "sluice.sh"), *arguments], changed)

    def script(self, text: str, **changed: str) -> Said:
        """Run a block of a CI file: a shell of its own that ends at the first failure."""
        return self._run(["sh", "-e", "-c", text], changed)

    def _run(self, argv: list[str], changed: Mapping[str, str]) -> Said:
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env={**self.environment, **changed},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Said(done.returncode, done.stdout, done.stderr)


def checked_out(build: Build, script_at: str, *, makefile: str = MAKEFILE) -> Build:
    """What a checkout brings: the makefile, and the script where the CI file expects it."""
    build.write("Makefile", makefile.encode())
    target = build.folder / script_at
    target.parent.mkdir(parents=True)
    shutil.copy(EXAMPLES / "sluice.sh", target)
    return build


def read(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / name).read_text())


# ---- GitLab --------------------------------------------------------------------------------------
def run_gitlab(build: Build) -> str:
    """Run the job as GitLab does, and answer with its status."""
    job = read("gitlab-ci.yml")["build"]
    build.more |= {"IMAGE": job["variables"]["IMAGE"], "CI_JOB_ID": "77", "CI_COMMIT_SHA": "c0ffee"}
    build.more["CI_JOB_URL"] = "https://gitlab.example.com/shop/app/-/jobs/77"
    before = build.script("\n".join([*job["before_script"], *job["script"]]))
    status = "success" if before.status == 0 else "failed"
    after = build.script("\n".join(job["after_script"]), CI_JOB_STATUS=status)
    assert after.status == 0, after.errors
    return status


# ---- GitHub --------------------------------------------------------------------------------------
@dataclass
class GitHub:
    """As much of a GitHub runner as the workflow needs."""

    build: Build
    workflow: Any = field(default_factory=lambda: read("github.yml"))
    action: Any = field(default_factory=lambda: read("action.yml"))
    status: str = "success"
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> str:
        runner = self.build.folder / "runner"
        runner.mkdir()
        self.build.more |= {
            "GITHUB_RUN_ID": "5",
            "GITHUB_JOB": "build",
            "GITHUB_SHA": "c0ffee",
            "GITHUB_SERVER_URL": "https://github.example.com",
            "GITHUB_REPOSITORY": "shop/app",
            "GITHUB_ACTION_PATH": str(self.build.folder / ".github/actions/sluice"),
            "GITHUB_OUTPUT": str(runner / "output"),
        }
        for step in self.workflow["jobs"]["build"]["steps"]:
            condition = step.get("if", "success()")
            if self._holds(condition) and not step.get("uses", "").startswith("actions/checkout"):
                self._step(step)
        return self.status

    def _holds(self, condition: str) -> bool:
        begun = self.steps.get("sluice", {}).get("outcome") == "success"
        return {
            "success()": self.status == "success",
            "always() && steps.sluice.outcome == 'success'": begun,
        }[condition]

    def _step(self, step: Any) -> None:
        output = Path(self.build.more["GITHUB_OUTPUT"])
        output.write_text("")
        if "uses" in step:
            given = {
                **{name: put.get("default") for name, put in self.action["inputs"].items()},
                **{name: self._filled(value) for name, value in step["with"].items()},
            }
            (report,) = self.action["runs"]["steps"]
            env = {key: self._filled(value, given) for key, value in report["env"].items()}
            done = self.build.script(report["run"], **env)
        else:
            done = self.build.script(step["run"])
        outcome = "success" if done.status == 0 else "failure"
        if done.status:
            self.status = "failure"
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        self.steps[step.get("id", "")] = {"outcome": outcome, "outputs": outputs, "said": done}

    def _filled(self, text: str, inputs: Mapping[str, str] | None = None) -> str:
        """The text with each ${{ … }} of it replaced."""

        def value(match: re.Match[str]) -> str:
            known: dict[str, str] = {
                "env.SLUICE_URL": self.build.url,
                "env.SLUICE_PIPELINE": self.build.pipeline,
                "env.IMAGE": self.workflow["env"]["IMAGE"],
                "secrets.SLUICE_TOKEN": self.build.token,
                "job.status": self.status,
                "runner.temp": str(self.build.folder / "runner"),
                "steps.image.outputs.digest": (
                    self.steps.get("image", {}).get("outputs", {}).get("digest", "")
                ),
                **{f"inputs.{key}": put for key, put in (inputs or {}).items()},
            }
            return known[match[1]]

        return re.sub(r"\$\{\{ *([a-zA-Z_.]+) *\}\}", value, text)
