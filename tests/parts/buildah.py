"""A real buildah, which builds images without a daemon and without root."""

import os
import subprocess
from pathlib import Path

from tests.parts.programs import Program

BUILDAH = Program("buildah", "buildah", "BUILDAH", ("--version",))


def find() -> str | None:
    return BUILDAH.find()


def install() -> None:
    BUILDAH.install()


def path() -> str:
    return BUILDAH.path()


def push_multiarch(image: str, folder: Path) -> None:
    """Build one small image for two platforms, and push the list of both by plain HTTP."""
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    (folder / "file").write_text("the same on every platform")
    storage = ("--root", str(folder / "root"), "--runroot", str(folder / "run"))
    environment = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
    build = ("build", "--quiet", "--format", "oci", "--manifest", "both")
    commands = [
        *((*build, "--platform", each, str(folder)) for each in ("linux/amd64", "linux/arm64")),
        ("manifest", "push", "--all", "--tls-verify=false", "both", f"docker://{image}"),
    ]
    for command in commands:
        argv = [path(), *storage, *command]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
