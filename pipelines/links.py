"""Signed download links: they carry their own permission for one path and expire."""

import re
import time
from urllib.parse import unquote, urlencode

from django.conf import settings
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner, b62_encode

from pipelines.errors import LinkExpired, LinkNotGenuine


class _Signer(TimestampSigner):
    """Signs for a whole stretch of time at once: within it an answer that has links is the same
    again, and so is its entity tag."""

    def timestamp(self) -> str:
        step = max(1, int(settings.LINK_LIFETIME.total_seconds()) // STEPS)
        return b62_encode(int(time.time()) // step * step)


#: A link lasts for its lifetime, less at most one part in so many.
STEPS = 24
_signer = _Signer(salt="sluice.download")
#: A time and a signature. A colon more would be one of the path: that of a/b:c is none of a/b.
SIGNATURE = re.compile(r"^[^:]+:[^:]+\Z")


def absolute(path: str) -> str:
    return f"{settings.SITE_URL}{path}"


def signed(path: str) -> str:
    """An absolute link to `path` that plain curl can fetch until LINK_LIFETIME has passed."""
    # What is signed is the path as a request has it, without escapes.
    plain = unquote(path)
    signature = _signer.sign(plain)[len(plain) + 1 :]
    return absolute(f"{path}?{urlencode({'signature': signature})}")


def require_signed(path: str, signature: str) -> None:
    """Refuse unless `signature` was made for `path` and has not expired."""
    try:
        if not SIGNATURE.match(signature):
            raise BadSignature("It is not of the form in which links are signed.")
        _signer.unsign(f"{path}:{signature}", max_age=settings.LINK_LIFETIME)
    except SignatureExpired as error:
        hours = settings.LINK_LIFETIME.total_seconds() / 3600
        raise LinkExpired(
            f"The link was good for {hours:g} hours (SLUICE_LINK_HOURS). Ask for the artifact or "
            "the version again, whose downloadUrl is a new link, or send a token."
        ) from error
    except BadSignature as error:
        raise LinkNotGenuine(
            "The link's signature does not belong to this address: it was cut short, changed, or "
            "is that of another file. Use the whole link as it was given, in quotes in a shell, "
            "or send a token."
        ) from error
