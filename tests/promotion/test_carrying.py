"""Carrying: bytes lie in the environment's own storage and registry before anything is placed."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.models import Role, User
from pipelines import blobs, connections
from pipelines.models import Blob
from promotion import environments, executing, promoting, selection, sweeping
from promotion.models import (
    LedgerEntry,
    Placement,
    Promotion,
    PromotionState,
    Selection,
    Version,
)
from promotion.selection import Query
from promotion.sources import PackagesSource
from tests.cast import Site, token_of
from tests.parts import registry
from tests.parts.children import free_port
from tests.pipelines.working import job, started, yaml
from tests.promotion.targeted import (
    Bucket,
    Elsewhere,
    bucket_of,
    elsewhere,
    give_bucket,
    give_registry,
    login_of,
    publish_image,
    reachable,
)
from tests.promotion.verifying import verify
from tests.sealed import unsealed

pytestmark = pytest.mark.outside

P = PromotionState
AT_TARGETS = "what is placed lies where its environment keeps its bytes"


@pytest.fixture(scope="module")
def there() -> Iterator[Elsewhere]:
    with elsewhere() as made:
        yield made


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    with reachable():
        yield


@pytest.fixture
def bucket(site: Site, there: Elsewhere) -> Bucket:
    return give_bucket(site, site.staging, there)


def approved(site: Site, *versions: Version) -> Promotion:
    promotion = site.request(site.staging, *versions)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    return promotion


def execute(promotion: Promotion) -> Promotion:
    promoting.execute(promotion.pk)
    promotion.refresh_from_db()
    return promotion


def blobs_of(version: Version) -> list[Blob]:
    return [file.blob for file in version.files.select_related("blob")]


def key(blob: Blob) -> str:
    return f"live/{blob.storage_name}"


def nothing_placed() -> bool:
    return not Placement.objects.exists()


# ---- Files -------------------------------------------------------------------------------------
def test_files_lie_in_the_environments_bucket_before_they_are_placed(
    site: Site, bucket: Bucket
) -> None:
    version = site.publish("1.0.0", files={"a.txt": b"of a", "b.txt": b"of b"})
    promotion = execute(approved(site, version))
    assert promotion.state == P.COMPLETED, promotion.reason
    for blob in blobs_of(version):
        with blobs.open_blob(blob) as expected:
            assert bucket.read(key(blob)) == expected.read()
    placement = Placement.objects.get()
    assert (placement.storage, placement.image) == (f"s3://{bucket.name}/live", "")
    body = json.loads(bytes(LedgerEntry.objects.latest("sequence").body))
    assert body["data"]["placed"][0]["storage"] == placement.storage
    assert (verify()[0], verify("--scrub")[0]) == (0, 0)


def test_what_lies_there_already_is_read_and_not_sent_again(site: Site, bucket: Bucket) -> None:
    same = {"app.txt": b"the same in both"}
    assert execute(approved(site, site.publish("1.0.0", files=same))).state == P.COMPLETED
    before = bucket.objects()
    other = site.publish("1.0.0", package="other", files=same)
    assert execute(approved(site, other)).state == P.COMPLETED
    assert bucket.objects() == before


def test_an_environment_without_a_target_has_nothing_carried(site: Site, there: Elsewhere) -> None:
    assert execute(approved(site, site.publish("1.0.0"))).state == P.COMPLETED
    placement = Placement.objects.get()
    assert (placement.storage, placement.image) == ("", "")


def test_other_bytes_under_a_names_digest_stop_it(site: Site, bucket: Bucket) -> None:
    version = site.publish("1.0.0", files={"app.txt": b"as approved"})
    (blob,) = blobs_of(version)
    bucket.put(key(blob), b"in no way..")
    promotion = execute(approved(site, version))
    assert promotion.state == P.FAILED
    assert "“app.txt”" in promotion.reason
    assert "other bytes" in promotion.reason
    assert nothing_placed()
    bucket.remove(key(blob))
    promoting.retry(promotion, by=site.cast.ada)
    assert execute(promotion).state == P.COMPLETED


def test_a_copy_that_is_cut_goes_on_where_it_stopped(
    site: Site, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = site.publish("1.0.0", files={"a.txt": b"comes first", "b.txt": b"comes second"})
    promotion = approved(site, version)
    renew, calls = executing._renew, []

    class Killed(BaseException):
        """As if the worker's process were gone."""

    def dies_at_the_second_file(promotion: Promotion, **changes: Any) -> None:
        renew(promotion, **changes)
        if "progress" in changes:
            calls.append(changes["progress"]["what"])
        if len(set(calls)) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(executing, "_renew", dies_at_the_second_file)
        with pytest.raises(Killed):
            promoting.execute(promotion.pk)
    promotion.refresh_from_db()
    assert (promotion.state, nothing_placed()) == (P.EXECUTING, True)
    sent = bucket.objects()
    assert len(sent) == 1
    Promotion.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    sweeping.sweep()
    assert execute(promotion).state == P.COMPLETED
    now = bucket.objects()
    assert now.keys() > sent.keys()
    assert {name: now[name] for name in sent} == sent
    assert verify("--scrub")[0] == 0


def test_a_worker_that_lost_its_lease_stops_carrying(
    site: Site, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = site.publish("1.0.0", files={"a.txt": b"one", "b.txt": b"two"})
    promotion = approved(site, version)
    renew = executing._renew

    def too_late(promotion: Promotion, **changes: Any) -> None:
        Promotion.objects.filter(pk=promotion.pk).update(attempt=7)
        renew(promotion, **changes)

    monkeypatch.setattr(executing, "_renew", too_late)
    promotion = execute(promotion)
    assert (promotion.state, promotion.attempt) == (P.EXECUTING, 7)
    assert bucket.objects() == {}
    assert nothing_placed()


# ---- Refused before anything leaves ------------------------------------------------------------
def test_sharing_withdrawn_after_the_approval_fails_the_execution(
    site: Site, bucket: Bucket
) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    connections.share(bucket.connection, [], by=site.cast.ada)
    execute(promotion)
    assert promotion.state == P.FAILED
    assert "“bucket” that admin may use" in promotion.reason
    assert (bucket.objects(), nothing_placed()) == ({}, True)
    connections.share(bucket.connection, [], by=site.cast.ada, with_all=True)
    promoting.retry(promotion, by=site.cast.ada)
    assert execute(promotion).state == P.COMPLETED


def test_whoever_bound_the_connection_must_still_work_here(site: Site, bucket: Bucket) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    User.objects.filter(username="admin").update(is_active=False)
    execute(promotion)
    assert promotion.state == P.FAILED
    assert (bucket.objects(), nothing_placed()) == ({}, True)


def test_nothing_leaves_once_an_approval_no_longer_counts(site: Site, bucket: Bucket) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    User.objects.filter(username="ben").update(roles=[Role.DEVELOPER])
    assert execute(promotion).state == P.FAILED
    assert (bucket.objects(), nothing_placed()) == ({}, True)


def test_nothing_leaves_for_a_target_that_nobody_approved(
    site: Site, bucket: Bucket, there: Elsewhere
) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    environments.set_target(
        site.staging,
        by=site.cast.admin,
        storage_connection=bucket.connection,
        storage_prefix="another",
    )
    execute(promotion)
    assert promotion.state == P.STALE
    assert "where staging keeps its own bytes has changed" in promotion.reason
    assert (bucket.objects(), nothing_placed()) == ({}, True)


def test_a_storage_that_does_not_take_the_keys_fails_it(site: Site, bucket: Bucket) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    connections.replace_secrets(bucket.connection, {"secret_key": "another"}, by=site.cast.ada)
    execute(promotion)
    assert promotion.state == P.FAILED
    assert promotion.reason
    assert nothing_placed()


def test_a_storage_that_is_down_fails_it(site: Site) -> None:
    nowhere = bucket_of(site, f"127.0.0.1:{free_port()}", "nowhere")
    environments.set_target(site.staging, by=site.cast.admin, storage_connection=nowhere)
    promotion = execute(approved(site, site.publish("1.0.0")))
    assert promotion.state == P.FAILED
    assert promotion.reason
    assert nothing_placed()


# ---- Images ------------------------------------------------------------------------------------
def test_an_image_is_copied_under_its_version_and_handed_out_from_there(
    site: Site, there: Elsewhere
) -> None:
    give_registry(site, site.staging, there)
    version = publish_image(site, there, "1.0.0+b1", b"first")
    promotion = execute(approved(site, version))
    assert promotion.state == P.COMPLETED, promotion.reason
    digest = version.image.rpartition("@")[2]
    pinned = f"{there.guarded}/live/images/web@{digest}"
    assert Placement.objects.get().image == pinned
    assert digest_at(there, "live/images/web", "1.0.0_b1") == digest
    picked = selection.select(
        version.package, Query(environment="staging"), by=site.cast.production
    )
    receipt = selection.receipt(picked)
    assert (receipt["image"], receipt["image_tag"]) == (pinned, "1.0.0_b1")
    assert selection.resolve(version.package, Query(version="1.0.0+b1")).placed is None
    assert verify("--scrub")[0] == 0


def digest_at(there: Elsewhere, repository: str, tag: str) -> str:
    answer = httpx.get(
        f"http://{there.guarded}/v2/{repository}/manifests/{tag}",
        auth=(registry.USER, registry.PASSWORD),
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        trust_env=False,
    )
    digest: str = answer.raise_for_status().headers["docker-content-digest"]
    return digest


def test_a_selection_answers_the_environments_image_for_ever(
    site: Site, there: Elsewhere, client: Client
) -> None:
    give_registry(site, site.staging, there)
    version = publish_image(site, there, "2.0.0", b"second")
    assert execute(approved(site, version)).state == P.COMPLETED
    caller: dict[str, Any] = {
        "headers": {"Authorization": f"Bearer {token_of(site.cast.production)}"},
        "content_type": "application/json",
    }
    made = client.post(
        "/api/v1/selections/",
        {"repository": "images", "package": "web", "environment": "staging"},
        **caller,
    ).json()
    digest = version.image.rpartition("@")[2]
    assert made["artifact"]["dockerUrl"] == f"{there.guarded}/live/images/web@{digest}"
    assert made["artifact"]["dockerTag"] == "2.0.0"
    resolve = "/api/v1/repositories/images/packages/web/resolve/?environment=staging"
    resolved = client.get(resolve, **caller).json()
    assert resolved["artifact"] == made["artifact"]
    assert resolved["placements"][0]["image"] == made["artifact"]["dockerUrl"]
    environments.set_target(site.staging, by=site.cast.admin)
    replay = execute(approved(site, publish_image(site, there, "2.1.0", b"third")))
    assert replay.state == P.COMPLETED
    again = client.get(f"/api/v1/selections/{made['id']}/", **caller).json()
    assert again == made
    exact = client.get(resolve.replace("environment=staging", "version=2.0.0"), **caller).json()
    assert exact["artifact"]["dockerUrl"].startswith(f"{there.source}/team/web")


def test_a_registry_that_refuses_the_push_fails_it_and_nothing_is_placed(
    site: Site, there: Elsewhere, client: Client
) -> None:
    made = give_bucket(site, site.staging, there)
    login = login_of(site, there.guarded)
    environments.set_target(
        site.staging,
        by=site.cast.admin,
        registry=f"{there.guarded}/live",
        registry_connection=login,
        storage_connection=made.connection,
    )
    connections.replace_secrets(login, {"password": "not hers"}, by=site.cast.ada)
    image = publish_image(site, there, "3.0.0", b"refused")
    files = site.publish("3.0.0", files={"app.txt": b"carried before"})
    promotion = execute(approved(site, image, files))
    assert promotion.state == P.FAILED
    assert there.guarded in promotion.reason
    assert nothing_placed()
    connections.replace_secrets(login, {"password": registry.PASSWORD}, by=site.cast.ada)
    promoting.retry(promotion, by=site.cast.ada)
    assert execute(promotion).state == P.COMPLETED, promotion.reason
    assert {bool(each.image) for each in Placement.objects.all()} == {True, False}


# ---- Progress ----------------------------------------------------------------------------------
def test_how_far_it_is_stands_on_the_page_and_in_the_answer(
    site: Site, bucket: Bucket, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = site.publish("1.0.0", files={"a.txt": b"12345", "b.txt": b"1234567"})
    promotion = approved(site, version)
    renew, seen = executing._renew, []
    client.force_login(site.cast.ben)

    def looking(promotion: Promotion, **changes: Any) -> None:
        renew(promotion, **changes)
        part = client.get(f"/promotions/{promotion.pk}/progress/?seen=executing").content.decode()
        found = re.search(r'<progress [^>]*value="(\d+)" max="(\d+)"', part)
        answer = client.get(f"/api/v1/promotions/{promotion.pk}/").json()["progress"]
        assert found is not None
        assert (int(found[1]), int(found[2])) == (answer["done"], answer["total"])
        seen.append((answer["done"], answer["what"]))
        # A single piece may take longer than a worker that only reads its own disk is given.
        held = Promotion.objects.get(pk=promotion.pk).lease_until
        assert held is not None
        assert held > timezone.now() + settings.LEASE

    monkeypatch.setattr(executing, "_renew", looking)
    assert execute(promotion).state == P.COMPLETED
    done = [done for done, _ in seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, sum(blob.size for blob in blobs_of(version)))
    assert f"a.txt of {version}" in [what for _, what in seen]
    assert promotion.progress is None


# ---- Verified ----------------------------------------------------------------------------------
def test_what_vanished_at_the_target_breaks_the_promise(site: Site, bucket: Bucket) -> None:
    version = site.publish("1.0.0", files={"app.txt": b"soon gone"})
    assert execute(approved(site, version)).state == P.COMPLETED
    (blob,) = blobs_of(version)
    bucket.remove(key(blob))
    for arguments in ((), ("--scrub",)):
        status, text = verify(*arguments)
        assert status == 1
        assert f"BROKEN           {AT_TARGETS}" in text
        assert f"“app.txt” ({blob.sha256})" in text


def test_only_re_reading_finds_other_bytes_of_the_same_length(site: Site, bucket: Bucket) -> None:
    version = site.publish("1.0.0", files={"app.txt": b"as approved"})
    assert execute(approved(site, version)).state == P.COMPLETED
    (blob,) = blobs_of(version)
    bucket.put(key(blob), b"in no way..")
    assert (verify()[0], verify("--scrub")[0]) == (0, 1)


def test_a_target_that_cannot_be_asked_breaks_no_promise(site: Site, bucket: Bucket) -> None:
    assert execute(approved(site, site.publish("1.0.0"))).state == P.COMPLETED
    connections.share(bucket.connection, [], by=site.cast.ada)
    for status, text in (verify(), verify("--scrub")):
        assert status == 2
        assert f"could not check  {AT_TARGETS}: s3://{bucket.name}/live" in text


def test_a_placement_of_a_target_that_is_no_longer_named_cannot_be_checked(
    site: Site, bucket: Bucket
) -> None:
    assert execute(approved(site, site.publish("1.0.0"))).state == P.COMPLETED
    environments.set_target(site.staging, by=site.cast.admin)
    status, text = verify()
    assert status == 2
    assert "staging names another target by now" in text


def test_an_image_that_vanished_breaks_the_promise_and_a_silent_registry_does_not(
    site: Site, there: Elsewhere
) -> None:
    with registry.server(password=True) as guarded:
        give_registry(site, site.staging, Elsewhere(there.storage, guarded, there.source))
        version = publish_image(site, there, "4.0.0", b"fourth")
        assert execute(approved(site, version)).state == P.COMPLETED
        assert verify()[0] == 0
        digest = version.image.rpartition("@")[2]
        httpx.delete(
            f"http://{guarded}/v2/live/images/web/manifests/{digest}",
            auth=(registry.USER, registry.PASSWORD),
            trust_env=False,
        ).raise_for_status()
        status, text = verify()
        assert status == 1
        assert f"{guarded}/live/images/web@{digest} is not there" in text
    assert verify()[0] == 2


def test_a_placement_that_was_edited_is_named(site: Site, bucket: Bucket) -> None:
    assert execute(approved(site, site.publish("1.0.0"))).state == P.COMPLETED
    with unsealed():
        Placement.objects.update(storage="s3://another/place")
    status, text = verify()
    assert status == 1
    assert "s3://another/place is not where the approved plan says" in text


# ---- Pipelines ---------------------------------------------------------------------------------
def test_a_pipeline_gets_the_environments_image(site: Site, there: Elsewhere) -> None:
    give_registry(site, site.staging, there)
    version = publish_image(site, there, "5.0.0", b"fifth")
    assert execute(approved(site, version)).state == P.COMPLETED
    source = {"type": "packages", "repo": "images", "artifact": "web", "environment": "staging"}
    run = started(site, yaml({"only": job("true")}, sources={"web": source}), slug="deploys")
    pinned = run.sources["web"]
    environments.set_target(site.staging, by=site.cast.admin)
    properties = PackagesSource().properties(pinned)
    digest = version.image.rpartition("@")[2]
    assert properties["dockerUrl"] == f"{there.guarded}/live/images/web@{digest}"
    assert properties["dockerTag"] == "5.0.0"
    assert selection.receipt(Selection.objects.get())["image"] == properties["dockerUrl"]
