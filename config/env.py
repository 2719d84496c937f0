"""Typed readers of environment variables that fail loudly.

A setting that cannot be understood stops the process with the variable's name and what would be
right, because a service that starts with half its settings is worse than one that does not.
"""

import base64
import ipaddress
import os
import re
import secrets
from email.utils import parseaddr
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


def text(name: str, default: str) -> str:
    return os.environ.get(name, "").strip() or default


def flag(name: str, *, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in TRUE | FALSE:
        return value in TRUE
    raise ImproperlyConfigured(f"{name}={value!r} is not a yes or a no. Set it to 1 or 0.")


def integer(name: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if value.isascii() and value.isdigit() and least <= int(value[:20]) <= most:
        return int(value)
    raise ImproperlyConfigured(f"{name}={value!r} is not a whole number from {least} to {most}.")


def items(name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """A comma-separated list; empty parts are dropped."""
    value = os.environ.get(name, "")
    return tuple(part.strip() for part in value.split(",") if part.strip()) or default


def mapping(name: str) -> dict[str, str]:
    """A comma-separated list of KEY=VALUE."""
    pairs = {}
    for item in items(name, ()):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ImproperlyConfigured(f"{name}: {item!r} is not like 17=/usr/lib/jvm/java-17.")
        pairs[key.strip()] = value.strip()
    return pairs


def span(name: str, default: tuple[int, int]) -> tuple[int, int]:
    """A first and a last number, like 60100-60899."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    first, _, last = value.partition("-")
    if first.isascii() and first.isdigit() and last.isascii() and last.isdigit():
        found = int(first[:12]), int(last[:12])
        if 0 < found[0] <= found[1]:
            return found
    raise ImproperlyConfigured(f"{name}={value!r} is not a span of numbers like 60100-60899.")


def choice(name: str, default: str, known: tuple[str, ...]) -> str:
    """One of `known`, in whatever case it is written."""
    value = text(name, default).upper()
    if value not in known:
        raise ImproperlyConfigured(f"{name}={value!r} is none of: {', '.join(known)}.")
    return value


def address(name: str, default: str) -> str:
    """A http or https address without a slash at its end."""
    value = text(name, default).rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ImproperlyConfigured(f"{name}={value!r} must be like https://sluice.example.com.")
    return value


def mailbox(name: str, default: str) -> str:
    """An e-mail address, also with a name before it: Sluice <sluice@example.com>."""
    value = text(name, default)
    plain = parseaddr(value)[1]
    if not re.fullmatch(r"[^\s@<>,;]+@[^\s@<>,;]+", plain) or not value.isprintable():
        raise ImproperlyConfigured(f"{name}={value!r} is not like Sluice <sluice@example.com>.")
    return value


def prefix(name: str) -> str:
    """The beginning of a path like /blobs/; empty when it is not set."""
    value = text(name, "")
    if value and not re.fullmatch(r"/(?:[A-Za-z0-9._-]+/)+", value):
        raise ImproperlyConfigured(f"{name}={value!r} is not a path like /blobs/.")
    return value


def networks(name: str) -> tuple[Network, ...]:
    """A comma-separated list of networks like 10.1.0.0/16."""
    try:
        return tuple(ipaddress.ip_network(each) for each in items(name, ()))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}. Write it like 10.1.0.0/16.") from error


def path(name: str, default: Path) -> Path:
    return Path(text(name, str(default))).expanduser().resolve()


def secret(name: str) -> str | None:
    """A secret from `NAME`, or from the file named by `NAME_FILE`; None when neither is set."""
    if value := os.environ.get(name):
        return value
    if file := os.environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE={file!r} cannot be read: {error}.") from error
    return None


def fernet_keys(name: str) -> tuple[str, ...]:
    """Fernet keys, comma-separated, each 32 bytes in URL-safe base64; empty when none is set."""
    keys = tuple(part.strip() for part in (secret(name) or "").split(",") if part.strip())
    for position, key in enumerate(keys, 1):
        try:
            whole = len(base64.urlsafe_b64decode(key)) == 32
        except ValueError:
            whole = False
        if not whole:
            # The key itself stays out of the message.
            raise ImproperlyConfigured(
                f"Key {position} of {name} is not 32 bytes in URL-safe base64. "
                "Make one with `openssl rand -base64 32 | tr +/ -_`."
            )
    return keys


def kept_fernet_key(file: Path) -> str:
    """The Fernet key in `file`, made on first use. Only the embedded mode uses it."""
    return _kept(file, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())


def kept_secret(file: Path) -> str:
    """The secret in `file`, made on first use and readable by this user alone.

    Only the embedded mode uses it: whoever runs several hosts must hand the same secret to each.
    """
    return _kept(file, secrets.token_urlsafe(50))


def _kept(file: Path, value: str) -> str:
    """What `file` holds, which is `value` if nobody has written it yet."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text(encoding="utf-8")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(value)
    return value
