"""Encrypt what must be kept but never shown. Fernet, with keys that can be changed.

The first key of CONNECTION_KEYS encrypts; every one of them decrypts. To change the key put a new
one in front, run `manage.py rotate_connection_keys`, and then take the old one away.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from pipelines.errors import Unavailable

#: How to encrypt anew what other apps have sealed, and what one and several of it are called.
others: list[tuple[Callable[[], int], str, str]] = []


class Unsealable(Unavailable):
    """What was encrypted cannot be read with any key that this process has."""

    code = "unsealable"
    title = "A secret cannot be read"


def seal(secrets: Mapping[str, str]) -> str:
    return _keys().encrypt(json.dumps(dict(secrets), sort_keys=True).encode()).decode()


def unseal(sealed: str) -> dict[str, str]:
    """The secrets again; Unsealable when the key that they were sealed with is not at hand."""
    try:
        opened: dict[str, str] = json.loads(_keys().decrypt(sealed.encode()))
    except InvalidToken as error:
        raise Unsealable(
            "A secret cannot be decrypted: this process has not the key that it was sealed with. "
            "Give every host the same SLUICE_CONNECTION_KEYS, old keys after the new one."
        ) from error
    return opened


def reseal(sealed: str) -> str:
    """The same secrets under the first key."""
    return seal(unseal(sealed))


def reseal_all(rows: QuerySet[Any]) -> int:
    """Seal each row's `sealed` anew with the first key, one by one; how many there were.

    Raises Unsealable once all others are done, naming those that no key can read.
    """
    count, unreadable = 0, []
    for pk in list(rows.values_list("pk", flat=True)):
        with transaction.atomic():
            row = rows.model.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                continue
            try:
                row.sealed = reseal(row.sealed)
            except Unsealable:
                unreadable.append(str(row))
                continue
            row.save(update_fields=["sealed"])
            count += 1
    if unreadable:
        raise Unsealable(
            f"{count} could be encrypted anew, but no key reads: {', '.join(unreadable)}. Put the "
            "key that they were sealed with behind the new one, or replace their secrets."
        )
    return count


def _keys() -> MultiFernet:
    if not settings.CONNECTION_KEYS:
        raise Unsealable(
            "This site has no key to encrypt secrets with. An operator makes one with "
            "`openssl rand -base64 32 | tr +/ -_` and gives it to every host as "
            "SLUICE_CONNECTION_KEYS."
        )
    return MultiFernet([Fernet(key) for key in settings.CONNECTION_KEYS])
