"""Trains: several versions in one promotion, all of them placed or none."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from pipelines.errors import Invalid
from promotion import diffs, environments, plans, promoting, publishing, recalling, trains
from promotion.errors import Recalled
from promotion.models import Placement, Promotion, PromotionState, Repository, Version
from tests.api.caller import Api, token_for
from tests.cast import Site, make_artifact
from tests.parts import registry
from tests.pipelines.stored import Folder
from tests.promotion.targeted import (
    Elsewhere,
    elsewhere,
    give_bucket,
    give_registry,
    login_of,
    publish_image,
    reachable,
)
from tests.sealed import unsealed
from tests.world import nothing_changes, refused

P = PromotionState
NEW = "/promotions/new/"


@pytest.fixture
def tools(site: Site) -> Repository:
    return publishing.create_repository("tools", by=site.cast.ada)


@pytest.fixture
def ada(site: Site, client: Client) -> Client:
    client.force_login(site.cast.ada)
    return client


def publish_tool(site: Site, tools: Repository, name: str, package: str = "cli") -> Version:
    artifact = make_artifact(site.cast.ada, site.pipeline)
    return publishing.publish(tools, package, name, artifact, by=site.cast.ada).version


def text(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return " ".join(answer.content.decode().split())


# ---- All or none -------------------------------------------------------------------------------
def test_versions_of_several_repositories_are_placed_together(
    site: Site, tools: Repository
) -> None:
    app, cli = site.publish("1.0.0"), publish_tool(site, tools, "2.0.0")
    promotion = site.promote(site.staging, cli, app)
    assert promotion.state == P.COMPLETED, promotion.reason
    placed = Placement.objects.current().select_related("version")
    assert {each.version for each in placed} == {app, cli}
    assert len({(each.promotion_id, each.since) for each in placed}) == 1
    found = diffs.diff(plans.replan(promotion))
    assert [each.version.package.repository.name for each in found] == ["apps", "tools"]


def test_a_train_with_a_recalled_version_is_refused_as_a_whole_and_names_it(
    site: Site, tools: Repository
) -> None:
    app, cli = site.publish("1.0.0"), publish_tool(site, tools, "2.0.0")
    recalling.recall(cli, by=site.cast.cleo, reason="It loses data.")
    error = refused(Recalled, lambda: site.request(site.staging, app, cli))
    assert "tools/cli 2.0.0 was recalled: It loses data." in error.detail


def test_one_that_is_recalled_after_the_approval_stops_all_of_them(
    site: Site, tools: Repository
) -> None:
    app, cli = site.publish("1.0.0"), publish_tool(site, tools, "2.0.0")
    promotion = site.request(site.staging, app, cli)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    recalling.recall(cli, by=site.cast.cleo, reason="It loses data.")
    promoting.execute(promotion.pk)
    promotion.refresh_from_db()
    assert promotion.state == P.FAILED
    assert "tools/cli 2.0.0" in promotion.reason
    assert not Placement.objects.exists()


def test_where_the_second_cannot_be_read_back_the_first_stays_as_it_was(
    site: Site, tools: Repository
) -> None:
    app, later = site.publish("1.0.0"), site.publish("1.1.0")
    cli = publish_tool(site, tools, "2.0.0")
    site.promote(site.staging, app)
    Folder().lose(cli.files.get().blob)
    promotion = site.promote(site.staging, later, cli)
    assert promotion.state == P.FAILED
    assert "tools/cli 2.0.0: the stored bytes of “app.txt” are missing" in promotion.reason
    assert [(each.version, each.until) for each in Placement.objects.select_related("version")] == [
        (app, None)
    ]


def test_a_clock_that_went_back_does_not_part_a_train(site: Site, tools: Repository) -> None:
    old = [site.publish("1.0.0"), publish_tool(site, tools, "2.0.0")]
    site.promote(site.staging, *old)
    ahead = timezone.now() + timedelta(hours=1)
    with unsealed():
        Placement.objects.filter(version=old[1]).update(since=ahead)
    new = [site.publish("1.1.0"), publish_tool(site, tools, "2.1.0")]
    assert site.promote(site.staging, *new).state == P.COMPLETED
    assert {each.since for each in Placement.objects.current()} == {ahead}
    assert {each.until for each in Placement.objects.filter(version__in=old)} == {ahead}


# ---- Two packages in an environment with a registry and a bucket -------------------------------
@pytest.fixture(scope="module")
def there() -> Iterator[Elsewhere]:
    with elsewhere() as made:
        yield made


def test_files_and_an_image_are_carried_and_then_placed_together(
    site: Site, there: Elsewhere
) -> None:
    with reachable():
        bucket = give_bucket(site, site.staging, there)
        environments.set_target(
            site.staging,
            by=site.cast.admin,
            registry=f"{there.guarded}/live",
            registry_connection=login_of(site, there.guarded),
            storage_connection=bucket.connection,
            storage_prefix="live",
        )
        app, web = site.publish("1.0.0"), publish_image(site, there, "1.0.0", b"train")
        promotion = site.promote(site.staging, app, web)
    assert promotion.state == P.COMPLETED, promotion.reason
    assert bucket.objects()
    placed = {each.version: each for each in Placement.objects.select_related("version")}
    assert placed.keys() == {app, web}
    assert placed[web].image.startswith(f"{there.guarded}/live/images/web@sha256:")
    assert placed[app].storage


def test_where_the_second_is_refused_by_the_registry_the_first_is_not_placed(
    site: Site, there: Elsewhere
) -> None:
    with reachable():
        give_registry(site, site.staging, there)
        app, web = site.publish("7.0.0"), publish_image(site, there, "7.0.0", b"mine")
        # Somebody else has pushed another image under the version's name there.
        registry.push_image(
            there.guarded, "live/images/web", "7.0.0", content=b"theirs", password=True
        )
        promotion = site.promote(site.staging, app, web)
    assert promotion.state == P.FAILED
    assert "7.0.0" in promotion.reason
    assert not Placement.objects.exists()


# ---- Limits ------------------------------------------------------------------------------------
def test_a_train_has_an_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MOST_ITEMS", 2)
    versions = [site.publish("1.0.0", package=f"p{number}") for number in range(3)]
    assert len(plans.plan(site.staging, versions[:2]).items) == 2
    error = refused(Invalid, lambda: site.request(site.staging, *versions))
    assert "at most 2 versions, and 3 are named" in error.detail


def test_the_api_says_where_a_plan_is_too_long(site: Site) -> None:
    ada = Api(token_for(site.cast.ada))
    item = {"repository": "apps", "package": "app", "version": "1.0.0"}
    body = {"environment": "staging", "items": [item] * 101}
    for path in ("promotions/plan/", "promotions/"):
        document = ada.refused("POST", path, body, status=422, code="invalid")
        assert [each["path"] for each in document["problems"]] == ["items"]


def test_the_api_finds_all_items_with_one_question_and_names_the_missing(site: Site) -> None:
    ada = Api(token_for(site.cast.ada))
    site.publish("1.0.0", package="a")
    items = [
        {"repository": "apps", "package": package, "version": "1.0.0"} for package in ("a", "b")
    ]
    body = {"environment": "staging", "items": items}
    document = ada.refused("POST", "promotions/plan/", body, status=404, code="not_found")
    assert "apps/b 1.0.0" in document["detail"]


# ---- What another environment has --------------------------------------------------------------
def test_all_that_is_upstream_and_not_here_is_one_train(site: Site, tools: Repository) -> None:
    app, cli = site.publish("1.0.0"), publish_tool(site, tools, "2.0.0")
    site.promote(site.staging, app, cli)
    site.promote(site.production, cli)
    found = trains.missing(site.production, site.staging)
    assert (found.versions, found.left_out) == ((app,), ())
    site.promote(site.production, app)
    assert trains.missing(site.production, site.staging).versions == ()


def test_what_is_recalled_or_older_than_what_is_here_is_left_out_and_named(
    site: Site, tools: Repository
) -> None:
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    cli = publish_tool(site, tools, "2.0.0")
    site.promote(site.staging, new, cli)
    site.promote(site.production, new)
    site.promote(site.staging, old)
    recalling.recall(cli, by=site.cast.cleo, reason="It loses data.")
    found = trains.missing(site.production, site.staging)
    assert found.versions == ()
    assert found.left_out == (
        "apps/app 1.0.0: production has 1.1.0, which is newer.",
        "tools/cli 2.0.0 was recalled: It loses data.",
    )


def test_a_preset_has_an_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trains, "MOST_ITEMS", 1)
    versions = [site.publish("1.0.0", package=f"p{number}") for number in range(2)]
    site.promote(site.staging, *versions)
    found = trains.missing(site.production, site.staging)
    assert found.versions == (versions[0],)
    assert found.left_out == ("apps/p1 1.0.0: a promotion places at most 1 versions.",)


# ---- Pages -------------------------------------------------------------------------------------
def test_a_train_is_put_together_in_the_address(site: Site, tools: Repository, ada: Client) -> None:
    app, cli = site.publish("1.0.0"), publish_tool(site, tools, "2.0.0")
    both = f"{NEW}?environment=staging&version={app.pk}&version={cli.pk}"
    with nothing_changes():
        page = text(ada, both)
    assert "All 2 are decided on and placed together. If one of them cannot be placed" in page
    assert "All 2 together, or none of them" in page
    assert f'href="?environment=staging&amp;version={cli.pk}"' in page
    assert f'href="?environment=staging&amp;version={app.pk}"' in page
    # While one looks at one repository, what was chosen of the other stays.
    narrowed = text(ada, f"{both}&repository=tools")
    assert f'<input type="hidden" name="version" value="{app.pk}">' in narrowed
    assert f'href="?environment=staging&amp;repository=tools&amp;version={cli.pk}"' in narrowed
    digest = plans.plan(site.staging, [app, cli]).digest
    body = {"environment": "staging", "version": [app.pk, cli.pk], "plan_digest": digest}
    assert ada.post(NEW, body).status_code == 303
    promotion = Promotion.objects.get()
    assert {each.version for each in promotion.items.all()} == {app, cli}
    assert "All 2 together, or none of them" in text(ada, f"/promotions/{promotion.pk}/")


def test_packages_are_found_by_name(site: Site, ada: Client) -> None:
    kept = site.publish("1.0.0", package="web")
    site.publish("1.0.0", package="api")
    page = text(ada, f"{NEW}?environment=staging&q=AP&version={kept.pk}")
    assert "Version of api to place" in page
    assert "Version of web to place" not in page
    assert f'name="version" value="{kept.pk}"' in page
    assert "No package like that has a version." in text(ada, f"{NEW}?q=nothing")


def test_environment_and_board_offer_what_is_upstream(site: Site, ada: Client) -> None:
    app = site.publish("1.0.0")
    preset = f"{NEW}?environment=production&amp;from=staging"
    assert preset not in text(ada, "/")
    site.promote(site.staging, app)
    assert preset in text(ada, "/")
    assert preset in text(ada, "/environments/production/")
    assert "from=" not in text(ada, "/environments/staging/")
    assert preset.partition("?")[2] in text(ada, f"{NEW}?environment=production")
    page = text(ada, preset.replace("&amp;", "&"))
    assert f'<input type="hidden" name="version" value="{app.pk}">' in page
    assert "Request this plan" in page
    site.promote(site.production, app)
    assert preset not in text(ada, "/")
    assert "Nothing is missing" in text(ada, preset.replace("&amp;", "&"))


def test_the_page_names_what_it_left_out(site: Site, ada: Client) -> None:
    app = site.publish("1.0.0")
    site.promote(site.staging, app)
    recalling.recall(app, by=site.cast.cleo, reason="It loses data.")
    page = text(ada, f"{NEW}?environment=production&from=staging")
    assert "Left out of what staging has" in page
    assert "apps/app 1.0.0 was recalled: It loses data." in page


def test_an_environment_that_is_not_there_has_nothing_to_take_from(site: Site, ada: Client) -> None:
    assert "There is no environment “moon”." in text(
        ada, f"{NEW}?environment=production&from=moon", status=404
    )


def test_a_train_that_is_too_long_says_so_on_its_page(
    site: Site, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "MOST_ITEMS", 1)
    versions = [site.publish("1.0.0", package=f"p{number}") for number in range(2)]
    query = "&".join(f"version={version.pk}" for version in versions)
    page = text(ada, f"{NEW}?environment=staging&{query}")
    assert "There is no such plan" in page
    assert "at most 1 versions, and 2 are named" in page


def test_whoever_may_not_request_is_offered_no_train(site: Site, client: Client) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    client.force_login(site.cast.dora)
    assert "from=staging" not in text(client, "/")
    assert "from=staging" not in text(client, "/environments/production/")
