"""A real skopeo, which reads images from registries by a code of its own: it judges our copies."""

import subprocess
from pathlib import Path

from tests.parts.programs import Program
from tests.parts.registry import PASSWORD, USER

SKOPEO = Program("skopeo", "skopeo", "SKOPEO", ("--version",))


def find() -> str | None:
    return SKOPEO.find()


def install() -> None:
    SKOPEO.install()


def pulled(image: str, folder: Path, *, login: bool = False) -> dict[str, bytes]:
    """All that skopeo gets of `image`, every platform: the bytes of each file by its name."""
    folder.mkdir(parents=True)
    asking = ["--src-creds", f"{USER}:{PASSWORD}"] if login else ["--src-no-creds"]
    argv = [
        *(SKOPEO.path(), "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"),
        *("--src-tls-verify=false", *asking, f"docker://{image}", f"dir:{folder}"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir()}
