"""The pages of a policy: first what it would change and stop, then, if meant, the revision."""

import html
import re
from dataclasses import fields
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User
from promotion import policies
from promotion.gates import Rules
from promotion.gates.language import ENTRIES
from promotion.models import Environment, Promotion, PromotionState
from promotion.sweeping import sweep
from promotion.web.policy_fields import ROWS
from promotion.web.policy_forms import PolicyEditor, every_key, shown_keys
from tests.cast import ROLES, Site
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

FORM = "/environments/production/policy/"
YAML = FORM + "yaml/"
REVISIONS = FORM + "revisions/"
#: Everything that a policy can say, said.
FULL: dict[str, Any] = {
    "approvals": 3,
    "self_approval": True,
    "upstream": "staging",
    "expires_after_days": 7,
    "approvers": {"groups": ["release"], "one_from_each": ["security", "shop"]},
    "not_by": ["publisher", "run_starter"],
    "second_factor": True,
    "approvals_expire_after": "2d",
    "soak": "24h",
    "evidence": [
        {"type": "junit", "result": "passed", "signed_by": ["ci", "lab"]},
        {"type": "https://slsa.dev/provenance/v1"},
    ],
    "run": {"branches": ["main", "release/*"], "pipelines": ["app"], "no_manual_override": True},
    "versions": {"range": "^1", "pre_releases": False},
    "freezes": [
        {
            "name": "Nights", "starts": "2026-11-02T20:00", "ends": "2026-11-03T07:30",
            "time_zone": "Europe/Berlin", "repeats": "daily",
        }
    ],
    "may_request": ["shop"],
    "may_roll_back": ["release"],
    "machines": {"request": False, "approve": True, "open_requests": 5},
    "rollback": {"approvals": 1, "evidence": True, "freezes": True},
    "override": {"groups": ["release"], "reviews": 2, "review_within": "5d"},
    "custom": [
        {
            "name": "Few", "expression": "items.size() < 3 &&\n  true", "message": "Too many.",
            "waits": True,
        }
    ],
}  # fmt: skip


@pytest.fixture
def groups(db: None) -> None:
    for name in ("release", "security", "shop"):
        Group.objects.create(name=name)


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def admin(site: Site) -> Client:
    return as_(site.cast.admin)


def text_of(answer: Any) -> str:
    return " ".join(html.unescape(answer.content.decode()).split())


def sent_by(answer: Any) -> dict[str, Any]:
    """What a browser would send of the form as it stands."""
    sent: dict[str, Any] = {}
    for shown in answer.context["fieldsets"]:
        if shown.fieldset.rows:
            sent[f"{shown.fieldset.rows}-count"] = len(shown.rows)
        bound = [*shown.fields, *(field for row in shown.rows for field in row)]
        for field in bound:
            value = field.value()
            if field.widget_type == "checkbox":
                if value:
                    sent[field.html_name] = "on"
            elif field.widget_type == "lines":
                sent[field.html_name] = "\r\n".join(value or ())
            elif isinstance(value, list):
                sent[field.html_name] = value
            else:
                sent[field.html_name] = str("" if value is None else value)
    return sent


def hidden(answer: Any) -> dict[str, str]:
    """The form that saves what was tried."""
    page = answer.content.decode()
    found = re.search(
        r'<form[^>]*action="/environments/production/policy/yaml/".*?</form>', page, re.S
    )
    assert found, "there is nothing to save"
    inputs = re.findall(r'<input type="hidden"\s+name="(\w+)"\s+value="([^"]*)"', found[0], re.S)
    return {name: html.unescape(value) for name, value in inputs}


def current() -> Rules:
    return policies.rules_of(policies.current_policy(Environment.objects.get(name="production")))


# ---- The form ----------------------------------------------------------------------------------
def test_every_key_of_the_language_has_a_field() -> None:
    assert set(shown_keys()) == every_key()
    rows = {key: {each.name for each in fields(kind)} for key, kind in ENTRIES.items()}
    assert {key: set(made()) for key, made in ROWS.items()} == rows


def test_a_full_policy_comes_back_from_the_form_as_it_was(
    site: Site, admin: Client, groups: None
) -> None:
    policies.set_policy(site.production, FULL, by=site.cast.admin)
    shown = admin.get(FORM)
    with nothing_changes():
        tried = admin.post(FORM, sent_by(shown) | {"act": "try"})
    assert tried.status_code == 200, text_of(tried)
    assert "Nothing: it says what revision 2 says." in text_of(tried)
    editor = PolicyEditor.of_rules("production", current())
    assert policies.check_rules(editor.plain, "production") == current()


def test_a_policy_is_tried_then_saved(site: Site, admin: Client) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    version = site.publish("1.1.0")
    site.promote(site.staging, version)
    done = site.promote(site.production, version)
    sent = sent_by(admin.get(FORM)) | {"approvals": "2", "act": "try"}
    with nothing_changes():
        tried = admin.post(FORM, sent)
    text = text_of(tried)
    assert f"promotion {done.pk}" in text
    assert "1 of 2 approvals (by ben)." in text
    assert "It protects less" not in text
    saved = admin.post(YAML, hidden(tried))
    assert saved.status_code == 303
    assert current().approvals == 2


def test_rows_come_and_go_without_scripts(site: Site, admin: Client, groups: None) -> None:
    policies.set_policy(site.production, FULL, by=site.cast.admin)
    sent = sent_by(admin.get(FORM))
    with nothing_changes():
        less = sent_by(admin.post(FORM, sent | {"act": "remove-evidence-0"}))
        more = sent_by(admin.post(FORM, less | {"act": "add-freezes"}))
    assert (less["evidence-count"], less["evidence-0-type"]) == (
        1, "https://slsa.dev/provenance/v1",
    )  # fmt: skip
    assert (more["freezes-count"], more["freezes-0-name"]) == (2, "Nights")
    assert (more["freezes-1-name"], more["freezes-1-time_zone"]) == ("", "UTC")


@pytest.mark.parametrize(
    "act", ["remove-evidence-7", "remove-evidence-x", "add-nothing", "remove-freezes--1", "x", ""]
)
def test_a_button_that_there_is_not_changes_nothing(
    act: str, site: Site, admin: Client, groups: None
) -> None:
    policies.set_policy(site.production, FULL, by=site.cast.admin)
    sent = sent_by(admin.get(FORM))
    with nothing_changes():
        answer = admin.post(FORM, sent | {"act": act})
    assert sent_by(answer) == sent


def test_what_is_wrong_is_told_beside_its_field(site: Site, admin: Client, groups: None) -> None:
    policies.set_policy(site.production, FULL, by=site.cast.admin)
    sent = sent_by(admin.get(FORM)) | {
        "act": "try",
        "approvals": "many",
        "soak": "1 day",
        "freezes-0-ends": "2026-11-01T00:00",
        "custom-0-expression": "items.all(",
        "versions_range": "vers:npm/>=2|<1|>3",
    }
    with nothing_changes():
        answer = admin.post(FORM, sent)
    assert answer.status_code == 422
    told = {
        field.html_name: list(field.errors)
        for shown in answer.context["fieldsets"]
        for field in [*shown.fields, *(field for row in shown.rows for field in row)]
        if field.errors
    }
    assert set(told) == {"approvals", "soak"}
    assert told["approvals"] == ["Give a whole number from 0 to 20."]
    # What can only be said of what could be read.
    sent |= {"approvals": "3", "soak": "24h"}
    for name in ("freezes-0-ends", "custom-0-expression", "versions_range"):
        answer = admin.post(FORM, sent)
        shown = [
            field.html_name
            for each in answer.context["fieldsets"]
            for field in [*each.fields, *(field for row in each.rows for field in row)]
            if field.errors
        ]
        assert name in shown, text_of(answer)
        sent[name] = {"freezes-0-ends": "2026-11-03T00:00", "custom-0-expression": "true"}.get(
            name, ""
        )


def test_a_group_that_is_gone_is_shown_and_told(site: Site, admin: Client, groups: None) -> None:
    policies.set_policy(site.production, {"may_request": ["shop"]}, by=site.cast.admin)
    Group.objects.filter(name="shop").delete()
    shown = admin.get(FORM)
    assert "shop (no longer there)" in text_of(shown)
    answer = admin.post(FORM, sent_by(shown) | {"act": "try"})
    assert answer.status_code == 422
    assert "There is no group “shop”. Operators make groups in the admin." in text_of(answer)


# ---- Lowering, and what came in between --------------------------------------------------------
def test_asking_for_less_is_asked_about(site: Site, admin: Client) -> None:
    tried = admin.post(YAML, {"yaml": "approvals: 0\nupstream: staging\n", "act": "try"})
    assert "A promotion needs no approval, not 1." in text_of(tried)
    with nothing_changes():
        refused = admin.post(YAML, hidden(tried))
    assert refused.status_code == 422
    assert "Confirm it first" in text_of(refused)
    assert admin.post(YAML, hidden(tried) | {"confirmed": "yes"}).status_code == 303
    assert current().approvals == 0


def test_a_revision_that_came_in_between_is_not_overwritten(site: Site, admin: Client) -> None:
    tried = admin.post(YAML, {"yaml": "approvals: 2\n", "act": "try"})
    policies.set_policy(site.production, {"approvals": 3}, by=site.cast.admin)
    with nothing_changes():
        answer = admin.post(YAML, hidden(tried) | {"confirmed": "yes"})
    assert answer.status_code == 412
    assert "production is at policy 2 now, not 1." in text_of(answer)
    # It can be looked at again, against the revision that came.
    assert "A promotion needs 2 approvals, not 3." in text_of(answer)
    assert hidden(answer)["expected"] == "2"


@pytest.mark.parametrize("expected", ["", "x", "١", "9" * 30])
def test_nothing_is_saved_that_was_not_seen(expected: str, site: Site, admin: Client) -> None:
    with nothing_changes():
        answer = admin.post(YAML, {"yaml": "approvals: 2\n", "act": "save", "expected": expected})
    assert answer.status_code == 422


def test_open_requests_are_counted_and_go_stale(site: Site, admin: Client) -> None:
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    waiting = site.request(site.production, version)
    tried = admin.post(YAML, {"yaml": "approvals: 2\nupstream: staging\n", "act": "try"})
    assert "1 open request would go stale" in text_of(tried)
    admin.post(YAML, hidden(tried))
    sweep()
    assert Promotion.objects.get(pk=waiting.pk).state == PromotionState.STALE


# ---- YAML --------------------------------------------------------------------------------------
@pytest.mark.parametrize("address", [YAML, FORM + "check/"])
def test_what_is_wrong_with_the_text_is_told_in_its_lines(
    address: str, site: Site, admin: Client
) -> None:
    with nothing_changes():
        answer = admin.post(address, {"yaml": "approvals: 1\r\nsoak: 24h\r\nx: 1\r\n"})
    text = text_of(answer)
    assert "Line 3, column 1" in text
    assert "A policy has no “x”." in text
    assert answer.status_code == (422 if address == YAML else 200)


def test_hostile_text_is_shown_as_text(site: Site, admin: Client) -> None:
    evil = "</textarea><script>alert(1)</script>: 1\n"
    answer = admin.post(YAML, {"yaml": evil})
    assert answer.status_code == 422
    assert "<script>alert" not in answer.content.decode()


def test_a_text_in_the_form_of_its_revision_changes_nothing(site: Site, admin: Client) -> None:
    shown = admin.get(YAML)
    tried = admin.post(YAML, {"yaml": shown.context["text"], "act": "try"})
    assert "Nothing: it says what revision 1 says." in text_of(tried)


# ---- Who may, and revisions --------------------------------------------------------------------
@pytest.mark.parametrize("name", ROLES)
def test_operators_set_policies_and_everybody_reads_their_revisions(site: Site, name: str) -> None:
    client = as_(site.cast.everyone()[name])
    with nothing_changes():
        for address in (FORM, YAML):
            assert client.get(address).status_code == (200 if name == "admin" else 403)
        if name != "admin":
            sent = {"yaml": "approvals: 0\n", "act": "save", "expected": "1", "confirmed": "yes"}
            for address in (FORM, YAML, FORM + "check/"):
                assert client.post(address, sent).status_code == 403
        for address in (REVISIONS, REVISIONS + "1/", REVISIONS + "1/download/"):
            assert client.get(address).status_code == (403 if name == "mallory" else 200)


def test_a_revision_says_what_it_changed_and_can_be_downloaded(
    site: Site, admin: Client, groups: None
) -> None:
    revision = policies.set_policy(site.production, FULL, by=site.cast.admin)
    page = text_of(admin.get(REVISIONS + "2/"))
    assert "What it changed" in page
    assert "At least one must come from each of security, shop." in page
    answer = admin.get(REVISIONS + "2/download/")
    assert answer["Content-Disposition"] == 'attachment; filename="production-policy-2.yaml"'
    assert policies.read_text(answer.content.decode(), "production") == policies.rules_of(revision)
    assert "Revision 1" in text_of(admin.get(REVISIONS))
    assert admin.get(REVISIONS + "3/").status_code == 404
    assert admin.get("/environments/nowhere/policy/revisions/").status_code == 404
