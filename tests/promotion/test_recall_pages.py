"""Recalls on the pages: whoever used a bad version sees it, with what to use instead."""

import html
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from promotion import recalling
from promotion.models import Affected, Placement, Version
from tests.cast import Site
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

VERSION = "/repositories/apps/app/1.0.0/"


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(answer: Any) -> str:
    return " ".join(html.unescape(answer.content.decode()).split())


@pytest.fixture
def bad(site: Site) -> Version:
    """It is in staging, dora has downloaded it, and 1.0.1 is to take its place."""
    bad, good = site.publish("1.0.0"), site.publish("1.0.1")
    site.promote(site.staging, bad)
    recalling.note_download(bad, by=site.cast.dora.pk)
    return recalling.recall(bad, by=site.cast.ben, reason="It loses data.", replacement=good)


def acknowledging(name: str) -> str:
    return f"{VERSION}affected/{Affected.objects.get(owner__username=name).pk}/acknowledge/"


def test_the_versions_page_lists_whom_it_concerns_and_how_many_know(
    site: Site, bad: Version
) -> None:
    text = text_of(as_(site.cast.ben).get(VERSION))
    assert "Whom the recall concerns" in text
    assert "0 of 2" in text
    assert "had it placed in" in text
    assert "downloaded it" in text
    assert all(acknowledging(name) in text for name in ("ada", "dora"))
    assert acknowledging("ada") not in text_of(as_(site.cast.dora).get(VERSION))
    recalling.acknowledge(Affected.objects.get(owner=site.cast.ada), by=site.cast.ben, note="Told.")
    text = text_of(as_(site.cast.ben).get(VERSION))
    assert "1 of 2" in text
    assert "Told." in text
    assert acknowledging("ada") not in text


def test_a_person_finds_what_they_used_and_acknowledges_it(site: Site, bad: Version) -> None:
    dora = as_(site.cast.dora)
    text = text_of(dora.get("/waiting/"))
    assert "Recalled versions you used" in text
    assert "It loses data." in text
    assert "/repositories/apps/app/1.0.1/" in text
    answer = dora.post(acknowledging("dora"), {"note": "I threw it away."})
    assert (answer.status_code, answer["Location"]) == (303, f"{VERSION}#affected")
    assert Affected.objects.get(owner=site.cast.dora).note == "I threw it away."
    assert "Recalled versions you used" not in text_of(dora.get("/waiting/"))


def test_somebody_elses_notice_and_one_of_another_version_are_refused(
    site: Site, bad: Version
) -> None:
    dora, address = as_(site.cast.dora), acknowledging("ada")
    with nothing_changes():
        assert dora.post(address).status_code == 403
        assert dora.get(address).status_code == 405
        assert dora.post(address.replace("1.0.0", "1.0.1")).status_code == 404


def test_an_environment_that_still_has_it_says_so_and_leads_to_the_replacement(
    site: Site, bad: Version
) -> None:
    good = Version.objects.get(name="1.0.1")
    address = f"/promotions/new/?environment=staging&version={good.pk}"
    text = text_of(as_(site.cast.ada).get("/environments/staging/"))
    assert "staging has app 1.0.0, which was recalled" in text
    assert address in text
    assert as_(site.cast.ada).get(address).status_code == 200
    assert address not in text_of(as_(site.cast.dora).get("/environments/staging/"))
    board = text_of(as_(site.cast.dora).get("/"))
    assert "Recalled" in board
    assert "/repositories/apps/app/1.0.1/" in board
    assert "1.0.1</a> instead" in text_of(as_(site.cast.dora).get("/repositories/apps/app/"))
    site.promote(site.staging, good)
    assert "which was recalled" not in text_of(as_(site.cast.ada).get("/environments/staging/"))


def test_an_environment_is_shown_as_it_was_known(site: Site) -> None:
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    placed = Placement.objects.get()
    before = (placed.recorded_at - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    after = (timezone.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    ada = as_(site.cast.ada)
    known = text_of(ada.get("/environments/staging/", {"as_of": after, "known_at": after}))
    assert "as known at" in known
    assert "Nothing was here then" not in known
    unknown = text_of(ada.get("/environments/staging/", {"as_of": after, "known_at": before}))
    assert "Nothing was here then" in unknown
    assert ada.get("/environments/staging/", {"known_at": "soon"}).status_code == 422
