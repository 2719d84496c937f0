"""A full site, made once for all tests of a module."""

from collections.abc import Iterator

import pytest
from django.db import transaction
from pytest_django import DjangoDbBlocker

from tests.cast import Site, make_site
from tests.promotion.full import fill


@pytest.fixture(scope="module")
def full_site(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Site]:
    """Lives in a transaction that is open for the whole module; each test works inside of it."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield fill(make_site())
        transaction.set_rollback(True)


@pytest.fixture
def full(full_site: Site, db: None) -> Site:
    """Everything has happened once. What a test does to it, the next one does not see."""
    return full_site
