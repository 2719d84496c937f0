"""As what passkeys know this site: a domain, and the address that the browser vouches for."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

NAME = "Sluice"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """`id` is the domain that a passkey is bound to, `origin` where people must have opened it."""

    id: str
    origin: str


def relying_party() -> RelyingParty | None:
    """That of SLUICE_URL; None where no browser would offer a passkey."""
    return _of(settings.SITE_URL)


def _of(url: str) -> RelyingParty | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host):
        # A passkey needs a name. The machine itself has one, so that it can be tried out there.
        host = "localhost"
    elif _is_address(host):
        return None
    if parts.scheme != "https" and host != "localhost":
        return None
    port = parts.port
    shown = f":{port}" if port and port != DEFAULT_PORTS[parts.scheme] else ""
    return RelyingParty(host, f"{parts.scheme}://{host}{shown}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
