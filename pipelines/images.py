"""Image sources: a tag in a registry is pinned to the digest that it has when the run starts.

`acr` names an image of Alibaba Cloud Container Registry by its parts. Any other registry is named
by writing its host into imageRepo, or by a service connection of its own.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import connections, registry
from pipelines.errors import Invalid
from pipelines.flow.document import Source, as_text
from pipelines.models import ConnectionKind, Run
from pipelines.registry import Credentials, ImageName
from pipelines.sources import Fetch

SHOWN = 20
LONGEST_FILTER = 1000
NUMBER = re.compile(r"(\d+)")


class ImageSource:
    """`acr`: one image, by tag or by the highest tag that versionFilter allows."""

    types = ("acr",)
    remote = True

    def pin(self, run: Run, source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
        credentials, host = _login(run, source)
        image = _name(source, host)
        if credentials is not None and image.registry != host:
            raise Invalid(
                f"Source {source.id}: the service connection is for {host}, and its password is "
                f"not sent to {image.registry}."
            )
        pattern = as_text(source.fields.get("versionFilter"))
        wanted = as_text(asked.get("version") or source.fields.get("imageTag"))
        if wanted:
            if pattern and not _allowed([wanted], pattern, source):
                raise Invalid(
                    f"Source {source.id}: versionFilter “{pattern[:120]}” does not allow the tag "
                    f"“{wanted[:128]}”."
                )
            tag, why = wanted, "named by the definition"
            if asked.get("version"):
                why = "named for this run"
        elif pattern:
            tag = _highest(registry.tags(image, credentials), pattern, source)
            why = f"the highest that versionFilter “{pattern[:120]}” allows"
        else:
            raise Invalid(
                f"Source {source.id}: name the tag for this run (version), or write imageTag or "
                "versionFilter in the definition."
            )
        image = registry.parse(f"{image}:{tag}")
        digest = registry.digest_of(image, credentials)
        return {
            "type": source.type,
            "image": str(image.pinned(digest)),
            "version": tag,
            "digest": digest,
            "why": f"the digest of the tag {tag}, {why}",
        }

    def fetch(self, fetch: Fetch) -> None:
        pinned = fetch.pinned
        fetch.say(f"uses {pinned['image']}: {pinned['why']}")

    def recheck(self, source: Source, pinned: Mapping[str, Any]) -> None:
        """A digest stays what it is."""

    def properties(self, pinned: Mapping[str, Any]) -> dict[str, str]:
        return {
            "version": str(pinned["version"]),
            "dockerUrl": str(pinned["image"]),
            "dockerTag": str(pinned["version"]),
            "digest": str(pinned["digest"]),
        }


def _login(run: Run, source: Source) -> tuple[Credentials | None, str]:
    """The credentials of the source and the host that they are for; None and empty without any."""
    name = as_text(source.fields.get("serviceConnection"))
    if not name:
        return None, ""
    opened = connections.open_for(run, name, ConnectionKind.REGISTRY)
    credentials = Credentials(opened.settings.get("username", ""), opened.secrets["password"])
    return credentials, registry.host_of(opened.host)


def _name(source: Source, host: str) -> ImageName:
    """The image without a tag, out of what the source says of it and its connection's host."""
    repository = as_text(source.fields.get("imageRepo")).strip("/")
    namespace = as_text(source.fields.get("namespace")).strip("/")
    region = as_text(source.fields.get("region"))
    instance = as_text(source.fields.get("instance"))
    if namespace:
        repository = f"{namespace}/{repository}"
    elif registry.has_host(repository):
        return _without_tag(source, repository)
    if not host and region:
        # The addresses that Alibaba Cloud gives to registries: one for all, or one's own.
        host = f"registry.{region}.aliyuncs.com"
        if instance:
            host = f"{instance}-registry.{region}.cr.aliyuncs.com"
    if not host:
        raise Invalid(
            f"Source {source.id}: imageRepo “{repository[:120]}” names no registry. Write its host "
            "in front of it, name its region, or name a service connection."
        )
    return _without_tag(source, f"{host}/{repository}")


def _without_tag(source: Source, text: str) -> ImageName:
    image = registry.parse(text)
    if image.tag or image.digest:
        raise Invalid(f"Source {source.id}: imageRepo has a tag. Write it into imageTag.")
    return image


def _allowed(tags: Sequence[str], pattern: str, source: Source) -> list[str]:
    """Those of `tags` that the whole pattern describes.

    A pattern may search for longer than anybody waits, and nothing inside the process can stop it.
    So a child matches, within limits of its own.
    """
    if len(pattern) > LONGEST_FILTER:
        raise Invalid(f"Source {source.id}: versionFilter is longer than {LONGEST_FILTER}.")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _MATCHER],
        input=json.dumps([pattern, list(tags)]),
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # Killed by the limit it says nothing; of a bad pattern it says what is wrong.
        said = done.stderr.strip().splitlines()[-1:] or ["it takes too long to match"]
        raise Invalid(f"Source {source.id}: versionFilter cannot be used: {said[0][:200]}.")
    found: list[str] = json.loads(done.stdout)
    return found


_MATCHER = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))
pattern, tags = json.load(sys.stdin)
try:
    matches = re.compile(pattern).fullmatch
    print(json.dumps([tag for tag in tags if matches(tag)]))
except (re.error, MemoryError, OverflowError, RecursionError) as error:
    sys.exit(str(error) or "it takes too much memory")
"""


def _highest(tags: Sequence[str], pattern: str, source: Source) -> str:
    allowed = _allowed(tags, pattern, source)
    if not allowed:
        there = ", ".join(sorted(tags)[:SHOWN]) or "none"
        raise Invalid(
            f"Source {source.id}: versionFilter “{pattern[:120]}” allows none of the tags. There "
            f"are: {there}."
        )
    return max(allowed, key=_order)


def _order(tag: str) -> list[tuple[int, int, str]]:
    """Numbers in a tag are compared as numbers: 1.10 comes after 1.9."""
    return [
        (1, int(part), "") if part.isdigit() else (0, 0, part) for part in NUMBER.split(tag) if part
    ]
