"""Programs for the tests out of Debian's packages, for root and for everybody else.

A program is found in this order: a variable that names it, the PATH, what was installed here
before. Root installs with plain apt-get. Without root the packages, and what they need beyond what
the machine has, are unpacked below ~/.cache/sluice-test-parts, and a small script starts the
program with the libraries from there.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice-test-parts"
UNPACKED = CACHE / "debian"
SCRIPTS = CACHE / "bin"
TIMEOUT = 600


class Missing(Exception):
    """A part of the tests is not there. The message says which and how it can be had."""


@dataclass(frozen=True)
class Program:
    name: str
    package: str
    variable: str
    #: Arguments with which it ends well, to tell a program that works from one that does not.
    check: tuple[str, ...]

    def find(self) -> str | None:
        """The path of the program, or None. What cannot be started is as good as absent."""
        named = os.environ.get(self.variable)
        for found in (named, shutil.which(self.name), str(SCRIPTS / self.name)):
            if found and Path(found).exists() and self._starts(found):
                return found
        return None

    def _starts(self, path: str) -> bool:
        try:
            return _run([path, *self.check]).returncode == 0
        except OSError:
            return False

    def install(self) -> None:
        """Get the program, or raise Missing with what to do."""
        said = "there is no apt-get on this machine"
        if shutil.which("apt-get"):
            said = _install_as_root(self) if os.geteuid() == 0 else _unpack(self)
        if self.find() is None:
            raise Missing(
                f"The tests need {self.name}, and it could not be installed: {said}. Install the "
                f"package {self.package} (apt-get install {self.package}) and put it on the PATH, "
                f"or set {self.variable} to the program's path."
            )

    def path(self) -> str:
        """Where the program is, for a test that needs it."""
        found = self.find()
        if found is None:
            raise Missing(
                f"The tests need {self.name}. Run `python -m tests.parts.tools`, which gets it, "
                f"or set {self.variable} to the program's path."
            )
        return found


def _install_as_root(program: Program) -> str:
    _run(["apt-get", "update", "-qq"])
    done = _run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", program.package],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    return _last_line(done)


def _unpack(program: Program) -> str:
    """What root would install, unpacked into a folder of our own."""
    lists, archives = CACHE / "apt/state/lists", CACHE / "apt/cache/archives"
    for folder in (lists / "partial", archives / "partial", UNPACKED, SCRIPTS):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        # Its own lists and archives; what the machine has installed is read, never changed.
        *("-o", f"Dir::State={CACHE / 'apt/state'}"),
        *("-o", f"Dir::Cache={CACHE / 'apt/cache'}"),
        *("-o", "Dir::State::status=/var/lib/dpkg/status"),
        *("-o", "Debug::NoLocking=1"),
        *("-o", "APT::Sandbox::User="),
    ]
    updated = _run(["apt-get", *options, "update", "-qq"])
    fetched = _run(
        ["apt-get", *options, "install", "--download-only", "--no-install-recommends", "-y", "-qq",
         program.package]
    )  # fmt: skip
    if fetched.returncode:
        return _last_line(fetched) if updated.returncode == 0 else _last_line(updated)
    for archive in sorted(archives.glob("*.deb")):
        unpacked = _run(["dpkg", "-x", str(archive), str(UNPACKED)])
        if unpacked.returncode:
            return _last_line(unpacked)
    _write_script(program)
    return "it was unpacked and does not start"


def _write_script(program: Program) -> None:
    """Start the program with the libraries that came along, and the settings of image tools, which
    they look for in /etc or below the home folder."""
    libraries = [
        *sorted(str(folder) for folder in (UNPACKED / "usr/lib").glob("*-linux-gnu*")),
        *sorted(str(folder) for folder in (UNPACKED / "lib").glob("*-linux-gnu*")),
    ]
    settings, home = UNPACKED / "etc/containers", UNPACKED / "home"
    if settings.is_dir():
        shutil.copytree(settings, home / ".config/containers", dirs_exist_ok=True)
    folders = (UNPACKED / "usr/bin", UNPACKED / "usr/sbin")
    found = next((each for each in folders if (each / program.name).exists()), folders[0])
    script = SCRIPTS / program.name
    script.write_text(
        "#!/bin/sh\n"
        f'[ -e /etc/containers/policy.json ] || export HOME="{home}"\n'
        f'export LD_LIBRARY_PATH="{":".join(libraries)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n'
        f'exec "{found / program.name}" "$@"\n'
    )
    script.chmod(0o755)


def _run(argv: list[str], **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT,
        check=False,
        **more,
    )


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"it ended with exit code {done.returncode}"
