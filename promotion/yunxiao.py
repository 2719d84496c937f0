"""A Generic repository of Alibaba Cloud DevOps Packages, as an import takes it in.

What is documented of its HTTP API, and what is assumed, stands in docs/decisions/0017-importing.md.
There, every file is a package of its own, named by its path, and has versions of its own.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from pipelines import destinations, outbound
from pipelines.artifacts import check_path
from pipelines.errors import (
    BadRequest,
    DigestMismatch,
    Forbidden,
    InvalidFilename,
    NotFound,
    Unreachable,
)
from promotion.incoming import Incoming, IncomingFile, Misfit

#: Where the central edition answers its OpenAPI; regional ones do so on their own host.
API = "https://openapi-rdc.aliyuncs.com"
CENTRAL = re.compile(
    r"^https?://[^/?#]+/api/protocol/(?P<organization>[\w-]+)/generic/(?P<repository>[\w.-]+)\Z",
    re.IGNORECASE | re.ASCII,
)
REGIONAL = re.compile(
    r"^https?://[^/?#]+/packages/api/protocol/generic/(?P<repository>[\w.-]+)\Z",
    re.IGNORECASE | re.ASCII,
)
PAGE = 50
MOST_PAGES = 20_000
MOST_LISTED = 16 * 1024**2
CHECKSUM = "x-artlab-checksum-sha256"
SHA256 = re.compile(r"^[0-9a-f]{64}\Z")
REMEDY = "Name the package with --rename MODULE=NAME."


@dataclass(frozen=True, slots=True)
class Credentials:
    """`token` is a personal access token, for the list; the others are for the files."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


class PackagesRepository:
    """`only` names the modules to take, all when it is empty; `names` what they are called here."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        api: str = "",
        only: Collection[str] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        central, regional = CENTRAL.match(self.url), REGIONAL.match(self.url)
        match = central or regional
        if match is None:
            raise BadRequest(
                f"“{url[:200]}” is not the address of a Generic repository. It is like "
                "https://packages.aliyun.com/api/protocol/<organization>/generic/<repository>; the "
                "repository's page of settings shows it."
            )
        home = api.rstrip("/") or (API if central else outbound.origin_of(self.url))
        middle = f"organizations/{match['organization']}/" if central else ""
        self._list = f"{home}/oapi/v1/packages/{middle}repositories/{match['repository']}/artifacts"
        self._token = _sendable(credentials.token, self._list)
        self._files_auth = outbound.basic(self.url, credentials.user, credentials.password)
        self.only = frozenset(only)
        self.names = names or {}

    @property
    def place(self) -> str:
        return self.url

    # ---- The list ------------------------------------------------------------------------------
    def listing(self) -> Iterator[Incoming | Misfit]:
        modules = self._modules()
        for missing in sorted(self.only - modules.keys()):
            yield Misfit(f"{self.url} {missing}", "There is no such package. Check --package.")
        wanted = sorted(modules.keys() & self.only if self.only else modules)
        called = {module: self.names.get(module) or slug_of(module) for module in wanted}
        taken = Counter(called.values())
        for module in wanted:
            place = f"{self.url}/files/{quote(module)}"
            try:
                check_path(module)
            except InvalidFilename as error:
                yield Misfit(place, error.detail)
                continue
            if taken[called[module]] > 1:
                others = [each for each in wanted if called[each] == called[module]]
                shared = f"{', '.join(others[:5])} would all be the package “{called[module]}”."
                yield Misfit(place, f"{shared} {REMEDY}")
                continue
            yield from self._versions(module, called[module], modules[module])

    def _versions(
        self, module: str, package: str, versions: list[dict[str, Any]]
    ) -> Iterator[Incoming]:
        for each in versions:
            name = each["version"]
            place = f"{self.url}/files/{quote(module)}?version={quote(name, safe='')}"
            created = each.get("createTime")
            yield Incoming(
                package,
                name,
                place,
                lambda place=place, module=module: [self._file(place, module)],  # type: ignore[misc]
                created if isinstance(created, int) else 0,
            )

    def _modules(self) -> dict[str, list[dict[str, Any]]]:
        """The versions of each module, off all pages.

        Nothing says how long a page may be, or which is the last: one on which nothing is new is.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for page in range(1, MOST_PAGES + 1):
            new = [each for each in self._page(page) if each["module"] not in found]
            if not new:
                return found
            for each in new:
                found[each["module"]] = each["versions"]
        raise Unreachable(f"{self._list} has more than {MOST_PAGES} pages. Import with --package.")

    def _page(self, number: int) -> list[dict[str, Any]]:
        query = f"repoType=GENERIC&page={number}&perPage={PAGE}&orderBy=latestUpdate&sort=desc"
        answer = outbound.request(
            "GET",
            f"{self._list}?{query}",
            headers={"x-yunxiao-token": self._token},
            most=MOST_LISTED,
        )
        _require_success(answer.status, self._list, "SLUICE_IMPORT_TOKEN")
        listed = answer.json()
        if not isinstance(listed, list) or not all(_is_artifact(each) for each in listed):
            raise Unreachable(
                f"{self._list} does not answer with a list of artifacts as it is documented. Check "
                "the address, and --api."
            )
        return listed

    # ---- The files -----------------------------------------------------------------------------
    def _file(self, place: str, module: str) -> IncomingFile:
        return IncomingFile(
            path=PurePosixPath(module).name,
            size=None,
            executable=False,
            sha256=lambda: self._sha256(place),
            open=lambda: self._open(place),
        )

    def _sha256(self, place: str) -> str | None:
        head = outbound.request("HEAD", place, auth=self._files_auth)
        _require_success(head.status, place, "SLUICE_IMPORT_USER and SLUICE_IMPORT_PASSWORD")
        said = head.headers.get(CHECKSUM, "").lower()
        return said if SHA256.match(said) else None

    @contextmanager
    def _open(self, place: str) -> Iterator[Iterator[bytes]]:
        expected = self._sha256(place)
        with outbound.open("GET", place, auth=self._files_auth) as streamed:
            _require_success(
                streamed.status, place, "SLUICE_IMPORT_USER and SLUICE_IMPORT_PASSWORD"
            )
            yield _checked(streamed.chunks(), expected, place)


def _sendable(token: str, url: str) -> str:
    """The token, where it may go there as other credentials may: unread by anybody on the way.

    It is no Authorization header, so outbound.Auth cannot see to it.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise BadRequest("The access token has a character that no header can carry.")
    parts = urlsplit(url)
    if parts.scheme != "https" and not destinations.is_opened(parts.hostname or ""):
        raise destinations.DestinationForbidden(
            f"An access token is not sent to {outbound.origin_of(url)}, where anybody on the way "
            "could read it. Use https, or have an operator allow its network with "
            "SLUICE_ALLOWED_NETWORKS."
        )
    return token


def slug_of(module: str) -> str:
    """What a module's package is called here unless somebody says: a/b/App.tgz is a-b-app.tgz."""
    return re.sub(r"[^a-z0-9._-]", "-", module.lower()).lstrip("._-")


def _checked(pieces: Iterator[bytes], expected: str | None, place: str) -> Iterator[bytes]:
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
        yield piece
    if expected not in {None, hasher.hexdigest()}:
        raise DigestMismatch(
            f"{place} gave bytes with the SHA-256 {hasher.hexdigest()}, and says that it is "
            f"{expected}. Try again; if it stays so, the file there is damaged."
        )


def _is_artifact(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("module"), str)
        and isinstance(value.get("versions"), list)
        and all(
            isinstance(each, dict) and isinstance(each.get("version"), str)
            for each in value["versions"]
        )
    )


def _require_success(status: int, place: str, credentials: str) -> None:
    if status in {401, 403}:
        raise Forbidden(f"{place} refuses the credentials (HTTP {status}). Check {credentials}.")
    if status == 404:
        raise NotFound(f"{place} is not there (HTTP 404). Check the address.")
    if status != 200:
        raise Unreachable(f"{place} answers with HTTP {status}, which is no answer to this.")
