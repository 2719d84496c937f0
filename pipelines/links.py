"""Signed download links: they carry their own permission for one path, say to whom they were given,
and expire."""

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
#: For links that say whose they are: the owner's number comes before the path, which begins with /.
_owned_signer = _Signer(salt="sluice.download.owned")
#: Perhaps an owner, a time and a signature. A colon more would be one of the path: that of a/b:c is
#: none of a/b.
SIGNATURE = re.compile(r"^(?:(?P<owner>[0-9]{1,18})@)?(?P<rest>[^:@]+:[^:@]+)\Z")


def absolute(path: str) -> str:
    return f"{settings.SITE_URL}{path}"


def signed(path: str, *, owner: int | None = None) -> str:
    """An absolute link to `path` that plain curl can fetch until LINK_LIFETIME has passed. What is
    fetched with it counts as fetched by the user `owner`, to whom it is given."""
    # What is signed is the path as a request has it, without escapes.
    plain = unquote(path)
    if owner is None:
        signature = _signer.sign(plain)[len(plain) + 1 :]
    else:
        whole = f"{owner}{plain}"
        signature = f"{owner}@{_owned_signer.sign(whole)[len(whole) + 1 :]}"
    return absolute(f"{path}?{urlencode({'signature': signature})}")


def require_signed(path: str, signature: str) -> int | None:
    """Refuse unless `signature` was made for `path` and has not expired; to whom the link was
    given, if it says so."""
    try:
        match = SIGNATURE.match(signature)
        if match is None:
            raise BadSignature("It is not of the form in which links are signed.")
        owner, rest = match["owner"], match["rest"]
        if owner is None:
            _signer.unsign(f"{path}:{rest}", max_age=settings.LINK_LIFETIME)
        else:
            _owned_signer.unsign(f"{owner}{path}:{rest}", max_age=settings.LINK_LIFETIME)
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
    return None if owner is None else int(owner)
