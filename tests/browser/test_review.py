"""Ben reviews and approves a promotion, as people do: in a browser."""

import pytest
from playwright.sync_api import Page, expect

from promotion import promoting
from promotion.models import Approval, Promotion, PromotionState
from tests.browser.conftest import Windows
from tests.cast import Site, make_site

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]


@pytest.fixture
def site(transactional_db: None) -> Site:
    return make_site()


@pytest.fixture
def promotion(site: Site) -> Promotion:
    """1.1.0 on its way to staging, where 1.0.0 is."""
    site.promote(site.staging, site.publish("1.0.0"))
    return promoting.request(
        site.staging, [site.publish("1.1.0")], by=site.cast.ada, comment="Ready for staging."
    )


def _sign_in(page: Page, name: str) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(f"{name}'s password")
    page.get_by_role("button", name="Sign in").click()


def test_ben_signs_in_finds_what_waits_for_him_and_approves_it(
    site: Site, promotion: Promotion, windows: Windows
) -> None:
    window = windows.open()
    page = window.go("/waiting/")
    expect(page).to_have_url(f"{window.url}/login/?next=/waiting/")
    _sign_in(page, "ben")
    expect(page).to_have_url(f"{window.url}/waiting/")
    waiting = page.get_by_role("region", name="For your decision")
    waiting.get_by_role("link").first.click()

    expect(page).to_have_url(f"{window.url}/promotions/{promotion.pk}/")
    expect(page.get_by_text("Ready for staging.")).to_be_visible()
    page.get_by_label("Comment").fill("Looks right.")
    page.get_by_role("button", name="Approve", exact=True).click()

    expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    expect(page.get_by_text("Looks right.")).to_be_visible()
    approval = Approval.objects.get(promotion=promotion)
    assert (approval.by, approval.comment) == (site.cast.ben, "Looks right.")
    assert approval.plan_digest == promotion.plan_digest
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.APPROVED

    promoting.execute(promotion.pk)
    window.go(f"/promotions/{promotion.pk}/")
    expect(page.get_by_text("Placed, exactly as approved.")).to_be_visible()
    window.go("/")
    row = page.get_by_role("row").filter(has_text="app")
    expect(row.get_by_text("1.1.0").first).to_be_visible()
    window.go("/waiting/")
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()


def test_ben_decides_with_the_keyboard_alone(
    site: Site, promotion: Promotion, windows: Windows
) -> None:
    window = windows.open()
    page = window.go("/login/?next=/waiting/")
    _tab_to(page, "Username")
    page.keyboard.type("ben")
    _tab_to(page, "Password")
    page.keyboard.type("ben's password")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{window.url}/waiting/")
    _tab_to(page, "", href=f"/promotions/{promotion.pk}/")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{window.url}/promotions/{promotion.pk}/")
    _tab_to(page, "Comment")
    page.keyboard.type("By keyboard.")
    _tab_to(page, "Approve")
    page.keyboard.press("Enter")
    expect(page.get_by_text("By keyboard.")).to_be_visible()
    assert Approval.objects.get(promotion=promotion).comment == "By keyboard."


FOCUSED = """() => {
  const at = document.activeElement;
  const style = getComputedStyle(at);
  const label = at.labels && at.labels.length ? at.labels[0].textContent : at.textContent;
  return {
    name: label.trim().replace(/\\s+/g, " "),
    href: at.getAttribute("href") || "",
    seen: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0)
      || style.boxShadow !== "none",
    where: at.tagName,
  };
}"""


def _tab_to(page: Page, name: str, *, href: str = "") -> None:
    """Press Tab until the focus is where it is wanted; everywhere on the way it must be seen."""
    for _ in range(80):
        focused = page.evaluate(FOCUSED)
        if focused["where"] != "BODY" and (
            focused["href"].split("?")[0] == href if href else focused["name"].startswith(name)
        ):
            return
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        assert focused["where"] == "BODY" or focused["seen"], f"no focus ring on {focused}"
    pytest.fail(f"Tab never comes to {name or href}")


def test_ada_is_told_why_she_may_not_approve_her_own_request(
    site: Site, promotion: Promotion, windows: Windows
) -> None:
    window = windows.open()
    page = window.go(f"/login/?next=/promotions/{promotion.pk}/")
    _sign_in(page, "ada")
    expect(page).to_have_url(f"{window.url}/promotions/{promotion.pk}/")
    decision = page.get_by_role("region", name="Your decision")
    expect(decision).to_contain_text("yourself")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Reject", exact=True)).to_have_count(0)
    assert not Approval.objects.filter(promotion=promotion).exists()


def test_cleo_asks_twice_before_she_rejects(
    site: Site, promotion: Promotion, windows: Windows
) -> None:
    window = windows.open()
    window.sign_in_as(site.cast.cleo)
    page = window.go(f"/promotions/{promotion.pk}/")
    page.get_by_label("Comment").fill("Not on a Friday.")
    page.get_by_role("button", name="Reject", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Reject this promotion?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert not Approval.objects.filter(promotion=promotion).exists()

    page.get_by_role("button", name="Reject", exact=True).click()
    dialog.get_by_role("button", name="Reject", exact=True).click()
    expect(page.get_by_role("region", name="Your decision")).to_have_count(0)
    expect(page.get_by_text("Not on a Friday.").first).to_be_visible()
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.REJECTED


def test_what_changed_since_the_page_was_opened_is_told_not_approved(
    site: Site, promotion: Promotion, windows: Windows
) -> None:
    window = windows.open()
    window.sign_in_as(site.cast.ben)
    page = window.go(f"/promotions/{promotion.pk}/")
    site.promote(site.staging, site.publish("1.0.5"))
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_text("has changed").first).to_be_visible()
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.STALE
    # The refusal is an answer of its own status, which Chromium reports as a failed load.
    window.complaints = [each for each in window.complaints if "409" not in each]


def test_a_wrong_password_lets_nobody_in(site: Site, windows: Windows) -> None:
    window = windows.open()
    page = window.go("/login/")
    page.get_by_label("Username").fill("ben")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Password")).to_have_value("")
    assert "sessionid" not in {cookie.get("name") for cookie in window.context.cookies()}
