"""The application that the demo builds: a git repository, made on the spot of examples/greeter."""

import re
import subprocess
import tempfile
from pathlib import Path

APPLICATION = Path(__file__).resolve().parent.parent / "greeter"


def commit(repository: Path, version: str) -> str:
    """Commit the application as `version` to the bare `repository`, making it at first; answer
    the commit."""
    if not (repository / "HEAD").exists():
        repository.parent.mkdir(parents=True, exist_ok=True)
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(repository))
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for source in sorted(APPLICATION.rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                target = tree / source.relative_to(APPLICATION)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
        code = tree / "src" / "greeter.py"
        text = code.read_text(encoding="utf-8")
        code.write_text(re.sub(r'VERSION = ".*"', f'VERSION = "{version}"', text), encoding="utf-8")
        at = [f"--git-dir={repository}", f"--work-tree={tree}"]
        _git(*at, "add", "--all")
        _git(*at, "commit", "--quiet", "--allow-empty", "-m", f"Release {version}")
        return _git(*at, "rev-parse", "HEAD").strip()


def _git(*arguments: str) -> str:
    identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
    command = ["git", *identity, "-c", "safe.directory=*", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout
