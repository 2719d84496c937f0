"""The pages of retention and of the storage: first what would go, then, if meant, the rules."""

import html
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from pipelines import collecting
from promotion import retention
from promotion.keeping import Rules
from promotion.models import Repository
from tests.cast import ROLES, Site
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

RULES = {"newest": "1", "younger_days": "", "used_days": "", "placed_days": "0"}
SAVE = {**RULES, "act": "save", "confirmed": "yes"}
ADDRESS = "/repositories/apps/-/retention/"


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(answer: Any) -> str:
    return " ".join(html.unescape(answer.content.decode()).split())


@pytest.mark.parametrize("name", ROLES)
def test_managers_and_operators_try_rules_out_and_operators_alone_set_them(
    site: Site, name: str
) -> None:
    for number in ("1.0.0", "2.0.0"):
        site.publish(number)
    client = as_(site.cast.everyone()[name])
    with nothing_changes():
        seen = client.get(ADDRESS)
        tried = client.post(ADDRESS, {**RULES, "act": "try"})
    assert seen.status_code == (403 if name == "mallory" else 200)
    if name not in {"ben", "cleo", "admin"}:
        assert tried.status_code == 403
    else:
        text = text_of(tried)
        assert "<strong>1</strong> version would be pruned, 1 kept." in text
        assert "no rule keeps it: 1 version newer" in text
        assert "Of app 1.0.0 would go, and nothing newer was ever placed" in text
        assert ("Set these rules" in text) is (name == "admin")
    if name == "admin":
        assert client.post(ADDRESS, SAVE).status_code == 303
        assert retention.rules_of(Repository.objects.get()) == Rules(newest=1, placed_days=0)
    else:
        with nothing_changes():
            assert client.post(ADDRESS, SAVE).status_code == 403


def test_rules_are_not_set_unless_somebody_was_asked(site: Site) -> None:
    client = as_(site.cast.admin)
    with nothing_changes():
        answer = client.post(ADDRESS, {**RULES, "act": "save"})
    assert answer.status_code == 422
    assert "Confirm it first" in text_of(answer)


def test_a_field_that_makes_no_sense_is_told_beside_it(site: Site) -> None:
    client = as_(site.cast.admin)
    with nothing_changes():
        answer = client.post(ADDRESS, {**SAVE, "newest": "0"})
    assert answer.status_code == 422
    assert "greater than or equal to 1" in text_of(answer)


def test_keeping_everything_again_needs_no_confirmation(site: Site) -> None:
    retention.set_rules(site.repository, Rules(newest=1), by=site.cast.admin)
    sent = {"newest": "", "placed_days": "30", "act": "save"}
    assert as_(site.cast.admin).post(ADDRESS, sent).status_code == 303
    assert Repository.objects.get().retention is None


def test_a_pruned_version_is_shown_as_what_it_is(site: Site) -> None:
    for number in ("1.0.0", "2.0.0"):
        site.publish(number)
    retention.set_rules(site.repository, Rules(newest=1), by=site.cast.admin)
    assert retention.retain() == 1
    client = as_(site.cast.ada)
    version = reverse("promotion:version", args=["apps", "app", "1.0.0"])
    text = text_of(client.get(version))
    assert "Its bytes are no longer kept" in text
    assert "no rule keeps it: 1 version newer" in text
    assert "Download" not in text.replace("<dt>Download</dt>", "")
    assert "See the plan" not in text
    assert "bytes removed" in text_of(
        client.get(reverse("promotion:package", args=["apps", "app"]))
    )
    history = text_of(client.get(reverse("promotion:history")))
    assert "set the retention of" in history
    assert "pruned" in history


@pytest.mark.parametrize("name", ROLES)
def test_the_storage_page_is_for_those_who_look_after_it(site: Site, name: str) -> None:
    site.publish("1.0.0")
    collecting.collect()
    client = as_(site.cast.everyone()[name])
    answer = client.get(reverse("promotion:storage"))
    may = name in {"ben", "cleo", "admin"}
    assert answer.status_code == (200 if may else 403)
    if may:
        assert "The last collection removed" in text_of(answer)
    if name != "mallory":
        assert ("/storage/" in text_of(client.get(reverse("promotion:board")))) is may
