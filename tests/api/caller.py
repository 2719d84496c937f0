"""The API as one person uses it. Every answer is held against the published schema."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpResponseBase
from django.test import Client
from django.utils import timezone

from accounts import tokens
from accounts.models import Token, User
from tests.api.contract import hold_against_schema
from tests.world import nothing_changes

V1 = "/api/v1/"
PROBLEM = "application/problem+json"
NAMED_FIELDS = {"type", "title", "status", "detail", "code"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def text(self) -> str:
        return self.content.decode()


class Api:
    """Calls below /api/v1/ with one token, or with none."""

    def __init__(self, token: str | None = None, *, client: Client | None = None) -> None:
        self.token = token
        self.client = client or Client()

    def call(
        self,
        method: str,
        path: str,
        data: Any = b"",
        *,
        content_type: str = "application/json",
        arrives: bytes | None = None,
        **headers: Any,
    ) -> Answer:
        """Send raw bytes, or a JSON body where `data` is anything else. Headers: If_Match=…

        `arrives`: what is read of the body when the connection breaks before its end.
        """
        sent = {"Content-Type": content_type} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        url = path if path.startswith("/") else V1 + path
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        short: Any = {} if arrives is None else {"wsgi.input": io.BytesIO(arrives)}
        response: Any = self.client.generic(method, url, body, content_type, headers=sent, **short)
        content = b"".join(response.streaming_content) if response.streaming else response.content
        hold_against_schema(method, url, response)
        _hold_together(response, content)
        return Answer(response.status_code, response.headers, content)

    def get(self, path: str, *, expect: int = 200, **headers: Any) -> Answer:
        return _expected(self.call("GET", path, **headers), expect)

    def post(self, path: str, data: Any = b"", *, expect: int = 201, **headers: Any) -> Answer:
        return _expected(self.call("POST", path, data, **headers), expect)

    def put(self, path: str, data: Any = b"", *, expect: int = 200, **headers: Any) -> Answer:
        return _expected(self.call("PUT", path, data, **headers), expect)

    def refused(
        self,
        method: str,
        path: str,
        data: Any = b"",
        *,
        status: int,
        code: str,
        content_type: str = "application/json",
        arrives: bytes | None = None,
        **headers: Any,
    ) -> dict[str, Any]:
        """The problem document of a call that is refused and leaves everything as it was."""
        with nothing_changes():
            answer = self.call(
                method, path, data, content_type=content_type, arrives=arrives, **headers
            )
        return problem(answer, status, code)


def problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The answer as a problem document, checked to be one, of this status and code."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM), answer.content
    document: dict[str, Any] = answer.json
    assert document.keys() >= NAMED_FIELDS
    assert document["status"] == status
    assert document["code"] == code, document
    assert document["type"].endswith(code)
    assert document["title"]
    assert document["detail"]
    return document


def paths_at_fault(document: Mapping[str, Any]) -> set[str]:
    """The paths of a 422's located problems, each checked to be complete."""
    for each in document["problems"]:
        assert {"line", "column", "path", "code", "severity", "message"} <= each.keys()
        assert each["message"]
    return {each["path"] for each in document["problems"]}


def token_for(user: User, *, lifetime: timedelta | None = None) -> str:
    """A token whose last use need not be written down, so that using it changes nothing."""
    token, secret = tokens.issue(user, name="test", lifetime=lifetime)
    Token.objects.filter(pk=token.pk).update(last_used_at=timezone.now() + timedelta(days=1))
    return secret


def _expected(answer: Answer, status: int) -> Answer:
    assert answer.status == status, answer.content
    return answer


def _hold_together(response: HttpResponseBase, content: bytes) -> None:
    """What holds for every answer, whatever it says."""
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == PROBLEM, content
        assert json.loads(content or b"{}").get("status", response.status_code) == (
            response.status_code
        )
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith(("Bearer", "Signature"))
