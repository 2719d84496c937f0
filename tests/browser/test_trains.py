"""Ada puts a train together, in a browser."""

import os

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from promotion import publishing
from promotion.evidence import keeping
from promotion.models import Promotion
from tests.browser.conftest import Windows
from tests.cast import Site, make_artifact, make_site

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]


@pytest.fixture
def site(transactional_db: None) -> Site:
    """Two packages of two repositories are newer in staging than in production."""
    site = make_site()
    tools = publishing.create_repository("tools", by=site.cast.ada)
    for name in ("1.0.0", "1.1.0"):
        app = site.publish(name, files={"bin/app": name.encode(), f"{name}.txt": b"x"})
        artifact = make_artifact(site.cast.ada, site.pipeline)
        cli = publishing.publish(tools, "cli", name, artifact, by=site.cast.ada).version
        keeping.add_evidence(
            cli, by=site.cast.ada, predicate_type="test", result=f"passed {name}", payload={}
        )
        site.promote(site.staging, app, cli)
        if name == "1.0.0":
            site.promote(site.production, app, cli)
    return site


def shuts_nobody_out(page: Page) -> None:
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 375)])
def test_all_of_staging_is_taken_one_taken_out_and_the_rest_requested(
    site: Site, windows: Windows, scripts: bool, theme: str, width: int
) -> None:
    window = windows.open(
        java_script_enabled=scripts,
        color_scheme=theme,
        viewport={"width": width, "height": 900},
    )
    window.sign_in_as(site.cast.ada)
    page = window.go("/")
    page.get_by_role("link", name="take all of staging").click()
    listed = page.get_by_role("region", name="In this promotion")
    expect(listed.get_by_role("listitem")).to_have_count(2)
    differs = page.get_by_role("region", name="What would differ")
    expect(differs).to_contain_text("All 2 together, or none of them")
    differs.get_by_text("app 1.1.0").click()
    expect(differs.get_by_text("bin/app")).to_be_visible()
    if folder := os.environ.get("SLUICE_PICTURES"):
        page.screenshot(path=f"{folder}/train-{theme}.png", full_page=True)
    if scripts:
        shuts_nobody_out(page)
        page.evaluate("window.sameDocument = true")
    page.get_by_role("link", name="Take cli 1.1.0 out").click()
    expect(listed.get_by_role("listitem")).to_have_count(1)
    if scripts:
        assert page.evaluate("window.sameDocument"), "htmx takes it out without a new page"
    page.get_by_label("Version of cli to place").select_option("1.1.0")
    page.get_by_role("button", name="Show the plan").click()
    expect(listed.get_by_role("listitem")).to_have_count(2)
    page.get_by_label("Comment").fill("Both.")
    page.get_by_role("button", name="Request promotion").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Promote 2 packages to production")
    promotion = Promotion.objects.get(state="requested")
    assert {str(item.version) for item in promotion.items.all()} == {
        "apps/app 1.1.0",
        "tools/cli 1.1.0",
    }
    if scripts:
        shuts_nobody_out(page)
    if folder := os.environ.get("SLUICE_PICTURES"):
        page.screenshot(path=f"{folder}/review-{theme}.png", full_page=True)
