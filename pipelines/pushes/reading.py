"""From a delivery to what happened. Each server has its own words for it."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs

from pipelines.pushes import gitee, github, gitlab
from pipelines.pushes.payload import Unreadable
from pipelines.pushes.push import Headers, Nothing, Push
from pipelines.pushes.signatures import server_of


def read(headers: Headers, body: bytes) -> Push | Nothing:
    """What happened, or why no run comes of it. Of a delivery that `is_genuine`."""
    server = server_of(headers)
    try:
        content = _content(headers, body)
        digest = hashlib.sha256(body).hexdigest()
        if server == "github":
            return github.read(headers, content, digest)
        if server == "gitee":
            return gitee.read(headers, content)
        return gitlab.read(headers, content, digest)
    except Unreadable as missing:
        return Nothing(str(missing))


def _content(headers: Headers, body: bytes) -> dict[str, Any]:
    try:
        words = body.decode("utf-8")
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            # What GitHub sends as long as nobody chooses JSON.
            words = parse_qs(words).get("payload", [""])[0]
        content = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise Unreadable("The body is not JSON.") from error
    if not isinstance(content, dict):
        raise Unreadable("The body is not a JSON object.")
    return content
