"""Where an environment's bytes live: who says it, what can be said, and what it changes."""

import json
from typing import Any

import pytest
from django.test import Client

from pipelines import connections
from pipelines.errors import Forbidden, Invalid, WrongState
from pipelines.models import ServiceConnection
from promotion import environments, plans, promoting, publishing, sweeping, targets
from promotion.errors import PlanChanged
from promotion.ledger.verify import Verification
from promotion.models import LedgerEntry, PromotionState
from tests.cast import Site
from tests.pipelines.connected import connect
from tests.promotion.targeted import bucket_of, lent, login_of
from tests.world import nothing_changes, refused

HOST = "registry.example.com:5000"


@pytest.fixture
def login(site: Site) -> ServiceConnection:
    return login_of(site, HOST)


@pytest.fixture
def bucket(site: Site) -> ServiceConnection:
    return bucket_of(site, "s3.example.com", "live")


def broken_promises() -> list[str]:
    return [each for result in Verification().run() for each in result.findings]


def test_what_an_environment_names_is_kept_and_told(
    site: Site, login: ServiceConnection, bucket: ServiceConnection
) -> None:
    environments.set_target(
        site.production,
        by=site.cast.admin,
        registry=f" https://{HOST.upper()}/live/ ",
        registry_connection=login,
        storage_connection=bucket,
        storage_prefix="/a/b/",
    )
    said = {
        "registry": f"{HOST}/live",
        "registry_connection": "login",
        "storage": "s3://live/a/b",
        "storage_host": "s3.example.com",
        "storage_connection": "bucket",
    }
    assert targets.of(site.production).as_json() == said
    assert site.production.bound_by == site.cast.admin
    entry = LedgerEntry.objects.latest("sequence")
    body = json.loads(bytes(entry.body))
    assert (entry.type, body["actor"]) == ("environment.target_set", "admin")
    assert body["data"] == {"environment": "production", "target": said}
    assert broken_promises() == []


def test_a_target_can_be_taken_back(site: Site, bucket: ServiceConnection) -> None:
    environments.set_target(site.staging, by=site.cast.admin, storage_connection=bucket)
    environments.set_target(site.staging, by=site.cast.admin)
    assert targets.of(site.staging).as_json() == {}
    assert site.staging.bound_by is None
    assert broken_promises() == []
    connections.remove(bucket, by=site.cast.ada)


def test_nobody_drops_a_connection_that_they_cannot_choose(
    site: Site, bucket: ServiceConnection
) -> None:
    environments.set_target(site.staging, by=site.cast.admin, storage_connection=bucket)
    connections.share(bucket, [], by=site.cast.ada)
    refusal = refused(
        Forbidden,
        lambda: environments.set_target(
            site.staging, by=site.cast.admin, registry="registry.example.com/live"
        ),
    )
    assert "bucket, which admin may not use" in refusal.detail
    environments.set_target(site.staging, by=site.cast.admin)
    assert targets.of(site.staging).as_json() == {}


def test_saying_the_same_again_changes_nothing(site: Site, bucket: ServiceConnection) -> None:
    environments.set_target(site.staging, by=site.cast.admin, storage_connection=bucket)
    with nothing_changes():
        environments.set_target(site.staging, by=site.cast.admin, storage_connection=bucket)


@pytest.mark.parametrize(
    "name",
    ["live", "registry.example.com/Live", "registry.example.com/a:1", "registry.example.com/a@b",
     "registry.example.com//a", "user@registry.example.com/a", "r.example/" + "a" * 300],
)  # fmt: skip
def test_what_no_image_could_be_called_is_no_registry(site: Site, name: str) -> None:
    refused(Invalid, lambda: environments.set_target(
        site.staging, by=site.cast.admin, registry=name
    ))  # fmt: skip


@pytest.mark.parametrize("prefix", ["..", "a/../b", "a//b", "a b", "ä", "a\x00", "x" * 201, ".a"])
def test_what_is_no_folder_is_refused(site: Site, bucket: ServiceConnection, prefix: str) -> None:
    refused(Invalid, lambda: environments.set_target(
        site.staging, by=site.cast.admin, storage_connection=bucket, storage_prefix=prefix
    ))  # fmt: skip


def test_a_connection_is_for_its_host_its_kind_and_its_bucket(
    site: Site, login: ServiceConnection, bucket: ServiceConnection
) -> None:
    secrets = {"secret_key": "key"}
    everywhere = lent(site, connect(site, "all", "s3", secrets, host="s3.example.com"))
    wrong: list[dict[str, Any]] = [
        {"registry": "other.example.com/live", "registry_connection": login},
        {"registry": f"{HOST}/live", "registry_connection": bucket},
        {"registry_connection": login},
        {"storage_connection": login},
        {"storage_prefix": "a"},
        {"storage_connection": everywhere},
    ]
    for target in wrong:
        refused(
            Invalid,
            lambda target=target: environments.set_target(  # type: ignore[misc]
                site.staging, by=site.cast.admin, **target
            ),
        )


def test_nobody_binds_a_connection_that_they_may_not_use(site: Site) -> None:
    theirs = connect(site, "theirs", "s3", {"secret_key": "k"}, host="s3.example.com", bucket="b")
    refusal = refused(
        Forbidden,
        lambda: environments.set_target(
            site.staging, by=site.cast.admin, storage_connection=theirs
        ),
    )
    assert "that admin may use" in refusal.detail


def test_a_connection_that_an_environment_uses_stays(
    site: Site, bucket: ServiceConnection, client: Client
) -> None:
    environments.set_target(site.production, by=site.cast.admin, storage_connection=bucket)
    refusal = refused(WrongState, lambda: connections.remove(bucket, by=site.cast.ada))
    assert "environment production" in refusal.detail
    client.force_login(site.cast.ada)
    page = client.get("/connections/bucket/").content.decode()
    assert 'The environment <a href="/environments/production/">production</a>' in page


def test_a_connection_with_which_a_repository_is_asked_says_so(site: Site, client: Client) -> None:
    login = login_of(site, "registry.example.com", "asked")
    publishing.create_repository(
        "images", by=site.cast.ada, kind="docker", registry="registry.example.com", connection=login
    )
    client.force_login(site.cast.ada)
    page = client.get("/connections/asked/").content.decode()
    assert 'The repository <a href="/repositories/images/">images</a>' in page


# ---- Plans -------------------------------------------------------------------------------------
def test_a_plan_says_where_its_bytes_go_and_only_then(
    site: Site, bucket: ServiceConnection
) -> None:
    version = site.publish("1.0.0")
    assert "target" not in plans.plan(site.staging, [version]).content
    environments.set_target(site.staging, by=site.cast.admin, storage_connection=bucket)
    planned = plans.plan(site.staging, [version])
    assert planned.content["target"] == {
        "storage": "s3://live",
        "storage_host": "s3.example.com",
        "storage_connection": "bucket",
    }


def test_another_target_makes_open_requests_stale_and_says_so(
    site: Site, bucket: ServiceConnection
) -> None:
    version = site.publish("1.0.0")
    seen, swept = site.request(site.staging, version), site.request(site.staging, version)
    environments.set_target(site.staging, by=site.cast.admin, storage_connection=bucket)
    with pytest.raises(PlanChanged) as caught:
        promoting.approve(seen, by=site.cast.ben, plan=seen.plan_digest)
    assert "where staging keeps its own bytes has changed" in caught.value.detail
    sweeping.sweep()
    swept.refresh_from_db()
    assert (swept.state, swept.reason) == (PromotionState.STALE, caught.value.detail)
    assert broken_promises() == []


def test_whose_right_counts_is_not_part_of_what_is_approved(
    site: Site, bucket: ServiceConnection
) -> None:
    """So that a promotion which failed for want of it can be retried, with its approvals."""
    environments.set_target(site.staging, by=site.cast.admin, storage_connection=bucket)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    other = type(site.cast.admin).objects.create_user("omar", password="p", roles=["operator"])
    other.groups.set(site.cast.admin.groups.all())
    environments.set_target(site.staging, by=other, storage_connection=bucket)
    assert plans.replan(promotion).digest == promotion.plan_digest
    assert broken_promises() == []


# ---- Pages -------------------------------------------------------------------------------------
def test_the_page_says_what_will_happen_and_asks_first(
    site: Site, bucket: ServiceConnection, client: Client
) -> None:
    site.request(site.staging, site.publish("1.0.0"))
    client.force_login(site.cast.admin)
    page = client.get("/environments/staging/target/")
    assert page.status_code == 200
    assert "1 open request goes stale" in page.content.decode()
    assert "bucket (live at s3.example.com)" in page.content.decode()
    written = {"storage_connection": "bucket", "storage_prefix": "a"}
    with nothing_changes():
        asked = client.post("/environments/staging/target/", written)
    assert asked.status_code == 422
    done = client.post("/environments/staging/target/", {**written, "confirmed": "yes"})
    assert done.status_code == 303
    shown = client.get("/environments/staging/").content.decode()
    assert "s3://live/a" in shown


def test_only_what_a_person_may_use_is_offered(site: Site, client: Client) -> None:
    connect(site, "theirs", "s3", {"secret_key": "k"}, host="s3.example.com", bucket="b")
    client.force_login(site.cast.admin)
    assert "theirs" not in client.get("/environments/staging/target/").content.decode()
    with nothing_changes():
        answer = client.post(
            "/environments/staging/target/", {"storage_connection": "theirs", "confirmed": "yes"}
        )
    assert answer.status_code == 422


def test_whoever_decides_reads_where_the_bytes_go(
    site: Site, bucket: ServiceConnection, client: Client
) -> None:
    environments.set_target(site.staging, by=site.cast.admin, storage_connection=bucket)
    version = site.publish("1.0.0")
    promotion = site.request(site.staging, version)
    client.force_login(site.cast.ben)
    for address in (
        f"/promotions/{promotion.pk}/",
        f"/promotions/new/?environment=staging&version={version.pk}",
    ):
        words = " ".join(client.get(address).content.decode().split())
        assert "Files will be copied to <code>s3://live</code> at s3.example.com" in words
