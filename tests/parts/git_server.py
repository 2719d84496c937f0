"""A real git server over HTTP: `git http-backend` behind a small bridge, and repositories for it.

with git_server.server(folder) as server:
    repository = server.make("app")
    commit = repository.commit({"app.txt": "one"})
    …  # clone server.url_of("app")
"""

import base64
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.parts.programs import Missing
from tests.parts.web import Asked, Handler, Served, answer, serve

USER, PASSWORD = "ada", "ada's git password"
BACKEND = "git-http-backend"


def find() -> str | None:
    """The path of git's own HTTP server, which is part of git."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, "--exec-path"], capture_output=True, text=True, check=True)
    backend = Path(done.stdout.strip()) / BACKEND
    return str(backend) if backend.exists() else None


def install() -> None:
    if find() is None:
        raise Missing(
            f"The tests need git with {BACKEND}, and Sluice needs git itself. Install the package "
            "git (apt-get install git) and put it on the PATH."
        )


class Repository:
    """A bare repository that is served, and a folder beside it in which commits are made."""

    def __init__(self, root: Path, name: str) -> None:
        self.path = root / f"{name}.git"
        self.work = root / f"{name}.work"
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(self.path))
        _git("init", "--quiet", "--initial-branch=main", str(self.work))
        self.git("remote", "add", "origin", str(self.path))

    def git(self, *arguments: str) -> str:
        return _git("-C", str(self.work), *arguments)

    def commit(self, files: Mapping[str, str], message: str = "Change it") -> str:
        """Write `files`, commit and push them; the id of the commit."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        return self._commit(message)

    def branch(self, name: str) -> None:
        """Go on with another branch, beginning where this one is."""
        self.git("checkout", "--quiet", "-B", name)
        self.push()

    def tag(self, name: str, message: str = "") -> None:
        """Tag the present commit; with a message, by a tag of its own kind (annotated)."""
        self.git("tag", *(["--annotate", "--message", message] if message else []), name)
        self.push()

    def add_submodule(self, path: str, url: str, commit: str) -> str:
        """Put `commit` of the repository at `url` into the folder `path`; the id of the commit."""
        for key, value in (("path", path), ("url", url)):
            self.git("config", "--file", ".gitmodules", f"submodule.{path}.{key}", value)
        self.git("add", ".gitmodules")
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        return self._commit(f"Use {path}")

    def push(self) -> None:
        self.git("push", "--quiet", "--force", "--all", "origin")
        self.git("push", "--quiet", "--force", "--tags", "origin")

    def _commit(self, message: str) -> str:
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.push()
        return self.git("rev-parse", "HEAD")


@dataclass(frozen=True)
class GitServer:
    root: Path
    served: Served

    def make(self, name: str) -> Repository:
        return Repository(self.root, name)

    def url_of(self, name: str) -> str:
        return f"{self.served.url}/{name}.git"


@contextlib.contextmanager
def server(root: Path, *, password: bool = False) -> Iterator[GitServer]:
    """Serve the repositories below `root`; with `password`, only to USER with PASSWORD."""
    install()
    backend = find()
    assert backend is not None

    def respond(handler: Handler, asked: Asked) -> None:
        given = asked.headers.get("authorization", "")
        if password and given != _basic(USER, PASSWORD):
            answer(handler, 401, b"who are you?", www_authenticate='Basic realm="git"')
        else:
            _bridge(backend, root, handler, asked)

    with serve(respond) as served:
        yield GitServer(root, served)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _bridge(backend: str, root: Path, handler: Handler, asked: Asked) -> None:
    """Ask git's server as RFC 3875 (CGI) says, and hand on what it answers."""
    path, _, query = asked.path.partition("?")
    environment = {
        **_environment(),
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": asked.method,
        "CONTENT_TYPE": asked.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(asked.body)),
        "HTTP_CONTENT_ENCODING": asked.headers.get("content-encoding", ""),
        "GIT_PROTOCOL": asked.headers.get("git-protocol", ""),
        "REMOTE_ADDR": "127.0.0.1",
    }
    done = subprocess.run(
        [backend], input=asked.body, env=environment, capture_output=True, check=False
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().splitlines()]
    headers = {name.lower(): value for name, _, value in lines}
    status = int(headers.pop("status", "200" if done.stdout else "500").split()[0])
    answer(handler, status, body, **headers)


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], env=_environment(), check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    """Nothing of the settings of whoever runs the tests, and an author for the commits."""
    who = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
    }
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        **who,
    }
