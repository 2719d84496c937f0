"""A stand-in for a Generic repository of Alibaba Cloud DevOps Packages. It is not the real thing.

Nothing of that service can be had for tests, so this small server speaks what its public help pages
describe of it: the list of artifacts with a personal access token, the bytes of a file with basic
authentication, and the checksum of a file in the head of the answer. What those pages leave open is
answered here as docs/decisions/0017-importing.md assumes it; a test against it proves that Sluice
does what was documented, not that the service does.
"""

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.parts.web import Asked, Handler, Served, answer, serve

ORGANIZATION = "5ebbc0228123212b59xxxxxx"
REPOSITORY = "flow_generic_repo"
USER, PASSWORD, TOKEN = "63f4reader", "the packages password", "pt-reader_0001"
PROTOCOL = f"/api/protocol/{ORGANIZATION}/generic/{REPOSITORY}"
LIST = f"/oapi/v1/packages/organizations/{ORGANIZATION}/repositories/{REPOSITORY}/artifacts"


@dataclass
class Packages:
    """What the stand-in holds: by the path of a file and by version, its bytes."""

    served: Served
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    created: dict[tuple[str, str], int] = field(default_factory=dict)
    #: At most so many artifacts come on one page, whatever is asked for.
    longest_page: int = 3
    #: Files whose bytes are not those that the checksum is of.
    damaged: set[str] = field(default_factory=set)
    #: Whether files are no longer to be had, though the list is.
    is_failing: bool = False

    @property
    def url(self) -> str:
        return f"{self.served.url}{PROTOCOL}"

    def add(self, path: str, version: str, content: bytes) -> None:
        self.files.setdefault(path, {})[version] = content
        self.created[path, version] = 1_700_000_000_000 + len(self.created)

    def asked_for(self, method: str) -> list[str]:
        """The files that were asked for by `method`, with their versions."""
        return [
            unquote(each.path.removeprefix(f"{PROTOCOL}/files/"))
            for each in self.served.asked
            if each.method == method and each.path.startswith(f"{PROTOCOL}/files/")
        ]

    def respond(self, handler: Handler, asked: Asked) -> None:
        parts = urlsplit(asked.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if asked.method == "GET" and parts.path == LIST:
            self._list(handler, asked, query)
        elif parts.path.startswith(f"{PROTOCOL}/files/"):
            path = unquote(parts.path.removeprefix(f"{PROTOCOL}/files/"))
            self._file(handler, asked, path, query.get("version", ""))
        else:
            answer(handler, 404)

    def _list(self, handler: Handler, asked: Asked, query: dict[str, str]) -> None:
        if asked.headers.get("x-yunxiao-token") != TOKEN:
            answer(handler, 401)
            return
        size = min(int(query.get("perPage", "10")), self.longest_page)
        start = (int(query["page"]) - 1) * size
        modules = list(self.files)[start : start + size] if query["repoType"] == "GENERIC" else []
        listed: list[dict[str, Any]] = [
            {
                "downloadCount": 0,
                "id": number,
                "latestUpdate": max(self.created[module, name] for name in self.files[module]),
                "module": module,
                "organization": "",
                "repositoryId": REPOSITORY,
                "versions": [
                    {
                        "createTime": self.created[module, name],
                        "creator": "somebody",
                        "modifier": "somebody",
                        "updateTime": self.created[module, name],
                        "version": name,
                    }
                    # The newest first, as people see them.
                    for name in reversed(self.files[module])
                ],
            }
            for number, module in enumerate(modules, start + 1)
        ]
        answer(handler, 200, json.dumps(listed).encode(), content_type="application/json")

    def _file(self, handler: Handler, asked: Asked, path: str, version: str) -> None:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {pair}":
            answer(handler, 401)
            return
        if self.is_failing:
            answer(handler, 503)
            return
        content = self.files.get(path, {}).get(version)
        if content is None:
            answer(handler, 404)
            return
        checksum = {"x_artlab_checksum_sha256": hashlib.sha256(content).hexdigest()}
        if path in self.damaged:
            content = content[:-1] + b"!"
        answer(handler, 200, content, content_type="application/octet-stream", **checksum)


@contextlib.contextmanager
def packages() -> Iterator[Packages]:
    held: list[Packages] = []

    def respond(handler: Handler, asked: Asked) -> None:
        held[0].respond(handler, asked)

    with serve(respond) as served:
        held.append(Packages(served))
        yield held[0]
