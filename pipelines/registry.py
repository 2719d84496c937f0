"""Registries of images: what a name stands for right now, after the OCI distribution protocol.

    image = registry.parse("registry.example.com/team/app:1.0")
    registry.digest_of(image, credentials)        # sha256:…, as the registry reports it
    registry.tags(image, credentials)             # every tag of the repository

Nothing here pulls layers or pushes: builders do that. Here is asked, and what was asked for is
compared with what came back.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode, urljoin, urlsplit

from pipelines import destinations, outbound
from pipelines.errors import Invalid, NotFound, Unreachable

#: Every form of manifest there is, the lists for several platforms before those for one: a tag's
#: digest is that of the list where there is one.
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MAX_MANIFEST = 4 * 1024 * 1024
MAX_TAGS = 10_000
PAGE = 1000
SHOWN = 20

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
CHALLENGE = re.compile(r'\b(?P<key>realm|service|scope)="(?P<value>[^"]*)"', re.I)
LINK = re.compile(r'<(?P<url>[^>]*)>\s*;[^,]*\brel="?next"?', re.I)
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


def digest_of(image: ImageName, credentials: Credentials | None = None) -> str:
    """The digest that the registry reports for the tag (or has the manifest of, for a digest)."""
    reference = image.digest or image.tag
    if not reference:
        raise Invalid(
            f"{image} has neither a tag nor a digest. Name one: what “latest” means would "
            "change without anybody noticing."
        )
    talk = _Talk(image.registry, image.repository, credentials)
    path = f"/v2/{image.repository}/manifests/{reference}"
    accept = {"Accept": ", ".join(MANIFESTS)}
    answer = talk.ask("HEAD", path, accept)
    reported = _reported(answer)
    if answer.status != 404 and (answer.status != 200 or not reported):
        # Not every registry knows HEAD here, and some leave the digest to be computed.
        answer = talk.ask("GET", path, accept)
        reported = _reported(answer)
    if answer.status == 404:
        raise NotFound(_absent(talk, image))
    talk.require_ok(answer, str(image))
    computed = f"sha256:{hashlib.sha256(answer.body).hexdigest()}" if answer.body else ""
    digest = computed or reported
    for claimed in filter(None, (reported, image.digest)):
        if claimed != digest:
            raise Unreachable(
                f"{image.registry} answered for {image} with {digest} where {claimed} was to be "
                "expected. Its answers cannot be relied on; check what stands between."
            )
    return digest


def tags(image: ImageName, credentials: Credentials | None = None) -> list[str]:
    """Every tag of the image's repository, in the registry's order."""
    talk = _Talk(image.registry, image.repository, credentials)
    found, is_whole = _tags(talk, MAX_TAGS)
    if not is_whole:
        raise Invalid(
            f"{image.registry}/{image.repository} has more than {MAX_TAGS} tags, which is more "
            "than are looked through. Name the tag that is meant."
        )
    return found


def check_login(host: str, credentials: Credentials | None) -> None:
    """Ask the registry itself whether it takes the credentials; CredentialsRefused where not."""
    talk = _Talk(host, "", credentials)
    talk.require_ok(talk.ask("GET", "/v2/"), host)


def _reported(answer: outbound.Answer) -> str:
    reported = answer.headers.get("docker-content-digest", "").strip()
    return reported if answer.status == 200 and DIGEST.match(reported) else ""


def _absent(talk: "_Talk", image: ImageName) -> str:
    """What to say of an image that is not there: what is."""
    name = f"{image.registry}/{image.repository}"
    missing = image.digest or f"tag “{image.tag}”"
    try:
        found, _ = _tags(talk, PAGE)
    except NotFound as refusal:
        return refusal.detail
    except (Invalid, Unreachable):
        # The list is a courtesy; that it cannot be had must not hide what was asked for.
        return f"{name} has no {missing}."
    listed = ", ".join(sorted(found)[:SHOWN]) + (", …" if len(found) > SHOWN else "")
    return f"{name} has no {missing}. It has: {listed or 'no tags at all'}."


def _tags(talk: "_Talk", most: int) -> tuple[list[str], bool]:
    """Up to `most` tags, and whether these are all of them."""
    path = f"/v2/{talk.repository}/tags/list?n={min(most, PAGE)}"
    found: list[str] = []
    seen: set[str] = set()
    while path and path not in seen:
        seen.add(path)
        answer = talk.ask("GET", path)
        if answer.status == 404:
            raise NotFound(
                f"{talk.host} has no repository “{talk.repository}”, or does not show it. Check "
                "its name and the service connection's rights."
            )
        talk.require_ok(answer, f"{talk.host}/{talk.repository}")
        page = answer.json()
        listed = page.get("tags") if isinstance(page, dict) else None
        found += [str(tag) for tag in listed or [] if isinstance(tag, str)]
        path = talk.next_page(path, answer)
        if len(found) > most or (path and len(found) >= most):
            return found[:most], False
    return found, True


class _Talk:
    """A few questions to one registry about one repository, with one login for all of them."""

    def __init__(self, host: str, repository: str, credentials: Credentials | None) -> None:
        self.host = host
        self.repository = repository
        self._credentials = credentials
        scheme = "http" if is_plain(host) else "https"
        self._base = f"{scheme}://{HUB_API if host == HUB else host}"
        self._auth: outbound.Auth | None = None

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> outbound.Answer:
        answer = self._ask(method, path, headers)
        if answer.status == 401 and self._auth is None:
            self._auth = self._answered(answer.headers.get("www-authenticate", ""))
            answer = self._ask(method, path, headers)
        if answer.status in {401, 403}:
            raise self._refused()
        return answer

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None) -> outbound.Answer:
        url = f"{self._base}{path}"
        return outbound.request(method, url, headers=headers, auth=self._auth, most=MAX_MANIFEST)

    def require_ok(self, answer: outbound.Answer, what: str) -> None:
        if answer.status == 429:
            raise Unreachable(f"{self.host} asks to be left alone for a while. Try again later.")
        if answer.status != 200:
            raise Unreachable(
                f"{self.host} answered HTTP {answer.status} when asked for {what}. Check that it "
                "is a registry of images and that it is well."
            )

    def next_page(self, path: str, answer: outbound.Answer) -> str:
        """The path of the page after this one, or an empty text. It lies on the same registry."""
        link = LINK.search(answer.headers.get("link", ""))
        if link is None:
            return ""
        url = urljoin(f"{self._base}{path}", link["url"])
        if outbound.origin_of(url) != outbound.origin_of(self._base):
            raise Unreachable(
                f"{self.host} continues its list of tags on another host: {url[:200]}."
            )
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}"

    def _answered(self, challenge: str) -> outbound.Auth:
        """What to send after the registry asked who we are."""
        kind = challenge.partition(" ")[0].lower()
        if kind == "bearer":
            return outbound.bearer(self._base, self._token(challenge))
        if kind != "basic" or self._credentials is None:
            raise self._refused()
        return outbound.basic(self._base, self._credentials.username, self._credentials.password)

    def _token(self, challenge: str) -> str:
        """Fetch a token from where the registry sends us (its realm).

        The realm is often another host, so whoever writes the challenge says where the password
        goes. The rule: the challenge must have come by https, whose certificate names the registry,
        or from a network that an operator opened and so answers for; `is_plain` sees to that, since
        nothing else is ever spoken to by http. A registry that turned evil learns nothing new: the
        password is its own. The realm is called by the same client as all else, so it too must be
        https, or lie in an opened network, before credentials are sent there, and it may lead
        inward only where an operator said so.
        """
        asked = {each["key"].lower(): each["value"] for each in CHALLENGE.finditer(challenge)}
        realm = asked.get("realm", "")
        # No more than is needed is asked for, whatever scope the challenge would have us take.
        query = {"service": asked.get("service", "")}
        if self.repository:
            query["scope"] = f"repository:{self.repository}:pull"
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        auth = None
        if self._credentials is not None:
            pair = self._credentials
            auth = outbound.basic(realm, pair.username, pair.password)
        answer = outbound.request("GET", url, auth=auth)
        if answer.status in {400, 401, 403}:
            raise self._refused()
        self.require_ok(answer, f"a token at {realm}")
        found = answer.json()
        token = found.get("token") or found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token:
            raise Unreachable(f"{self.host}: {realm} answered without a token.")
        return token

    def _refused(self) -> CredentialsRefused:
        what = f" for “{self.repository}”" if self.repository else ""
        if self._credentials is None:
            return CredentialsRefused(
                f"{self.host} wants credentials{what}, and none were given. Name a service "
                "connection of this registry."
            )
        return CredentialsRefused(
            f"{self.host} does not take the credentials of “{self._credentials.username}”{what}. "
            "Check the user, the password and their rights in the service connection."
        )
