"""Retention: what no rule keeps is pruned, for ever; nothing else ever is."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from pipelines import blobs, collecting, forgetting, runs
from pipelines.errors import BytesGone, PreconditionFailed
from pipelines.models import Artifact, Blob, BlobState, ExecutionState, Run
from promotion import promoting, publishing, recalling, retention, selection, usage
from promotion.errors import NoEligibleVersion, Pruned, VersionExists
from promotion.keeping import Rules
from promotion.models import LedgerEntry, Promotion, PromotionState, Repository, Version
from promotion.selection import Query
from tests.cast import Site, make_artifact, make_pipeline, work_off
from tests.pipelines.working import job, started, yaml
from tests.promotion.verifying import broken
from tests.sealed import unsealed
from tests.world import nothing_changes, refused

pytestmark = pytest.mark.django_db

NEWEST = Rules(newest=1, placed_days=0)
NOW = timedelta(0)


def keep_only_the_newest(site: Site) -> int:
    retention.set_rules(site.repository, NEWEST, by=site.cast.admin)
    return retention.retain()


def again(version: Version) -> Version:
    return Version.objects.with_names().select_related("bundle", "artifact").get(pk=version.pk)


def pruned_one(site: Site) -> Version:
    """A version that was pruned; 2.0.0 of its package was kept."""
    old = site.publish("1.0.0")
    site.publish("2.0.0")
    assert keep_only_the_newest(site) == 1
    return again(old)


# ---- Prune ---------------------------------------------------------------------------------------
def test_whoever_reads_a_version_that_is_pruned_may_finish(site: Site) -> None:
    """The time of grace begins with the pruning, however long ago the bytes came in."""
    old = site.publish("1.0.0")
    site.publish("2.0.0")
    Blob.objects.update(kept_at=timezone.now() - timedelta(days=9))
    assert keep_only_the_newest(site) == 1
    collecting.collect(grace=timedelta(days=1))
    assert old.bundle is not None
    assert blobs.reads_true(Blob.objects.get(pk=old.bundle_id))


def test_a_pruned_version_loses_its_bytes_and_keeps_everything_else(site: Site) -> None:
    old = site.publish("1.0.0", files={"a.txt": b"old a", "b.txt": b"old b"})
    new = site.publish("2.0.0")
    assert keep_only_the_newest(site) == 1
    collecting.collect(grace=NOW)
    found = again(old)
    assert found.pruned_at is not None
    assert found.pruned_reason.startswith("no rule keeps it: 1 version newer")
    assert (found.manifest, found.manifest_digest) == (old.manifest, old.manifest_digest)
    assert [file.blob.state for file in found.files.select_related("blob")] == ["removed"] * 2
    assert found.bundle is not None
    assert found.bundle.state == BlobState.REMOVED
    assert again(new).pruned_at is None
    assert new.bundle is not None
    assert blobs.reads_true(new.bundle)
    assert broken("--scrub") == {}


def test_without_rules_nothing_is_ever_pruned(site: Site) -> None:
    for name in ("1.0.0", "2.0.0"):
        site.publish(name)
    with nothing_changes():
        assert retention.retain() == 0
        assert retention.prune(site.repository) == 0


def test_pruning_twice_changes_nothing_more(site: Site) -> None:
    pruned_one(site)
    with nothing_changes():
        assert retention.retain() == 0


def test_bytes_that_a_kept_version_shares_stay(site: Site) -> None:
    site.publish("1.0.0", files={"same.txt": b"shared by both"})
    other = site.publish("1.0.0", package="other", files={"same.txt": b"shared by both"})
    site.publish("2.0.0")
    assert keep_only_the_newest(site) == 1
    collecting.collect(grace=NOW)
    assert other.bundle is not None
    assert blobs.reads_true(other.bundle)
    assert broken("--scrub") == {}


def test_each_package_keeps_its_own_newest_and_recalled_ones_do_not_count(site: Site) -> None:
    one, two, three = (site.publish(name) for name in ("1.0.0", "2.0.0", "3.0.0"))
    alone = site.publish("1.0.0", package="alone")
    recalling.recall(three, by=site.cast.ben, reason="It is bad.")
    assert keep_only_the_newest(site) == 2
    kept = set(Version.objects.with_bytes().values_list("pk", flat=True))
    assert kept == {two.pk, alone.pk}
    assert again(one).pruned_at and again(three).pruned_at


@pytest.mark.parametrize("name", ["requested", "approved", "executing", "failed", "errored"])
def test_what_is_in_an_open_promotion_stays(site: Site, name: str) -> None:
    old = site.publish("1.0.0")
    site.publish("2.0.0")
    promotion = site.request(site.staging, old)
    Promotion.objects.filter(pk=promotion.pk).update(state=PromotionState(name))
    assert keep_only_the_newest(site) == 0
    (planned,) = [
        each
        for each in retention.plan(site.repository, NEWEST, timezone.now())
        if each.version.pk == old.pk
    ]
    assert planned.decision.why == f"in promotion {promotion.pk}"


def test_a_failed_promotion_keeps_nothing_once_something_else_was_placed(site: Site) -> None:
    old, new = site.publish("1.0.0"), site.publish("2.0.0")
    failed = site.request(site.staging, old)
    Promotion.objects.filter(pk=failed.pk).update(state=PromotionState.FAILED)
    site.promote(site.staging, new)
    assert keep_only_the_newest(site) == 1
    promoting.retry(Promotion.objects.get(pk=failed.pk), by=site.cast.ada)
    promoting.execute(failed.pk)
    assert Promotion.objects.get(pk=failed.pk).state == PromotionState.STALE
    assert site.placed(site.staging, new.package) == "2.0.0"
    assert broken() == {}


def test_what_an_unfinished_run_takes_stays_until_it_ends(site: Site) -> None:
    old = site.publish("1.0.0")
    source = {"type": "packages", "repo": "apps", "artifact": "app", "version": "1.0.0"}
    definition = yaml({"one": job("ls pack")}, sources={"pack": source})
    run = started(site, definition)
    site.publish("2.0.0")
    assert keep_only_the_newest(site) == 0
    planned = retention.plan(site.repository, NEWEST, timezone.now())
    (why,) = [each.decision.why for each in planned if each.version == old]
    assert why == f"taken by {run}, which has not ended"
    work_off(run)
    assert Run.objects.get(pk=run.pk).state == ExecutionState.SUCCEEDED
    assert retention.retain() == 1


@pytest.mark.parametrize("placed_days", [0, 1])
def test_what_was_placed_lately_stays_for_a_rollback(site: Site, placed_days: int) -> None:
    old, new = site.publish("1.0.0"), site.publish("2.0.0")
    for version in (old, new):
        site.promote(site.staging, version)
    rules = Rules(newest=1, placed_days=placed_days)
    retention.set_rules(site.repository, rules, by=site.cast.admin)
    assert retention.retain() == 1 - placed_days
    assert broken() == {}


def test_what_was_downloaded_or_selected_lately_stays(site: Site) -> None:
    fetched, picked, unused = (site.publish(name) for name in ("1.0.0", "2.0.0", "3.0.0"))
    selection.select(picked.package, Query(version="2.0.0"), by=site.cast.production)
    retention.note_download(fetched)
    with unsealed():
        long_ago = timezone.now() - timedelta(days=100)
        Version.objects.all().update(published_at=long_ago)
    plan = retention.plan(site.repository, Rules(used_days=30), timezone.now())
    assert {each.version.pk: each.decision.why for each in plan if each.decision.keeps} == {
        fetched.pk: "downloaded today",
        picked.pk: "selected today",
    }
    assert [each.version.pk for each in plan if not each.decision.keeps] == [unused.pk]


def test_a_download_is_noted_once_an_hour(site: Site) -> None:
    version = site.publish("1.0.0")
    retention.note_download(version)
    first = again(version).last_downloaded_at
    assert first is not None
    retention.note_download(version)
    retention.note_download(again(version))
    assert again(version).last_downloaded_at == first
    Version.objects.update(last_downloaded_at=first - timedelta(hours=2))
    retention.note_download(again(version))
    noted = again(version).last_downloaded_at
    assert noted is not None
    assert noted >= first


# ---- What a pruned version refuses ---------------------------------------------------------------
def _request(site: Site, version: Version) -> object:
    return promoting.request(site.staging, [version], by=site.cast.ada)


def _request_what_was_read_before(site: Site, version: Version) -> object:
    version.pruned_at = None
    return promoting.request(site.staging, [version], by=site.cast.ada)


def _select(site: Site, version: Version) -> object:
    return selection.select(version.package, Query(version="1.0.0"), by=site.cast.production)


def _download(site: Site, version: Version) -> object:
    retention.note_download(version)
    return None


def _recommend(site: Site, version: Version) -> object:
    bad = Version.objects.get(name="2.0.0")
    return recalling.recall(bad, by=site.cast.ben, reason="It is bad.", replacement=version)


@pytest.mark.parametrize(
    "act", [_request, _request_what_was_read_before, _select, _download, _recommend]
)
def test_a_pruned_version_is_refused_and_the_refusal_says_what_to_use(
    site: Site, act: Callable[[Site, Version], object]
) -> None:
    version = pruned_one(site)
    refusal = refused(Pruned, lambda: act(site, version))
    assert "Use 2.0.0." in refusal.detail
    assert refusal.extra["replacement"] == "2.0.0"


def test_a_range_passes_a_pruned_version_by_and_says_why(site: Site) -> None:
    version = pruned_one(site)
    refusal = refused(
        NoEligibleVersion, lambda: selection.resolve(version.package, Query(range="^1"))
    )
    fallen = {each["version"]: each["why"] for each in refusal.extra["considered"]}
    assert fallen["1.0.0"] == "it was pruned: its bytes are no longer kept"
    assert selection.resolve(version.package, Query(range=">=1")).version.name == "2.0.0"


def test_a_rollback_never_goes_to_a_pruned_version(site: Site) -> None:
    versions = [site.publish(name) for name in ("1.0.0", "2.0.0", "3.0.0")]
    for version in versions:
        site.promote(site.staging, version)
    retention.set_rules(site.repository, Rules(newest=2, placed_days=0), by=site.cast.admin)
    assert retention.retain() == 1
    package = versions[0].package
    back = promoting.roll_back(site.staging, package, by=site.cast.ada)
    assert back.items.get().version == versions[1]
    promoting.withdraw(back, by=site.cast.ada)
    old = again(versions[0])
    refused(Pruned, lambda: promoting.roll_back(site.staging, package, by=site.cast.ada, to=old))


def test_the_name_of_a_pruned_version_is_never_used_again(site: Site) -> None:
    version = pruned_one(site)
    content = {"app.txt": b"what it was"}
    same = make_artifact(site.cast.ada, site.pipeline, content)
    refusal = refused(
        VersionExists,
        lambda: publishing.publish(site.repository, "app", version.name, same, by=site.cast.ada),
    )
    assert "was pruned" in refusal.detail


def test_its_artifact_is_forgotten_and_cannot_be_published_under_another_name(site: Site) -> None:
    artifact = pruned_one(site).artifact
    assert artifact.pruned_at is not None
    refusal = refused(
        BytesGone,
        lambda: publishing.publish(site.repository, "app", "3.0.0", artifact, by=site.cast.ada),
    )
    assert "Run the pipeline again" in refusal.detail


def test_a_pruned_version_can_still_be_recalled(site: Site) -> None:
    version = pruned_one(site)
    recalling.recall(version, by=site.cast.ben, reason="It was bad all along.")
    assert broken() == {}


# ---- Rules ---------------------------------------------------------------------------------------
def test_rules_are_kept_with_their_ledger_entry_and_may_be_taken_back(site: Site) -> None:
    set_to = [Rules(newest=3), Rules(newest=3), Rules(used_days=9), Rules()]
    for wanted in set_to:
        retention.set_rules(site.repository, wanted, by=site.cast.admin)
        assert retention.rules_of(Repository.objects.get(name="apps")) == wanted
        assert broken() == {}
    entries = LedgerEntry.objects.filter(type="repository.retention_set")
    assert entries.count() == 3
    assert Repository.objects.get(name="apps").retention is None


def test_rules_that_changed_since_they_were_seen_are_not_overwritten(site: Site) -> None:
    admin = site.cast.admin
    retention.set_rules(site.repository, Rules(newest=3), by=admin)
    refused(
        PreconditionFailed,
        lambda: retention.set_rules(site.repository, Rules(newest=1), by=admin, expected=Rules()),
    )


def test_a_dry_run_changes_nothing_and_counts_what_would_be_freed(site: Site) -> None:
    site.publish("1.0.0", files={"a.txt": b"12345"})
    site.publish("2.0.0", files={"b.txt": b"123"})
    with nothing_changes():
        planned = retention.preview(site.repository, NEWEST, by=site.cast.ben)
    doomed = [each.version for each in planned if not each.decision.keeps]
    assert [version.name for version in doomed] == ["1.0.0"]
    assert usage.bytes_freed(doomed) == 5
    make_artifact(site.cast.ada, site.pipeline, {"c.txt": b"12345"})
    assert usage.bytes_freed(doomed) == 0, "another artifact holds the same bytes"


def test_a_composed_bundle_takes_no_room_and_frees_none(site: Site) -> None:
    old = site.publish("1.0.0", files={"a.txt": b"12345", "b.txt": b"123"})
    before = usage.overview().kept.size
    site.publish("2.0.0", files={"c.txt": b"1", "d.txt": b"22"})
    assert usage.overview().kept.size == before + 3
    assert usage.bytes_freed([old]) == 8
    assert keep_only_the_newest(site) == 1
    done = collecting.run(grace=NOW)
    assert (done.removed, done.removed_bytes) == (3, 8)


# ---- verify --------------------------------------------------------------------------------------
def test_verify_finds_bytes_that_are_gone_of_a_version_that_was_not_pruned(site: Site) -> None:
    version = site.publish("1.0.0")
    assert version.bundle is not None
    Blob.objects.filter(pk=version.bundle_id).update(state=BlobState.REMOVED)
    (found,) = broken()["every byte that is referred to is there"]
    assert found.startswith(f"blob {version.bundle_id} was removed")


@pytest.mark.parametrize("change", [{"pruned_reason": "because"}, {"last_downloaded_at": None}])
def test_verify_finds_a_pruning_that_says_something_else(
    site: Site, change: dict[str, object]
) -> None:
    version = pruned_one(site)
    Version.objects.filter(pk=version.pk).update(**change)
    is_said = "pruned_reason" in change
    found = broken().get("the ledger and the rows say the same", [])
    assert [each.startswith("pruning of version apps app 1.0.0") for each in found] == (
        [True] if is_said else []
    )


def test_verify_finds_rules_that_nobody_set(site: Site) -> None:
    Repository.objects.filter(pk=site.repository.pk).update(retention={"newest": 1})
    (found,) = broken()["the ledger and the rows say the same"]
    assert found == "retention rules of repository apps has a row and is not in the ledger"


# ---- Artifacts -----------------------------------------------------------------------------------
def aged(artifact: Artifact, days: int = 40) -> Artifact:
    long_ago = timezone.now() - timedelta(days=days)
    with unsealed():
        Artifact.objects.filter(pk=artifact.pk).update(created_at=long_ago)
        type(artifact.run).objects.filter(pk=artifact.run_id).update(finished_at=long_ago)
    return Artifact.objects.get(pk=artifact.pk)


def forgotten(artifact: Artifact) -> bool:
    return Artifact.objects.get(pk=artifact.pk).pruned_at is not None


@override_settings(ARTIFACT_DAYS=30)
def test_old_artifacts_that_were_never_published_are_forgotten(site: Site) -> None:
    old = aged(make_artifact(site.cast.ada, site.pipeline))
    young = aged(make_artifact(site.cast.ada, site.pipeline), days=29)
    published = aged(site.publish("1.0.0").artifact)
    newest = aged(make_artifact(site.cast.ada, site.pipeline))
    assert forgetting.forget_outdated() == 1
    assert [forgotten(each) for each in (old, young, published, newest)] == [
        True, False, False, False,
    ]  # fmt: skip
    collecting.collect(grace=NOW)
    assert Blob.objects.get(pk=old.bundle_id).state == BlobState.REMOVED
    assert broken("--scrub") == {}


def test_artifacts_are_kept_for_ever_unless_the_site_says_otherwise(site: Site) -> None:
    aged(make_artifact(site.cast.ada, site.pipeline))
    make_artifact(site.cast.ada, site.pipeline)
    with nothing_changes():
        assert forgetting.forget_outdated() == 0


@override_settings(ARTIFACT_DAYS=30)
def test_an_artifact_that_an_open_run_takes_as_its_source_stays(site: Site) -> None:
    upstream = make_pipeline(site.cast.ada, "upstream")
    old = aged(make_artifact(site.cast.ada, upstream))
    yaml = (
        "sources: {up: {type: flowPipeline, flowPipeline: upstream}}\n"
        "stages: {a: {jobs: {b: {steps: {c: {step: Command, with: {run: 'true'}}}}}}}"
    )
    down = make_pipeline(site.cast.ada, "down", yaml)
    run = runs.start(down, by=site.cast.ada)
    make_artifact(site.cast.ada, upstream)
    assert run.sources["up"]["run"] == old.run.number
    assert forgetting.forget_outdated() == 0
    runs.cancel(run, by=site.cast.ada)
    assert forgetting.forget_outdated() == 1


# ---- Commands ------------------------------------------------------------------------------------
def called(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_retain_says_what_would_go_and_then_what_went(site: Site) -> None:
    for name in ("1.0.0", "2.0.0"):
        site.publish(name)
    assert called("retain") == "No retention rule is set: nothing is pruned.\n"
    retention.set_rules(site.repository, NEWEST, by=site.cast.admin)
    with nothing_changes():
        text = called("retain", "--dry-run")
    assert "PRUNE  apps/app 1.0.0: no rule keeps it" in text
    assert "keep   apps/app 2.0.0: the newest" in text
    assert "would prune 1 of 2 versions" in text
    assert "NOTE   Of app 1.0.0 would go, and nothing newer was ever placed" in text
    assert called("retain", "--repository", "apps") == "apps: pruned 1 version\n"
    with nothing_changes(), pytest.raises(CommandError, match="no repository “x”"):
        called("retain", "--repository", "x")


def test_collect_says_what_would_go_and_then_what_went() -> None:
    blob = blobs.keep_bytes([b"nobody wants this"])
    with nothing_changes():
        text = called("collect", "--dry-run", "--grace-hours", "0")
    assert "would condemn   1 blobs, 17 bytes" in text
    assert "removed   0 blobs" in called("collect")
    assert "removed   1 blobs, 17 bytes" in called("collect", "--grace-hours", "0")
    assert Blob.objects.get(pk=blob.pk).state == BlobState.REMOVED
    with pytest.raises(CommandError, match="not a number of hours"):
        called("collect", "--grace-hours", "-1")
