"""What builds images on this worker: looked for once, in the order of settings.BUILDERS.

A builder is a program and the argument lists that it takes; who runs them is the step's business.
Nothing here is a shell string, and no credential is ever an argument: builders find the login of
the job in the file that DOCKER_CONFIG and REGISTRY_AUTH_FILE name.
"""

import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings

from pipelines.plain import read_plain

log = logging.getLogger(__name__)

PATIENCE = 20
MOST_NOTED = 1024 * 1024
VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}\Z")
#: What a builder may know of the worker's environment: where its daemon is, never a secret.
DAEMONS = (
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "BUILDKIT_HOST",
    "XDG_RUNTIME_DIR",
)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built, and where it is to go. All paths lie in the job's workspace."""

    image: str
    dockerfile: Path
    context: Path
    #: An empty folder of the job's own, for layers and notes.
    scratch: Path
    #: Whether the registry is one of those that are spoken to by http.
    is_plain: bool = False
    #: The repository in which layers are kept between builds, or an empty text.
    cache: str = ""

    @property
    def note(self) -> Path:
        """Where the builder writes which digest it pushed."""
        return self.scratch / "pushed"


Arguments = Callable[[str, Order], list[str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A program that builds images: how to tell that it works, and what it is called with."""

    name: str
    #: Each of these must end well, or the program is there and of no use.
    checks: tuple[tuple[str, ...], ...]
    build: Arguments
    #: An empty list where building has pushed already.
    push: Arguments
    #: Whether layers can be kept in a registry between builds.
    caches: bool
    #: Whether a daemon does the work, and not the program itself.
    has_daemon: bool
    #: What to ask the program for the digests it pushed, where it leaves no note.
    ask: Callable[[Order], list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Builder:
    """A kind of builder as it was found on this worker."""

    kind: Kind
    program: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.version}"

    def build(self, order: Order) -> list[str]:
        return self.kind.build(self.program, order)

    def push(self, order: Order) -> list[str]:
        return self.kind.push(self.program, order)

    def environment(self) -> Mapping[str, str]:
        return {name: os.environ[name] for name in DAEMONS if name in os.environ}

    def remove(self, folder: Path) -> None:
        """Remove what an ordinary user's builder left as other users, which are that user's own
        and yet not his to remove: only in the builder's namespace they are."""
        if not self.kind.has_daemon:
            _said(self.program, ["unshare", "rm", "-rf", "--", str(folder)])

    def pushed(self, order: Order) -> frozenset[str]:
        """The digests that the builder says it pushed; empty where it does not tell."""
        if self.kind.ask is None:
            digests = [_noted(read_plain(order.note, MOST_NOTED))]
        else:
            said = _said(self.program, self.kind.ask(order))
            digests = [each.partition("@")[2] for each in said.split()]
        return frozenset(digest for digest in digests if DIGEST.match(digest))


@cache
def current() -> Builder | None:
    """The builder of this worker; looked for by the first who asks, and when a worker starts."""
    found = find(settings.BUILDERS)
    log.info("Images are built with %s", found or "nothing: this worker has no builder")
    return found


def find(names: tuple[str, ...]) -> Builder | None:
    """The first of `names`, which are programs or paths of programs, that works."""
    for name in names:
        kind, program = KINDS.get(Path(name).name), shutil.which(name)
        if kind and program and (version := _works(kind, program)):
            return Builder(kind, program, version)
    return None


def _noted(note: bytes) -> str:
    """The digest in a builder's note: buildctl writes JSON, buildah and podman the digest alone."""
    text = note.decode("utf-8", "replace").strip()
    if not text.startswith("{"):
        return text
    try:
        return str(json.loads(text).get("containerimage.digest", ""))
    except (ValueError, RecursionError):
        return ""


def _works(kind: Kind, program: str) -> str:
    """The program's version, or an empty text when it does not work here."""
    version = ""
    for arguments in kind.checks:
        said = _said(program, arguments)
        if not said:
            return ""
        found = VERSION.search(said)
        version = version or (found[0] if found else "")
    return version


def _said(program: str, arguments: Sequence[str]) -> str:
    """What a program writes that is only asked something; empty when it does not end well."""
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


# ---- docker --------------------------------------------------------------------------------------
def _docker_build(program: str, order: Order) -> list[str]:
    return [
        *(program, "buildx", "build", "--load", "--progress=plain"),
        *(f"--file={order.dockerfile}", f"--tag={order.image}"),
        str(order.context),
    ]


def _docker_push(program: str, order: Order) -> list[str]:
    # The daemon's own settings say which registries are spoken to by http.
    return [program, "push", order.image]


def _docker_ask(order: Order) -> list[str]:
    # Its own note of a build names the image's configuration where others name the manifest.
    return ["image", "inspect", "--format={{range .RepoDigests}}{{println .}}{{end}}", order.image]


# ---- buildah and podman --------------------------------------------------------------------------
def _own_layers(program: str, order: Order) -> list[str]:
    """Layers lie in the job's own folder: gone with the job, and nobody else's to look at. This
    driver asks for no kernel module and no device, so it works in any container."""
    return [
        program,
        f"--root={order.scratch / 'layers'}",
        f"--runroot={order.scratch / 'run'}",
        "--storage-driver=vfs",
    ]


def _podmans_own(program: str, order: Order) -> list[str]:
    # It would keep a journal of its events where only root may write.
    return [
        *_own_layers(program, order),
        *("--events-backend=none", f"--tmpdir={order.scratch / 'tmp'}"),
    ]


def _tls(order: Order) -> str:
    return f"--tls-verify={'false' if order.is_plain else 'true'}"


def _build(order: Order) -> list[str]:
    cache = [f"--cache-from={order.cache}", f"--cache-to={order.cache}", "--layers"]
    return [
        *("build", "--isolation=chroot", "--format=oci", _tls(order)),
        *(f"--file={order.dockerfile}", f"--tag={order.image}"),
        *(cache if order.cache else ()),
        str(order.context),
    ]


def _push(order: Order) -> list[str]:
    return [
        *("push", _tls(order), f"--digestfile={order.note}"),
        *(order.image, f"docker://{order.image}"),
    ]


def _buildah_build(program: str, order: Order) -> list[str]:
    return [*_own_layers(program, order), *_build(order)]


def _buildah_push(program: str, order: Order) -> list[str]:
    return [*_own_layers(program, order), *_push(order)]


def _podman_build(program: str, order: Order) -> list[str]:
    return [*_podmans_own(program, order), *_build(order)]


def _podman_push(program: str, order: Order) -> list[str]:
    return [*_podmans_own(program, order), *_push(order)]


# ---- buildctl ------------------------------------------------------------------------------------
def _buildctl_build(program: str, order: Order) -> list[str]:
    insecure = ",registry.insecure=true" if order.is_plain else ""
    kept = f"type=registry,ref={order.cache}:buildcache{insecure}"
    return [
        *(program, "build", "--progress=plain", "--frontend=dockerfile.v0"),
        *(f"--local=context={order.context}", f"--local=dockerfile={order.dockerfile.parent}"),
        f"--opt=filename={order.dockerfile.name}",
        f"--output=type=image,name={order.image},push=true{insecure}",
        f"--metadata-file={order.note}",
        *((f"--import-cache={kept}", f"--export-cache={kept}") if order.cache else ()),
    ]


def _nothing_more(program: str, order: Order) -> list[str]:
    return []


_VERSION = (("--version",),)
KINDS: Mapping[str, Kind] = {
    # A client without an engine that answers builds nothing: `docker info` tells.
    "docker": Kind(
        "docker buildx",
        (("buildx", "version"), ("info", "--format={{.ID}}")),
        _docker_build,
        _docker_push,
        caches=False,
        has_daemon=True,
        ask=_docker_ask,
    ),
    "buildah": Kind(
        "buildah", _VERSION, _buildah_build, _buildah_push, caches=True, has_daemon=False
    ),
    "podman": Kind("podman", _VERSION, _podman_build, _podman_push, caches=True, has_daemon=False),
    "buildctl": Kind(
        "buildctl",
        (("--version",), ("debug", "workers")),
        _buildctl_build,
        _nothing_more,
        caches=True,
        has_daemon=True,
    ),
}
