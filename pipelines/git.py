"""Git sources: a branch, tag or commit is pinned to one commit, and that commit is checked out.

Git is called with argument lists only. Values that come from a definition or a caller stand behind
`--` or are checked not to look like options, and git runs without the user's configuration,
credentials or prompts.
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

from pipelines import destinations
from pipelines.errors import BadRequest, Invalid
from pipelines.flow.document import Source
from pipelines.models import Run
from pipelines.sources import Say

COMMIT = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?\Z")
REF = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._/+@-]{0,200}\Z")
TIMEOUT = 300


class GitSource:
    """Every code source whose endpoint speaks git."""

    types = ("git", "gitSample", "codeup", "gitlab", "github", "customGitlab", "bitbucket")
    remote = True

    def pin(self, run: Run, source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = str(source.fields.get("endpoint", ""))
        branch = str(asked.get("branch") or source.fields.get("branch") or "master")
        if not REF.match(branch) or ".." in branch:
            raise Invalid(f"Source {source.id}: “{branch[:80]}” is not a branch or tag name.")
        pinned = {"type": source.type, "endpoint": endpoint, "branch": branch}
        if asked.get("commit"):
            commit = str(asked["commit"]).lower()
            if not COMMIT.match(commit):
                raise Invalid(f"Source {source.id}: a commit is its whole id in hex.")
            return {**pinned, "commit": commit, "why": "the commit was named for this run"}
        # The second pattern asks for the commit behind an annotated tag.
        wanted = [branch, f"{branch}^{{}}"]
        listed = _git(["ls-remote", "--exit-code", "--", _address(endpoint), *wanted], endpoint)
        head = _commit_of(listed, branch)
        if head is None:
            raise Invalid(f"Source {source.id}: {endpoint} has no branch or tag “{branch}”.")
        why = "named for this run" if asked.get("branch") else "named by the definition"
        return {**pinned, "commit": head, "why": f"the head of {branch}, {why}"}

    def fetch(self, pinned: Mapping[str, Any], folder: Path, say: Say) -> None:
        commit, endpoint = str(pinned["commit"]), str(pinned["endpoint"])
        say(f"checks out {commit[:8]} ({pinned['why']}) of {endpoint}")
        at = ["-C", str(folder)]
        _git(["init", "--quiet", str(folder)], endpoint)
        fetch = [*at, "fetch", "--quiet", "--no-tags", "--depth=1", "--", _address(endpoint)]
        try:
            _git([*fetch, commit], endpoint)
        except Invalid:
            # Some servers hand out only what a branch names; then its history holds the commit.
            fetch.remove("--depth=1")
            _git([*fetch, str(pinned["branch"])], endpoint)
        _git([*at, "checkout", "--quiet", "--detach", commit], endpoint)
        head = _git([*at, "rev-parse", "HEAD"], endpoint).strip()
        if head != commit:
            raise Invalid(f"{endpoint} gave commit {head} instead of {commit}.")

    def properties(self, pinned: Mapping[str, Any]) -> dict[str, str]:
        return {"version": str(pinned["commit"])}


def commit_title(folder: Path) -> str:
    """The first line of the checked-out commit's message."""
    return _git(["-C", str(folder), "log", "-1", "--format=%s"], "the checkout").strip()


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


def _git(arguments: Sequence[str], endpoint: str) -> str:
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
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise Invalid("This worker has no git. Install git, or run the job elsewhere.") from error
    except subprocess.TimeoutExpired as error:
        raise Invalid(f"git took longer than {TIMEOUT} s with {endpoint}.") from error
    if done.returncode == 2 and "ls-remote" in arguments:
        return ""
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise Invalid(f"git could not read {endpoint}: {said[0][:300]}")
    return done.stdout
