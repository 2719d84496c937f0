"""Whether a delivery was sent by somebody who has the hook's secret.

GitHub signs the body. GitLab, Codeup and Gitee send the secret itself; Gitee may sign the time
instead. Comparisons take the same time however much of a guess is right.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import quote_plus

from pipelines.pushes.push import Headers

#: How far Gitee's clock and ours may be apart, after its documentation.
STALE_SECONDS: Final = 3600


def server_of(headers: Headers) -> str | None:
    """Who sends such headers: github, gitlab, gitee, codeup, or nobody known."""
    for server, header in (
        ("github", "x-github-event"),
        ("gitlab", "x-gitlab-event"),
        ("gitee", "x-gitee-event"),
        ("codeup", "x-codeup-event"),
        ("codeup", "codeup-event"),
    ):
        if header in headers:
            return server
    return None


def is_genuine(headers: Headers, body: bytes, secret: str, *, now: float) -> bool:
    """`now` is in seconds since 1970."""
    match server_of(headers):
        case "github":
            signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            return _same(headers.get("x-hub-signature-256", ""), f"sha256={signature}")
        case "gitlab":
            return _same(headers.get("x-gitlab-token", ""), secret)
        case "codeup":
            return _same(headers.get("x-codeup-token", ""), secret)
        case "gitee":
            return _is_gitee(headers, secret, now)
        case _:
            return False


def _is_gitee(headers: Headers, secret: str, now: float) -> bool:
    sent, stamp = headers.get("x-gitee-token", ""), headers.get("x-gitee-timestamp", "")
    if _same(sent, secret):
        return True
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 15:
        return False
    if abs(now - int(stamp) / 1000) > STALE_SECONDS:
        return False
    mac = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256)
    signature = base64.b64encode(mac.digest()).decode()
    # Its documentation encodes the signature for an address, its headers come without.
    return _same(sent, signature) or _same(sent, quote_plus(signature))


def _same(sent: str, wanted: str) -> bool:
    return hmac.compare_digest(sent.encode("utf-8", "replace"), wanted.encode())
