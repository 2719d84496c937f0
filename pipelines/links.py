"""Signed download links: they carry their own permission for one path and expire."""

from urllib.parse import urlencode

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner

_signer = TimestampSigner(salt="sluice.download")


def absolute(path: str) -> str:
    return f"{settings.SITE_URL}{path}"


def signed(path: str) -> str:
    """An absolute link to `path` that plain curl can fetch until LINK_LIFETIME has passed."""
    signature = _signer.sign(path)[len(path) + 1 :]
    return absolute(f"{path}?{urlencode({'signature': signature})}")


def is_signed(path: str, signature: str) -> bool:
    """Whether `signature` was made for `path` and has not expired."""
    try:
        _signer.unsign(f"{path}:{signature}", max_age=settings.LINK_LIFETIME)
    except BadSignature:
        return False
    return True
