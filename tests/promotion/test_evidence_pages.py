"""The pages of evidence: what speaks for a version and whose word it is, and the keys."""

import html
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User
from promotion import policies, promoting
from promotion.evidence import keeping, keys
from promotion.models import EvidenceKey
from tests.cast import ROLES, Site
from tests.promotion.evidencing import about, pem_of
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

KEYS = "/evidence-keys/"
KEY = Ed25519PrivateKey.generate()


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(answer: Any) -> str:
    return " ".join(html.unescape(answer.content.decode()).split())


def test_the_version_says_of_each_line_what_it_says_and_whose_word_it_is(site: Site) -> None:
    version = site.publish("1.0.0")
    keys.add_key("build", pem_of(KEY), by=site.cast.admin)
    report = "<testsuite><testcase/><testcase><failure/></testcase></testsuite>"
    made = keeping.add_document(version, report, by=site.cast.ada).evidence
    keeping.add_document(version, about(version, KEY), by=site.cast.ben)
    client = as_(site.cast.dora)
    page = text_of(client.get("/repositories/apps/app/1.0.0/"))
    assert "2 tests, 1 failed" in page
    assert "It is not signed: whoever added it says so." in page
    assert "Signed by build." in page
    raw = f"/api/v1/repositories/apps/packages/app/versions/1.0.0/evidence/{made.pk}/raw/"
    assert f'href="{raw}"' in page
    assert client.get(raw).content == report.encode()


def test_the_case_shows_what_a_policy_asks_for_and_misses(site: Site) -> None:
    version = site.publish("1.0.0")
    group, _ = Group.objects.get_or_create(name="on-call")
    site.cast.cleo.groups.add(group)
    signed = {"type": "junit", "signed_by": ["build"]}
    rules = {"evidence": [signed], "override": {"groups": ["on-call"]}}
    policies.set_policy(site.staging, rules, by=site.cast.admin)
    asked = promoting.request(site.staging, [version], by=site.cast.cleo, emergency=True)
    page = text_of(as_(site.cast.ben).get(f"/promotions/{asked.pk}/"))
    assert "junit is missing" in page
    assert "none is asked for" not in page
    assert "Evidence: junit" in page
    policies.set_policy(site.staging, {}, by=site.cast.admin)
    plain = site.request(site.staging, version)
    page = text_of(as_(site.cast.ben).get(f"/promotions/{plain.pk}/"))
    assert "No evidence was added to this version, and none is asked for here." in page


@pytest.mark.parametrize("name", ROLES)
def test_everybody_sees_whom_the_site_trusts_and_operators_alone_say_so(
    site: Site, name: str
) -> None:
    keys.add_key("build", pem_of(KEY), by=site.cast.admin)
    client = as_(site.cast.everyone()[name])
    given = {"name": "other", "public_key": pem_of(Ed25519PrivateKey.generate())}
    with nothing_changes():
        seen = client.get(KEYS)
    assert seen.status_code == (403 if name == "mallory" else 200)
    assert ("Trust this key" in text_of(seen)) is (name == "admin")
    revocation = {"reason": "It leaked.", "confirmed": "yes"}
    if name != "admin":
        with nothing_changes():
            assert client.post(KEYS, given).status_code == 403
            assert client.post(f"{KEYS}build/revoke/", revocation).status_code == 403
        return
    assert client.post(KEYS, given).status_code == 303
    assert client.post(f"{KEYS}build/revoke/", revocation).status_code == 303
    states = {each.name: each.state for each in EvidenceKey.objects.all()}
    assert states == {"build": "revoked", "other": "trusted"}
    assert "Revoked by admin: It leaked." in text_of(client.get(KEYS))


def test_a_key_is_revoked_only_with_a_reason_and_a_confirmation(site: Site) -> None:
    keys.add_key("build", pem_of(KEY), by=site.cast.admin)
    client = as_(site.cast.admin)
    with nothing_changes():
        for data in ({"reason": "It leaked."}, {"reason": " ", "confirmed": "yes"}):
            assert client.post(f"{KEYS}build/revoke/", data).status_code == 422
        refused = client.post(KEYS, {"name": "x", "public_key": "nonsense"})
        missing = client.post(f"{KEYS}none/revoke/", {"reason": "a", "confirmed": "yes"})
    assert "no public key in PEM form" in text_of(refused)
    assert (refused.status_code, missing.status_code) == (422, 404)
