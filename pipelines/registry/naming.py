"""Names of images and of registries: what they are made of, and who is spoken to by which."""

import re
from dataclasses import dataclass, field, replace

from pipelines import destinations
from pipelines.errors import Invalid

_HOST = (
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,252}[a-zA-Z0-9])?|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?"
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
HOST = re.compile(rf"^{_HOST}\Z")
IMAGE = re.compile(
    rf"^(?P<registry>{_HOST})/(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?\Z"
)
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}\Z")
# The one registry whose interface lies on another host than its images are named after.
HUB = "docker.io"
HUB_API = "registry-1.docker.io"
HUB_NAMES = frozenset({HUB, HUB_API, "index.docker.io", "hub.docker.com"})
EXAMPLE = "registry.example.com:5000"


class CredentialsRefused(Invalid):
    code = "credentials_refused"
    title = "The credentials were refused"


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image's name in its parts; `tag` and `digest` are empty where the name has none."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return (
            f"{self.registry}/{self.repository}"
            + (f":{self.tag}" if self.tag else "")
            + (f"@{self.digest}" if self.digest else "")
        )

    def pinned(self, digest: str) -> "ImageName":
        return replace(self, digest=digest)


def parse(text: str) -> ImageName:
    """The parts of `host[:port]/path[:tag][@digest]`.

    The host must be written: what a bare name means differs from machine to machine.
    """
    match = IMAGE.match(text) if len(text) <= 512 else None
    if match is None or not _is_host(match["registry"]):
        raise Invalid(
            f"“{text[:120]}” is not the name of an image. Write it like "
            "registry.example.com/team/app:1.0, with the registry's host in front and the rest "
            "in small letters."
        )
    repository = match["repository"]
    if match["registry"] == HUB and "/" not in repository:
        repository = f"library/{repository}"
    return ImageName(match["registry"], repository, match["tag"] or "", match["digest"] or "")


def host_of(text: str) -> str:
    """The registry's host in an address that somebody wrote: a host, with a scheme in front or a
    path behind it or not."""
    host = re.sub(r"^https?://", "", text.strip(), flags=re.I).partition("/")[0].lower()
    if not HOST.match(host) or not _is_host(host):
        raise Invalid(f"“{text[:120]}” names no registry. Write its host, like {EXAMPLE}.")
    return HUB if host in HUB_NAMES else host


def has_host(name: str) -> bool:
    """Whether the first part of an image's name is a registry's host."""
    return "/" in name and _is_host(name.partition("/")[0])


def _is_host(text: str) -> bool:
    """Whether the first part of a name is a host, by the rule that all image tools share."""
    return "." in text or ":" in text or text == "localhost"


def is_plain(host: str) -> bool:
    """Whether the registry is spoken to by http: only an address that is written out, or
    localhost, in a network that an operator opened. Every name is spoken to by https, so that no
    name server can talk Sluice into sending a password in the clear.
    """
    name = _without_port(host)
    return destinations.is_opened("127.0.0.1" if name == "localhost" else name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
