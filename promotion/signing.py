"""The key with which Sluice signs what it answers, and how a signature is checked."""

import base64
import os
from functools import cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@cache
def signing_key() -> Ed25519PrivateKey:
    """The site's Ed25519 key: SLUICE_SIGNING_KEY, or else one made and kept in the data folder."""
    pem = settings.SIGNING_KEY_PEM
    data = pem.encode() if pem else _kept_key(Path(settings.DATA_DIR) / "signing.key")
    key = load_pem_private_key(data, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ImproperlyConfigured("SLUICE_SIGNING_KEY must be an Ed25519 key in PEM form.")
    return key


def _kept_key(file: Path) -> bytes:
    made = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_bytes()
    with os.fdopen(handle, "wb") as stream:
        stream.write(made)
    return made


def sign(data: bytes) -> str:
    """The Ed25519 signature of `data`, base64."""
    return base64.b64encode(signing_key().sign(data)).decode()


def verifies(data: bytes, signature: str) -> bool:
    try:
        signing_key().public_key().verify(base64.b64decode(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key_pem() -> str:
    """What others check signatures with."""
    public = signing_key().public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
