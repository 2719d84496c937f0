"""`manage.py verify` on sites on which little has happened."""

import pytest
from django.utils import timezone

from promotion.ledger.verify import CHECKS
from promotion.models import Repository
from tests.cast import Site
from tests.promotion.verifying import broken, verify

ROWS = list(CHECKS)[1]


@pytest.mark.django_db
def test_an_empty_site_holds() -> None:
    assert broken("--scrub") == {}


def test_many_findings_are_shortened_in_text_and_whole_in_json(site: Site) -> None:
    Repository.objects.bulk_create(
        Repository(name=f"r{number}", created_by=site.cast.ada, created_at=timezone.now())
        for number in range(25)
    )
    status, text = verify()
    assert status == 1
    assert "… and 5 more (--json shows all)" in text
    assert len(broken()[ROWS]) == 25
