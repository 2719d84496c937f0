"""Ben adds a passkey and approves with it: in Chromium, with the security key that it simulates."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings
from playwright.sync_api import CDPSession, Page, expect

from accounts.models import Passkey
from promotion import assertions, policies
from promotion.models import Approval, Promotion, PromotionState
from tests.browser.conftest import Window, Windows
from tests.cast import Site, make_site
from tests.promotion.verifying import broken

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]


@pytest.fixture
def site(transactional_db: None, live_server: Any) -> Iterator[Site]:
    """Known by the address that it is served at, with a staging that asks for passkeys."""
    made = make_site()
    policies.set_policy(made.staging, {"second_factor": True}, by=made.cast.admin)
    made.staging.refresh_from_db()
    with override_settings(SITE_URL=live_server.url):
        yield made


@pytest.fixture
def promotion(site: Site) -> Promotion:
    return site.request(site.staging, site.publish("1.0.0"))


def _plug_in(window: Window) -> tuple[CDPSession, str]:
    """A security key that knows its owner by a PIN, and always says yes."""
    session = window.context.new_cdp_session(window.page)
    session.send("WebAuthn.enable")
    made = session.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "usb",
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )
    return session, made["authenticatorId"]


def _add(page: Page, password: str) -> None:
    page.get_by_label("Name").first.fill("Yellow key")
    page.get_by_label("Your password").last.fill(password)
    page.get_by_role("button", name="Add passkey").click()


def test_ben_adds_a_passkey_and_approves_with_it(
    site: Site, promotion: Promotion, windows: Windows
) -> None:
    window = windows.open()
    window.sign_in_as(site.cast.ben)
    _plug_in(window)
    page = window.go(f"/promotions/{promotion.pk}/")
    decision = page.get_by_role("region", name="Your decision")
    expect(decision).to_contain_text("You have none yet")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    decision.get_by_role("link", name="Your account").click()

    _add(page, "ben's password")
    expect(page.get_by_text("can sign your approvals")).to_be_visible()
    assert Passkey.objects.get(user=site.cast.ben).transports == ["usb"]

    window.go(f"/promotions/{promotion.pk}/")
    page.get_by_label("Comment").fill("Looks right.")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_text("Approved with a passkey")).to_be_visible()
    approval = Approval.objects.get(promotion=promotion)
    assert (approval.by, approval.comment) == (site.cast.ben, "Looks right.")
    kept = assertions.Assertion.read(approval.second_factor or {})
    assert (kept.rp_id, kept.origin) == ("localhost", window.url)
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.APPROVED
    assert broken() == {}

    window.go("/account/")
    page.get_by_text("Remove Yellow key").click()
    page.get_by_label("Your password").first.fill("ben's password")
    page.get_by_role("button", name="Remove passkey").click()
    expect(page.get_by_text("It signs nothing any more").first).to_be_visible()
    assert not Passkey.objects.usable_by(site.cast.ben).exists()


def test_what_the_browser_or_sluice_refuses_is_said_beside_the_form(
    site: Site, promotion: Promotion, windows: Windows
) -> None:
    window = windows.open()
    window.sign_in_as(site.cast.cleo)
    session, device = _plug_in(window)
    page = window.go("/account/")
    _add(page, "ben's password")
    expect(page.get_by_role("alert")).to_contain_text("That is not your password")
    _add(page, "cleo's password")
    expect(page.get_by_text("can sign your approvals")).to_be_visible()

    window.go(f"/promotions/{promotion.pk}/")
    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("no answer from a passkey")
    assert not Approval.objects.exists()

    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_text("Approved with a passkey")).to_be_visible()
    window.complaints = [each for each in window.complaints if "403" not in each]


def test_without_scripts_the_page_says_that_a_passkey_is_needed(
    site: Site, promotion: Promotion, windows: Windows
) -> None:
    first = windows.open()
    first.sign_in_as(site.cast.ben)
    _plug_in(first)
    _add(first.go("/account/"), "ben's password")
    expect(first.page.get_by_text("can sign your approvals")).to_be_visible()
    window = windows.open(java_script_enabled=False)
    window.sign_in_as(site.cast.ben)
    page = window.go(f"/promotions/{promotion.pk}/")
    decision = page.get_by_role("region", name="Your decision")
    expect(decision.get_by_text("in a browser with scripts")).to_be_visible()
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_hidden()
