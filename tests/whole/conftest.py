"""Databases of their own for whole installations."""

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings


@pytest.fixture
def fresh_database() -> Iterator[str]:
    """A database of its own on the server that the suite runs on."""
    url = settings.DATABASE_URL
    name = f"sluice_whole_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        parts = urlsplit(url)
        yield f"{parts.scheme}://{parts.netloc}/{name}?{parts.query}"
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
