"""A policy in a real Chromium: rows come and go in place, places are marked, saving asks first."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from promotion import policies
from promotion.models import Environment
from tests.browser.conftest import Windows
from tests.cast import Site, make_site

pytestmark = pytest.mark.whole


@pytest.fixture
def shop(transactional_db: None) -> Site:
    return make_site()


def page_of(windows: Windows, site: Site, name: str, **options: object) -> Page:
    window = windows.open(viewport={"width": 1280, "height": 900}, **options)
    window.sign_in_as(site.cast.admin)
    return window.go(reverse(f"promotion:{name}", args=["production"]))


def rules() -> dict[str, object]:
    found = Environment.objects.select_related("policy").get(name="production")
    return policies.rules_of(policies.current_policy(found)).as_json()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_freeze_is_added_tried_and_saved(scripts: bool, shop: Site, windows: Windows) -> None:
    page = page_of(windows, shop, "policy", java_script_enabled=scripts)
    page.locator("#id_approvals").fill("2")
    for number in (1, 2):
        page.get_by_role("button", name="Add a window").click()
        expect(page.get_by_role("group", name=f"Window {number}")).to_be_visible()
    page.get_by_role("button", name="Remove window 1").click()
    expect(page.get_by_role("group", name="Window 2")).to_have_count(0)
    # What was typed elsewhere is still there.
    expect(page.locator("#id_approvals")).to_have_value("2")
    window = page.get_by_role("group", name="Window 1")
    window.get_by_label("Name").fill("Fair")
    window.get_by_label("Begins").fill("2026-12-20T18:00")
    window.get_by_label("Ends").fill("2026-12-21T06:00")
    page.get_by_role("button", name="See what changes").last.click()
    expect(page.get_by_role("heading", name="What changes")).to_be_visible()
    expect(page.get_by_text("Nothing has been promoted to production yet.")).to_be_visible()
    page.get_by_role("button", name="Save as a new revision").click()
    expect(page.get_by_text("Policy revision 2 holds from now on.")).to_be_visible()
    assert rules() == {
        "approvals": 2,
        "self_approval": False,
        "upstream": "staging",
        "expires_after_days": 14,
        "freezes": [{"name": "Fair", "starts": "2026-12-20T18:00", "ends": "2026-12-21T06:00"}],
    }


def test_lowering_asks_before_it_saves(shop: Site, windows: Windows) -> None:
    page = page_of(windows, shop, "policy")
    page.locator("#id_approvals").fill("0")
    page.keyboard.press("Enter")
    expect(page.get_by_text("It protects less than now")).to_be_visible()
    page.get_by_role("button", name="Save as a new revision").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("A promotion needs no approval, not 1.")
    assert rules()["approvals"] == 1
    dialog.get_by_role("button", name="Set the policy").click()
    expect(page.get_by_text("Policy revision 2 holds from now on.")).to_be_visible()
    assert rules()["approvals"] == 0


def test_a_fault_is_marked_in_its_line_while_one_types(shop: Site, windows: Windows) -> None:
    page = page_of(windows, shop, "policy_yaml")
    text, summary = page.locator("#id_yaml"), page.locator("#check-summary")
    mark = page.locator("[data-editor-gutter] > li:nth-child(3)")
    expect(summary).to_have_text("No problems")
    text.fill("approvals: 2\n\nsoak: 24h\n")
    expect(summary).to_have_text("1 error")
    expect(mark).to_have_class("is-error tone-danger")
    place = page.locator("#check").get_by_role("link", name="Line 3, column 1")
    place.click()
    expect(text).to_be_focused()
    assert text.evaluate("text => text.selectionStart") == len("approvals: 2\n\n")
    text.fill("approvals: 2\nupstream: staging\nsoak: 24h\n")
    expect(summary).to_have_text("No problems")
    page.get_by_role("button", name="See what changes").click()
    expect(page.get_by_role("heading", name="What changes")).to_be_visible()
    page.get_by_role("button", name="Save as a new revision").click()
    expect(page.get_by_text("Policy revision 2 holds from now on.")).to_be_visible()
    assert rules()["soak"] == "24h"
