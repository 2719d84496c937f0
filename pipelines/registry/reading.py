"""What a registry has: the digest of a tag, the tags, and whether it takes a login."""

import hashlib

from pipelines import outbound
from pipelines.errors import Invalid, NotFound, Unreachable
from pipelines.registry.manifests import ACCEPT, Manifest, fetch, read_platform
from pipelines.registry.naming import DIGEST, Credentials, ImageName
from pipelines.registry.talking import Talk

MAX_TAGS = 10_000
PAGE = 1000
# Some registries show no more than a hundred at a time; one whose pages are empty has no end.
MAX_PAGES = 2 * MAX_TAGS // 100
SHOWN = 20


def digest_of(image: ImageName, credentials: Credentials | None = None) -> str:
    """The digest that the registry reports for the tag (or has the manifest of, for a digest)."""
    reference = image.digest or image.tag
    if not reference:
        raise Invalid(
            f"{image} has neither a tag nor a digest. Name one: what “latest” means would "
            "change without anybody noticing."
        )
    talk = Talk(image.registry, image.repository, credentials)
    path = f"/v2/{image.repository}/manifests/{reference}"
    answer = talk.ask("HEAD", path, ACCEPT)
    reported = _reported(answer)
    if answer.status != 404 and (answer.status != 200 or not reported):
        # Not every registry knows HEAD here, and some leave the digest to be computed.
        answer = talk.ask("GET", path, ACCEPT)
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
    talk = Talk(image.registry, image.repository, credentials)
    found, is_whole = list_tags(talk, MAX_TAGS)
    if not is_whole:
        raise Invalid(
            f"{image.registry}/{image.repository} has more than {MAX_TAGS} tags, which is more "
            "than are looked through. Name the tag that is meant."
        )
    return found


def check_login(host: str, credentials: Credentials | None) -> None:
    """Ask the registry itself whether it takes the credentials; CredentialsRefused where not."""
    talk = Talk(host, "", credentials)
    talk.require_ok(talk.ask("GET", "/v2/"), host)


def _reported(answer: outbound.Answer) -> str:
    reported = answer.headers.get("docker-content-digest", "").strip()
    return reported if answer.status == 200 and DIGEST.match(reported) else ""


def _absent(talk: Talk, image: ImageName) -> str:
    """What to say of an image that is not there: what is."""
    name = f"{image.registry}/{image.repository}"
    missing = image.digest or f"tag “{image.tag}”"
    try:
        found, _ = list_tags(talk, PAGE)
    except NotFound as refusal:
        return refusal.detail
    except (Invalid, Unreachable):
        # The list is a courtesy; that it cannot be had must not hide what was asked for.
        return f"{name} has no {missing}."
    listed = ", ".join(sorted(found)[:SHOWN]) + (", …" if len(found) > SHOWN else "")
    return f"{name} has no {missing}. It has: {listed or 'no tags at all'}."


def list_tags(talk: Talk, most: int) -> tuple[list[str], bool]:
    """Up to `most` tags, and whether these are all of them."""
    path = f"/v2/{talk.repository}/tags/list?n={min(most, PAGE)}"
    found: list[str] = []
    seen: set[str] = set()
    while path and path not in seen:
        if len(seen) == MAX_PAGES:
            return found, False
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


def manifest_of(image: ImageName, credentials: Credentials | None = None) -> Manifest:
    """The image's own manifest, by its digest where it has one; NotFound where it is not there."""
    talk = Talk(image.registry, image.repository, credentials)
    return fetch(talk, image.digest or image.tag)


def platform_of(image: ImageName, manifest: Manifest, credentials: Credentials | None) -> str:
    """For what an image for one platform was built, out of its configuration: like linux/amd64."""
    talk = Talk(image.registry, image.repository, credentials)
    return read_platform(talk, manifest)
