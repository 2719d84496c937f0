"""Git sources: a branch, tag or commit is pinned to one commit, and that commit is checked out.

Git is called with argument lists only. Values that come from a definition or a caller stand behind
`--` or are checked not to look like options, and git runs without the user's configuration,
credentials or prompts.
"""

import os
import posixpath
import re
import shutil
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from django.conf import settings

from pipelines import connections, destinations, processes
from pipelines.errors import BadRequest, Invalid
from pipelines.flow.document import Source, as_text
from pipelines.models import ConnectionKind, Run
from pipelines.sources import Fetch, Say

COMMIT = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?\Z")
REF = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._/+@-]{0,200}\Z")
TIMEOUT = 300
MAX_SUBMODULES = 100
MAX_NESTING = 5
MOST_SAID = 64 * 1024


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository to talk to, and as whom. `header` is a credential and never shown."""

    endpoint: str
    header: str = field(default="", repr=False)
    #: Why git must end now, or an empty text.
    should_stop: Callable[[], str] = lambda: ""

    def reaches(self, endpoint: str) -> "Remote":
        """Another repository, with the same credential only if it is on the same host."""
        same = urlsplit(endpoint)[:2] == urlsplit(self.endpoint)[:2]
        return Remote(endpoint, self.header if same else "", self.should_stop)


class GitSource:
    """Every code source whose endpoint speaks git."""

    types = (
        "git",
        "gitSample",
        "codeup",
        "gitlab",
        "gitlabAPI",
        "customGitlab",
        "github",
        "githubApp",
        "gitee",
        "bitbucket",
    )
    remote = True

    def pin(self, run: Run, source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = as_text(source.fields.get("endpoint"))
        branch = as_text(asked.get("branch") or source.fields.get("branch")) or "master"
        if not REF.match(branch) or ".." in branch:
            raise Invalid(f"Source {source.id}: “{branch[:80]}” is not a branch or tag name.")
        pinned = {
            "type": source.type,
            "endpoint": endpoint,
            "branch": branch,
            "connection": _connection_of(source),
            "depth": _depth_of(source),
            "submodules": source.fields.get("submodule") is True,
        }
        if asked.get("commit"):
            commit = str(asked["commit"]).lower()
            if not COMMIT.match(commit):
                raise Invalid(f"Source {source.id}: a commit is its whole id in hex.")
            return {**pinned, "commit": commit, "why": "the commit was named for this run"}
        remote = _remote(pinned, lambda name, kind: connections.open_for(run, name, kind))
        # The second pattern asks for the commit behind an annotated tag.
        wanted = [branch, f"{branch}^{{}}"]
        listed = _git(["ls-remote", "--exit-code", "--", _address(endpoint), *wanted], remote)
        head = _commit_of(listed, branch)
        if head is None:
            raise Invalid(f"Source {source.id}: {endpoint} has no branch or tag “{branch}”.")
        why = "named for this run" if asked.get("branch") else "named by the definition"
        return {**pinned, "commit": head, "why": f"the head of {branch}, {why}"}

    def fetch(self, fetch: Fetch) -> None:
        pinned, folder = fetch.pinned, fetch.folder
        commit, endpoint = str(pinned["commit"]), str(pinned["endpoint"])
        fetch.say(f"checks out {commit[:8]} ({pinned['why']}) of {endpoint}")
        remote = replace(_remote(pinned, fetch.connection), should_stop=fetch.why_stop)
        check_out(remote, commit, folder, branch=str(pinned["branch"]), depth=pinned.get("depth"))
        if pinned.get("submodules"):
            _check_out_submodules(remote, folder, fetch.say)

    def recheck(self, source: Source, pinned: Mapping[str, Any]) -> None:
        """A commit stays what it is."""

    def properties(self, pinned: Mapping[str, Any]) -> dict[str, str]:
        return {"version": str(pinned["commit"])}


def _connection_of(source: Source) -> str:
    certificate = source.fields.get("certificate")
    if not isinstance(certificate, dict):
        return ""
    return as_text(certificate.get("serviceConnection"))


def _depth_of(source: Source) -> int | None:
    depth = source.fields.get("cloneDepth")
    return depth if isinstance(depth, int) and depth > 0 else None


def _remote(
    pinned: Mapping[str, Any], connection: Callable[[str, str], connections.Opened]
) -> Remote:
    """The repository with the credential of its service connection, if it names one."""
    endpoint, name = str(pinned["endpoint"]), str(pinned.get("connection") or "")
    if not name:
        return Remote(endpoint)
    opened = connection(name, ConnectionKind.GIT)
    connections.require_host(opened, endpoint)
    pair = f"{opened.settings.get('username', 'git')}:{opened.secrets['password']}"
    return Remote(endpoint, f"Authorization: Basic {b64encode(pair.encode()).decode()}")


def check_out(
    remote: Remote, commit: str, folder: Path, *, branch: str = "", depth: int | None = None
) -> None:
    """Check `commit` out into the empty `folder`, and make sure that it is that commit."""
    at = ["-C", str(folder)]
    _git(["init", "--quiet", str(folder)], remote)
    fetch = [*at, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules"]
    shallow = [f"--depth={depth}"] if depth else []
    address = ["--", _address(remote.endpoint)]
    try:
        _git([*fetch, *shallow, *address, commit], remote)
    except Invalid:
        # Some servers hand out only what a branch names; then its history holds the commit.
        if not branch:
            raise
        _git([*fetch, *address, branch], remote)
    _git([*at, "checkout", "--quiet", "--detach", commit], remote)
    head = _git([*at, "rev-parse", "HEAD"], remote).strip()
    if head != commit:
        raise Invalid(f"{remote.endpoint} gave commit {head} instead of {commit}.")


# ---- Submodules --------------------------------------------------------------------------------
def _check_out_submodules(remote: Remote, folder: Path, say: Say, deep: int = 0) -> None:
    """Fetch the submodules of a checkout, each by the very commit that the checkout names.

    Not with `git submodule`, which would connect wherever .gitmodules says without our looking.
    """
    listed = folder / ".gitmodules"
    if not listed.is_file() or listed.is_symlink():
        return
    if deep == MAX_NESTING:
        raise Invalid(f"Submodules are nested deeper than {MAX_NESTING} times.")
    at = ["-C", str(folder)]
    pattern = r"^submodule\..*\.(path|url)$"
    text = _git([*at, "config", "--file", ".gitmodules", "-z", "--get-regexp", pattern], remote)
    found: dict[str, dict[str, str]] = {}
    for entry in filter(None, text.split("\0")):
        key, _, value = entry.partition("\n")
        name, _, what = key.rpartition(".")
        found.setdefault(name, {})[what] = value
    if len(found) > MAX_SUBMODULES:
        raise Invalid(f"A checkout may have at most {MAX_SUBMODULES} submodules.")
    for each in found.values():
        path, url = each.get("path", ""), each.get("url", "")
        target = folder / path
        if not path or target.is_symlink() or not target.resolve().is_relative_to(folder.resolve()):
            raise Invalid(f"The submodule “{path[:80]}” leads out of the checkout.")
        tree = _git([*at, "ls-tree", "-z", "HEAD", "--", path], remote)
        mode, _, rest = tree.partition(" ")
        if mode != "160000":
            continue  # .gitmodules names what the commit does not hold.
        commit = rest.split()[1]
        inner = remote.reaches(_joined(remote.endpoint, url))
        say(f"submodule {path} at {commit[:8]} of {inner.endpoint}")
        target.mkdir(parents=True, exist_ok=True)
        check_out(inner, commit, target)
        _check_out_submodules(inner, target, say, deep + 1)


def _joined(endpoint: str, url: str) -> str:
    """A submodule's address, which may be relative to that of the repository it is in."""
    if not url.startswith(("./", "../")):
        return url
    parts = urlsplit(endpoint)
    path = posixpath.normpath(f"{parts.path}/{url}")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def commit_title(folder: Path) -> str:
    """The first line of the checked-out commit's message."""
    return _git(["-C", str(folder), "log", "-1", "--format=%s"], Remote("the checkout")).strip()


def _commit_of(listed: str, branch: str) -> str | None:
    refs: dict[str, str] = {}
    for line in listed.splitlines():
        commit, _, ref = line.partition("\t")
        refs[ref] = commit
    # An annotated tag is listed twice; the commit is behind ^{}.
    for ref in (f"refs/heads/{branch}", f"refs/tags/{branch}^{{}}", f"refs/tags/{branch}"):
        if ref in refs:
            return refs[ref]
    return None


def _address(endpoint: str) -> str:
    """The endpoint as git may be told it, once it is known to lead where Sluice may go."""
    try:
        parts = urlsplit(endpoint)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise BadRequest(f"“{endpoint[:120]}” is not an address: {error}.") from error
    if is_web:
        return endpoint
    if not endpoint:
        raise BadRequest("The source has no endpoint to fetch from.")
    if parts.scheme == "file" or (not parts.scheme and endpoint.startswith("/")):
        folder = Path(unquote(parts.path)).resolve()
        if any(folder.is_relative_to(allowed) for allowed in settings.LOCAL_REPOSITORIES):
            return str(folder)
        raise destinations.DestinationForbidden(
            f"The repository {endpoint} is not below a folder that an operator allowed with "
            "SLUICE_LOCAL_REPOSITORIES."
        )
    raise BadRequest(
        f"“{endpoint[:120]}” is no address that Sluice fetches from. Use https:// or http://."
    )


def _pinned_host(endpoint: str) -> list[str]:
    """Options that make git connect to the very address that was checked."""
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return []
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = destinations.allowed_address(parts.hostname, port)
    options = ["-c", "http.followRedirects=false"]
    if parts.hostname != address:
        # An address that was written out cannot be looked up anew, and needs no pinning.
        shown = f"[{address}]" if ":" in address else address
        options += ["-c", f"http.curloptResolve={parts.hostname}:{port}:{shown}"]
    return options


def _git(arguments: Sequence[str], remote: Remote) -> str:
    endpoint, should_stop = remote.endpoint, remote.should_stop
    argv = [
        "git",
        "-c",
        "safe.directory=*",
        "-c",
        "credential.helper=",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "advice.detachedHead=false",
        "-c",
        "core.hooksPath=/dev/null",
        *_pinned_host(endpoint),
        *arguments,
    ]
    environment = {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file:http:https",
    }
    if remote.header:
        # Not on the command line, which others can read, and for this address alone.
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{remote.endpoint}.extraHeader",
            "GIT_CONFIG_VALUE_0": remote.header,
        }
    said, answer = b"", bytearray()
    with tempfile.TemporaryFile() as errors:
        ended = processes.run(
            argv,
            folder=Path("/"),
            environment=environment,
            deadline=time.monotonic() + TIMEOUT,
            output=answer.extend,
            should_stop=should_stop,
            errors=errors,
        )
        errors.seek(0)
        said = errors.read(MOST_SAID)
    if ended.stopped == processes.TIMEOUT:
        raise Invalid(f"git took longer than {TIMEOUT} s with {endpoint}.")
    if ended.stopped:
        raise Invalid(ended.stopped)
    if ended.exit_code == 2 and "ls-remote" in arguments:
        return ""
    if ended.exit_code:
        if shutil.which("git") is None:
            raise Invalid("This worker has no git. Install git, or run the job elsewhere.")
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise Invalid(f"git could not read {endpoint}: {last[0][:300]}")
    return answer.decode("utf-8", "replace")
