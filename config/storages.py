"""Where the bytes lie, as one address: a folder of this machine, or a bucket."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from config import env

FOLDER = "pipelines.storage.DurableFileSystemStorage"
BUCKET = re.compile(r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]\Z")
PREFIX = re.compile(r"^[A-Za-z0-9!_.*'()/-]*\Z")
OPTIONS = ("endpoint", "region", "addressing")
ADDRESSING = ("auto", "path", "virtual")
FORMS = (
    "file:///srv/sluice/blobs or "
    "s3://bucket/prefix?endpoint=https://s3.example.com&region=eu-1&addressing=path"
)


def storage(name: str, keys: str, default: Path | None) -> dict[str, Any] | None:
    """The storage that the variable `name` describes, as STORAGES takes it; None without any.

    A bucket's keys are in `keys`_ACCESS_KEY and `keys`_SECRET_KEY. Without them boto looks where it
    always does: its own variables, a profile, the machine's role.
    """
    url = os.environ.get(name, "").strip()
    if not url:
        return _folder(default) if default else None
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        # The address itself is not shown: it has a secret in it.
        raise ImproperlyConfigured(
            f"{name} has a user or a key in it. Put keys into {keys}_ACCESS_KEY and "
            f"{keys}_SECRET_KEY."
        )
    if parts.fragment or parts.scheme not in {"file", "s3"}:
        raise ImproperlyConfigured(f"{name}={url!r} must be like {FORMS}.")
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
        if parts.netloc or parts.query or not path.is_absolute() or path == Path("/"):
            raise ImproperlyConfigured(f"{name}={url!r} must be like file:///srv/sluice/blobs.")
        return _folder(path)
    return _bucket(name, url, keys)


def folder_of(described: dict[str, Any], otherwise: Path) -> Path:
    """The folder of a storage on this machine; `otherwise` for a bucket."""
    is_folder = described["BACKEND"] == FOLDER
    return Path(described["OPTIONS"]["location"]) if is_folder else otherwise


def _folder(path: Path) -> dict[str, Any]:
    return {
        "BACKEND": FOLDER,
        "OPTIONS": {"location": str(path)},
    }


def _bucket(name: str, url: str, keys: str) -> dict[str, Any]:
    parts = urlsplit(url)
    prefix = unquote(parts.path).strip("/")
    if not BUCKET.match(parts.netloc):
        raise ImproperlyConfigured(f"{name}={url!r}: {parts.netloc!r} is no bucket's name.")
    if not PREFIX.match(prefix) or {"", ".", ".."} & set(prefix.split("/") if prefix else ()):
        raise ImproperlyConfigured(
            f"{name}={url!r}: {prefix!r} is no prefix to keep objects under."
        )
    try:
        given = parse_qs(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}={url!r} must be like {FORMS}.") from error
    for option, values in given.items():
        if option not in OPTIONS or len(values) != 1 or not values[0]:
            raise ImproperlyConfigured(
                f"{name}={url!r}: “{option}” is unknown, empty or there twice. A bucket has: "
                f"{', '.join(OPTIONS)}."
            )
    options = {option: values[0] for option, values in given.items()}
    endpoint = options.get("endpoint")
    if endpoint and not re.match(r"^https?://[A-Za-z0-9.\[\]:_-]+/?\Z", endpoint):
        raise ImproperlyConfigured(
            f"{name}={url!r}: the endpoint must be like https://s3.example.com."
        )
    if options.get("addressing", "auto") not in ADDRESSING:
        raise ImproperlyConfigured(
            f"{name}={url!r}: addressing is one of: {', '.join(ADDRESSING)}."
        )
    access, secret = env.secret(f"{keys}_ACCESS_KEY"), env.secret(f"{keys}_SECRET_KEY")
    if bool(access) != bool(secret):
        raise ImproperlyConfigured(
            f"Only one of {keys}_ACCESS_KEY and {keys}_SECRET_KEY is set. A bucket takes both, or "
            "neither where the machine has a role."
        )
    return {
        "BACKEND": "pipelines.s3.DurableS3Storage",
        "OPTIONS": {
            "bucket_name": parts.netloc,
            "location": prefix,
            "endpoint_url": endpoint.rstrip("/") if endpoint else None,
            "region_name": options.get("region") or ("us-east-1" if endpoint else None),
            "addressing_style": options.get("addressing", "auto"),
            "access_key": access,
            "secret_key": secret,
            "security_token": None,
        },
    }
