"""Hosts as people and definitions write them, and when two of them are the same one.

A secret is sent where this module says yes, so it reads strictly what it reads: whatever two
programs might take for different hosts is refused.
"""

import re
from urllib.parse import SplitResult, urlsplit

from pipelines.errors import Invalid

NAME = re.compile(r"^[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?\Z")
USUAL_PORTS = {"http": 80, "https": 443}


def host_of(address: str) -> str:
    """The host, with its port unless that is the scheme's usual one, of a host or a URL."""
    scheme, host, port = _parts(address)
    return host if port is None or port == USUAL_PORTS.get(scheme) else f"{host}:{port}"


def is_same_host(host: str, address: str) -> bool:
    """Whether `address`, a URL or a host, is at `host`. Without a port, `host` means the usual one
    of whichever scheme is spoken to it."""
    scheme, wanted, wanted_port = _parts(address)
    _, known, known_port = _parts(host)
    usual = USUAL_PORTS.get(scheme, USUAL_PORTS["https"])
    return (known, known_port or usual) == (wanted, wanted_port or usual)


def _parts(address: str) -> tuple[str, str, int | None]:
    """Scheme (or empty), host in small letters, and port if one is written."""
    text = address.strip()
    if not text.isascii():
        raise Invalid(
            "The address has letters beyond a to z, which can be made to look like others. Write "
            "its host in the ASCII form (xn--…)."
        )
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refusal(text) from None
    if "@" in parts.netloc:
        raise Invalid("The address names a user before an “@”. The service connection names it.")
    if _is_twofold(text, parts) or port == 0 or parts.scheme not in {"", *USUAL_PORTS}:
        raise _refusal(text)
    if ":" in host:
        return parts.scheme, f"[{host}]", port
    if not NAME.match(host):
        raise _refusal(text)
    return parts.scheme, host, port


def _is_twofold(text: str, parts: SplitResult) -> bool:
    """Whether other programs may read another host out of it."""
    return "\\" in text or any(not "!" <= letter <= "~" for letter in text) or "%" in parts.netloc


def _refusal(text: str) -> Invalid:
    # What stands before an @ may be a password.
    shown = "This" if "@" in text else f"“{text[:120]}”"
    return Invalid(
        f"{shown} is no host that a secret could be sent to. Write it like git.example.com or "
        "git.example.com:8443."
    )
