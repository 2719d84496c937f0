"""A site on which everything has happened once, for `verify` to check and for seals to keep."""

from ipaddress import ip_network

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import override_settings

from accounts import passkeys
from accounts.models import Role, User
from pipelines import artifacts, runs
from pipelines.models import Artifact, ExecutionState
from promotion import (
    automating,
    environments,
    holding,
    images,
    overriding,
    policies,
    promoting,
    publishing,
    recalling,
    retention,
    second_factor,
    selection,
    sweeping,
    uploads,
)
from promotion.evidence import keeping, keys
from promotion.keeping import Rules
from promotion.models import Environment, Promotion, PromotionState, Verdict, Version
from promotion.selection import Query
from tests.accounts.authenticator import Authenticator
from tests.cast import Site, external_run, make_artifact, token_of, work_off
from tests.parts import registry as parts
from tests.pipelines.working import job, upload, worked, yaml
from tests.promotion import evidencing
from tests.sealed import unsealed

P = PromotionState


def fill(site: Site) -> Site:
    """Every act of every verb, and every state that a promotion can rest in."""
    cast = site.cast
    token_of(cast.production)
    one = site.publish("1.0.0", files={"bin/app": b"one", "app.txt": b"same"})
    two = site.publish("1.1.0", files={"app.txt": b"two"})
    three = site.publish("1.2.0", files={"app.txt": b"three"})
    keeping.add_evidence(
        one, by=cast.ada, predicate_type="test", result="passed", payload={"passed": 10}
    )
    _add_signed_evidence(site, one)
    image = _publish_image(site)
    _publish_out_of_a_registry(site)
    _publish_from_a_pipeline(site)
    for environment in (site.staging, site.production):
        site.promote(environment, one)
    site.promote(site.staging, image, two)
    site.promote(site.production, two)
    back = promoting.roll_back(site.production, one.package, by=cast.ada)
    _approve_signed(back, cast.ben)
    promoting.execute(back.pk)
    package = one.package
    selection.select(package, Query(environment="production"), by=cast.production, consumer="x")
    selection.select(package, Query(range="^1"), by=cast.production)
    _acts(site, one)
    recalling.note_download(two, by=cast.production.pk)
    recalling.recall(two, by=cast.cleo, reason="It loses data.", replacement=one)
    recalling.note_download(two, by=cast.dora.pk)
    (listed,) = recalling.to_acknowledge(cast.ada)
    recalling.acknowledge(listed, by=cast.ada, note="It is rolled back.")
    _prune(site)
    _unhappy_ends(site, three)
    environments.set_target(site.production, by=cast.admin, registry="registry.example.com/live")
    policies.set_policy(site.production, {"approvals": 2, "upstream": "staging"}, by=cast.admin)
    states = set(Promotion.objects.values_list("state", flat=True))
    assert states == set(P) - {P.APPROVED, P.EXECUTING}
    return site


def _approve_signed(promotion: Promotion, by: User) -> None:
    """With a passkey that is removed afterwards."""
    key = Authenticator()
    made = key.register(by)
    asked = second_factor.challenge(promotion, by=by, plan=promotion.plan_digest)
    assertion = key.sign(asked.nonce, asked.options)
    promoting.approve(
        promotion, by=by, plan=promotion.plan_digest, comment="At once.", assertion=assertion
    )
    passkeys.remove(by, made.pk, password=f"{by.username}'s password")


def _add_signed_evidence(site: Site, version: Version) -> None:
    """Signed by a key that is trusted, and by one that was: of the artifact it came along."""
    cast = site.cast
    build, old = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    keys.add_key("ci-tests", evidencing.pem_of(build), by=cast.admin)
    made = keys.add_key("old", evidencing.pem_of(old), by=cast.admin)
    keeping.add_document(version, evidencing.about(version, old), by=cast.ada)
    keys.revoke_key(made, by=cast.admin, reason="Its owner has left.")
    keeping.add_document_to_artifact(
        version.artifact, evidencing.about(version, build, result="PASSED"), by=cast.ada
    )


def _acts(site: Site, version: Version) -> None:
    """The rollback left a hold; another is lifted, gates are overridden, and Sluice promotes."""
    cast = site.cast
    hold = holding.place_hold(site.staging, version, by=cast.ada, reason="Not before Monday.")
    holding.lift_hold(hold, by=cast.ben)
    cast.ben.groups.add(Group.objects.create(name="on-call"))
    rules = {"override": {"groups": ["on-call"]}}
    policies.create_environment("fenced", rank=3, by=cast.admin, policy=rules)
    fenced = Environment.objects.get(name="fenced")
    broken = site.request(fenced, version)
    overriding.override(broken, by=cast.ben, reason="The site is down.")
    promoting.execute(broken.pk)
    overriding.review(broken, by=cast.cleo, verdict=Verdict.OBJECT, comment="Call first.")
    by_itself = {"approvals": 0, "upstream": "fenced", "automatic": True}
    follower = policies.create_environment("follower", rank=4, by=cast.admin, policy=by_itself)
    (made,) = automating.promote_into(follower.pk)
    promoting.execute(made.pk)


def _publish_image(site: Site) -> Version:
    docker = publishing.create_repository("images", by=site.cast.ada, kind="docker")
    artifact = _image(site, f"registry.example.com/app:1.0@sha256:{'a' * 64}")
    return publishing.publish(docker, "app", "1.0.0", artifact, by=site.cast.ada).version


def _publish_out_of_a_registry(site: Site) -> None:
    """An image that its registry was asked for, and whose tag has moved since."""
    opened = override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),))
    with parts.server() as address, opened:
        digest = parts.push_image(address, "shop/web", "1.0", content=b"one")
        shop = publishing.create_repository(
            "shop", by=site.cast.ada, kind="docker", registry=f"{address}/shop"
        )
        artifact = _image(site, f"{address}/shop/web:1.0@{digest}")
        version = publishing.publish(shop, "web", "1.0.0", artifact, by=site.cast.ada).version
        parts.push_image(address, "shop/web", "1.0", content=b"two")
        assert images.look_for_drift(version, by=site.cast.ada).has_drifted


def _image(site: Site, name: str) -> Artifact:
    run = external_run(site.cast.ada, site.pipeline)
    artifact = artifacts.report_image(
        run,
        artifacts.Place("build", "build", "push"),
        "image",
        name,
        "",
        by=site.cast.ada,
    )
    runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)
    return Artifact.objects.get(pk=artifact.pk)


def _publish_from_a_pipeline(site: Site) -> None:
    """A run whose gate somebody passed, and whose step published a version."""
    ask = {"component": "ManualValidate", "with": {"validatorUsers": ["cleo"]}}
    step = upload("a", "tool", uploadType="packages", repo="apps", version="1.0.0")
    run = worked(site, yaml({"make": job("echo 1 > a", step)}, {"ask": ask}), slug="publishing")
    runs.pass_job(run.jobs.get(key="ask"), by=site.cast.cleo, comment="Good.")
    uploads.publish_uploads(work_off(run).pk)


def _prune(site: Site) -> None:
    """The older of two versions goes, with the artifact that it was made of."""
    tools = publishing.create_repository("tools", by=site.cast.ada)
    for name in ("1.0.0", "1.1.0"):
        artifact = make_artifact(site.cast.ada, site.pipeline)
        publishing.publish(tools, "old", name, artifact, by=site.cast.ada)
    retention.set_rules(tools, Rules(newest=1), by=site.cast.admin)
    assert retention.retain() == 1
    assert Artifact.objects.filter(pruned_at__isnull=False).count() == 1


def _unhappy_ends(site: Site, version: Version) -> None:
    cast = site.cast
    names = ("rejected", "withdrawn", "stale", "failed", "errored", "expired")
    ends = {name: site.request(site.staging, version) for name in names}
    promoting.reject(ends["rejected"], by=cast.ben, plan=ends["rejected"].plan_digest)
    promoting.withdraw(ends["withdrawn"], by=cast.ada)
    for name in ("failed", "errored"):
        promoting.approve(ends[name], by=cast.ben, plan=ends[name].plan_digest)
    User.objects.filter(pk=cast.ben.pk).update(roles=[])
    promoting.execute(ends["failed"].pk)
    User.objects.filter(pk=cast.ben.pk).update(roles=[Role.RELEASE_MANAGER.value])
    long_ago = ends["expired"].requested_at
    Promotion.objects.filter(pk=ends["errored"].pk).update(
        state=P.EXECUTING, attempt=settings.MAX_ATTEMPTS, lease_until=long_ago
    )
    with unsealed():
        Promotion.objects.filter(pk=ends["expired"].pk).update(expires_at=long_ago)
    sweeping.sweep()
    policies.set_policy(site.staging, {"approvals": 1, "expires_after_days": 7}, by=cast.admin)
    sweeping.sweep()
    site.request(site.staging, version)
