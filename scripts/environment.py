"""Make a virtual environment and install pinned requirements into it.

    python3 scripts/environment.py .venv requirements/dev.txt

It needs nothing but Python. uv does the work where it is at hand, because it takes seconds; pip
does otherwise. Every file is checked against its hash.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

LEAST = (3, 11)


def main(folder: str, requirements: str) -> None:
    if sys.version_info < LEAST:
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"Sluice needs Python 3.11 or newer; {sys.executable} is {found}. Set PYTHON=…")
    environment = Path(folder)
    interpreter = environment / "bin" / "python"
    if not interpreter.exists():
        venv.EnvBuilder(with_pip=True, clear=True).create(environment)
    pinned = Path(requirements).resolve()
    if uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--quiet", "--python", str(interpreter)]
    else:
        command = [str(interpreter), "-m", "pip", "install", "--quiet"]
        command += ["--disable-pip-version-check"]
    sys.stdout.write(f"Installing {requirements} into {folder} …\n")
    sys.stdout.flush()
    subprocess.run([*command, "--require-hashes", "-r", str(pinned)], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
