"""Run a step's program inside the image that `runsOn` names, with docker or podman."""

import contextlib
import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from pipelines.errors import Unavailable
from pipelines.isolation import Place

FOUND_WITHIN = 20
ENGINES = ("docker", "podman")


class NoEngine(Unavailable):
    """A job asks for a container, and this worker can run none."""

    code = "no_container_engine"
    title = "The worker can run no container"


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that runs containers; one that was found can really be reached."""

    program: str
    version: str

    def __str__(self) -> str:
        return f"{self.program} {self.version}"

    def command(
        self,
        argv: Sequence[str],
        *,
        image: str,
        name: str,
        place: Place,
        folder: str,
        variables: Path,
    ) -> list[str]:
        """Run `argv` in `image`, where the job's own folders have the paths that they have here.

        `variables` is the script that `write_variables` made. The engine's own program must not be
        started with variables that a definition chose, nor have them on a command line.
        """
        user = place.user if place.user is not None else os.geteuid()
        group = place.user if place.user is not None else os.getegid()
        options = ["run", "--rm", "--init", "--name", name, "--entrypoint", "/bin/sh"]
        options += ["--user", f"{user}:{group}", "--workdir", folder]
        options += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        options += ["--pids-limit", str(settings.MAX_STEP_PROCESSES)]
        if settings.MAX_STEP_MEMORY_BYTES:
            options += ["--memory", str(settings.MAX_STEP_MEMORY_BYTES)]
        for path in (place.workspace, place.own):
            options += ["--volume", f"{path}:{path}"]
        return [self.program, *options, "--", image, str(variables), *argv]

    def end(self, name: str) -> None:
        """Kill a container: killing the client that started it is not enough."""
        # How the step ended is worth more than an engine that takes too long to clean up.
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [self.program, "rm", "--force", name],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=FOUND_WITHIN,
            )


def write_variables(file: Path, variables: Mapping[str, str]) -> None:
    """A script that sets the variables and becomes the program that its arguments name."""
    names = [name for name in variables if name.isidentifier() and name.isascii()]
    lines = [f"export {name}={shlex.quote(variables[name])}" for name in names]
    file.write_text("\n".join([*lines, 'exec "$@"', ""]), encoding="utf-8")
    file.chmod(0o600)


@functools.cache
def engine() -> Engine | None:
    """The engine that this worker can reach, looked for once."""
    for program in ENGINES:
        path = shutil.which(program)
        if path and (version := _version(path)):
            return Engine(path, version)
    return None


def _version(path: str) -> str:
    """The engine's version, or empty: a client whose engine does not answer is of no use."""
    ask = "{{.ServerVersion}}" if path.endswith("docker") else "{{.Version.Version}}"
    try:
        done = subprocess.run(
            [path, "info", "--format", ask],
            check=False,
            capture_output=True,
            text=True,
            timeout=FOUND_WITHIN,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def engine_for(image: str) -> Engine | None:
    """The engine for a job that asks for `image`; None where the site lets it run without one."""
    found = engine()
    if found is None and not settings.CONTAINERS_ON_HOST:
        raise NoEngine(
            f"The job is to run in the image {image}, and this worker has neither docker nor "
            "podman that answers. Install one, let another runner serve the group, or allow such "
            "jobs to run on the worker itself with SLUICE_CONTAINERS=host."
        )
    return found
