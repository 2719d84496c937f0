"""Who may do what with versions and promotions: every act by everyone, and nobody else."""

from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.contrib.auth.models import Group

from accounts.models import Role, User
from pipelines.errors import Forbidden, WrongState
from promotion import (
    environments,
    holding,
    images,
    overriding,
    policies,
    promoting,
    publishing,
    recalling,
    registries,
    retention,
    rules,
    selection,
    webhooks,
)
from promotion.errors import SelfApproval
from promotion.evidence import keeping, keys
from promotion.keeping import Rules
from promotion.models import Affected, Package, PromotionState, Verdict
from tests.cast import ROLES, Site, make_artifact
from tests.promotion import evidencing
from tests.world import nothing_changes, refused, world

Act = Callable[[User], object]

WRITERS = {"ada", "ben", "cleo"}
MANAGERS = {"ben", "cleo"}


@dataclass(frozen=True)
class Row:
    """An act, who may do it, and how: `prepare` makes the state that the act begins from."""

    rule: str
    may: Set[str]
    prepare: Callable[[Site], Act]
    only_reads: bool = False


def _publish(site: Site) -> Act:
    artifact = make_artifact(site.cast.ada, site.pipeline)
    return lambda by: publishing.publish(site.repository, "app", "1.0.0", artifact, by=by)


def _recall(site: Site) -> Act:
    version = site.publish("1.0.0")
    return lambda by: recalling.recall(version, by=by, reason="It loses data.")


def _acknowledge_own(site: Site) -> Act:
    """Everybody has fetched what is recalled."""
    version = site.publish("1.0.0")
    for user in site.cast.everyone().values():
        recalling.note_download(version, by=user.pk)
    recalling.recall(version, by=site.cast.ben, reason="It loses data.")

    def act(by: User) -> None:
        own = Affected.objects.filter(owner=by).first() or Affected(version=version, owner=by)
        recalling.acknowledge(own, by=by)

    return act


def _acknowledge_for_mallory(site: Site) -> Act:
    version = site.publish("1.0.0")
    recalling.note_download(version, by=site.cast.mallory.pk)
    recalling.recall(version, by=site.cast.ben, reason="It loses data.")
    listed = Affected.objects.get()
    return lambda by: recalling.acknowledge(listed, by=by)


def _add_evidence(site: Site) -> Act:
    version = site.publish("1.0.0")
    return lambda by: keeping.add_evidence(
        version, by=by, predicate_type="test", result="passed", payload={}
    )


def _trust_key(site: Site) -> Act:
    public = evidencing.pem_of(Ed25519PrivateKey.generate())
    return lambda by: keys.add_key("build", public, by=by)


def _revoke_key(site: Site) -> Act:
    public = evidencing.pem_of(Ed25519PrivateKey.generate())
    key = keys.add_key("build", public, by=site.cast.admin)
    return lambda by: keys.revoke_key(key, by=by, reason="It leaked.")


def _create_repository(site: Site) -> Act:
    return lambda by: publishing.create_repository("images", by=by, kind="docker")


def _rebind(site: Site) -> Act:
    admin = site.cast.admin
    images = publishing.create_repository(
        "images", by=admin, kind="docker", registry="registry.example.com"
    )
    return lambda by: registries.set_registry(images, "other.example.com", by=by)


def _create_environment(site: Site) -> Act:
    return lambda by: policies.create_environment("canary", rank=3, by=by)


def _set_policy(site: Site) -> Act:
    return lambda by: policies.set_policy(site.staging, {"approvals": 0}, by=by)


def _set_target(site: Site) -> Act:
    return lambda by: environments.set_target(
        site.staging, by=by, registry="registry.example.com/live"
    )


def _request(site: Site) -> Act:
    version = site.publish("1.0.0")
    return lambda by: promoting.request(site.staging, [version], by=by)


def _roll_back(site: Site) -> Act:
    for name in ("1.0.0", "1.1.0"):
        site.promote(site.staging, site.publish(name))
    package = Package.objects.get()
    return lambda by: promoting.roll_back(site.staging, package, by=by)


def _approve(site: Site) -> Act:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    return lambda by: promoting.approve(promotion, by=by, plan=promotion.plan_digest)


def _reject(site: Site) -> Act:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    return lambda by: promoting.reject(promotion, by=by, plan=promotion.plan_digest)


def _withdraw_of_another(site: Site) -> Act:
    promotion = promoting.request(site.staging, [site.publish("1.0.0")], by=site.cast.cleo)
    return lambda by: promoting.withdraw(promotion, by=by)


def _withdraw_of_ada(site: Site) -> Act:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    return lambda by: promoting.withdraw(promotion, by=by)


def _retry(site: Site) -> Act:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    User.objects.filter(username="ben").update(roles=[])
    promoting.execute(promotion.pk)
    User.objects.filter(username="ben").update(roles=[Role.RELEASE_MANAGER])
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.FAILED
    return lambda by: promoting.retry(promotion, by=by)


def _override(site: Site) -> Act:
    """All are on call; the rest is said by their roles, and of machines by the policy."""
    on_call = Group.objects.create(name="on-call")
    on_call.user_set.set(User.objects.all())
    policies.set_policy(site.staging, {"override": {"groups": ["on-call"]}}, by=site.cast.admin)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    return lambda by: overriding.override(promotion, by=by, reason="The site is down.")


def _review(site: Site) -> Act:
    """Of what ada requested, and a second admin overrode."""
    on_call = Group.objects.create(name="on-call")
    policies.set_policy(site.staging, {"override": {"groups": ["on-call"]}}, by=site.cast.admin)
    zoe = User.objects.create_user("zoe", roles=[Role.OPERATOR])
    zoe.groups.add(on_call)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    overriding.override(promotion, by=zoe, reason="The site is down.")
    return lambda by: overriding.review(promotion, by=by, verdict=Verdict.APPROVE)


def _place_hold(site: Site) -> Act:
    version = site.publish("1.0.0")
    return lambda by: holding.place_hold(site.staging, version, by=by, reason="It loses data.")


def _lift_hold(site: Site) -> Act:
    hold = holding.place_hold(
        site.staging, site.publish("1.0.0"), by=site.cast.ada, reason="It loses data."
    )
    return lambda by: holding.lift_hold(hold, by=by)


def _select(site: Site) -> Act:
    version = site.publish("1.0.0")
    query = selection.Query(version="1.0.0")
    return lambda by: selection.select(version.package, query, by=by)


def _register_webhook(site: Site) -> Act:
    return lambda by: webhooks.create("ci", "https://8.8.8.8/hooks", by=by)


def _set_retention(site: Site) -> Act:
    return lambda by: retention.set_rules(site.repository, Rules(newest=3), by=by)


def _preview_retention(site: Site) -> Act:
    return lambda by: retention.preview(site.repository, Rules(newest=3), by=by)


def _look_at_image(site: Site) -> Act:
    """Of a repository that names no registry: whoever may ask is told so."""
    version = site.publish("1.0.0")

    def act(by: User) -> None:
        with suppress(WrongState):
            images.look_for_drift(version, by=by)

    return act


def _read(rule: str) -> Callable[[Site], Act]:
    def prepare(site: Site) -> Act:
        return lambda by: rules.require(by, rule)

    return prepare


MATRIX = {
    "look": Row("view", set(ROLES) - {"mallory"}, _read("view"), only_reads=True),
    "read the history": Row(
        "history.view", WRITERS | {"dora", "admin"}, _read("history.view"), only_reads=True
    ),
    "create a repository": Row("repository.create", WRITERS | {"admin"}, _create_repository),
    "change the registry that admin set": Row("repository.bind", MANAGERS | {"admin"}, _rebind),
    "publish": Row("version.publish", WRITERS, _publish),
    "recall": Row("version.recall", MANAGERS | {"admin"}, _recall),
    "acknowledge a recall": Row("recall.acknowledge", set(ROLES) - {"mallory"}, _acknowledge_own),
    "acknowledge a recall for mallory": Row(
        "recall.acknowledge_for_another", MANAGERS | {"admin"}, _acknowledge_for_mallory
    ),
    "add evidence": Row("evidence.add", WRITERS, _add_evidence),
    "trust an evidence key": Row("evidence_key.manage", {"admin"}, _trust_key),
    "revoke an evidence key": Row("evidence_key.manage", {"admin"}, _revoke_key),
    "create an environment": Row("environment.manage", {"admin"}, _create_environment),
    "set a policy": Row("environment.manage", {"admin"}, _set_policy),
    "say where bytes live": Row("environment.manage", {"admin"}, _set_target),
    "request": Row("promotion.request", WRITERS, _request),
    "roll back": Row("promotion.request", WRITERS, _roll_back),
    "approve ada's request": Row("promotion.decide", MANAGERS, _approve),
    "reject ada's request": Row("promotion.decide", MANAGERS, _reject),
    "withdraw cleo's request": Row("promotion.withdraw", MANAGERS, _withdraw_of_another),
    "withdraw ada's request": Row("promotion.withdraw", WRITERS, _withdraw_of_ada),
    "retry": Row("promotion.retry", WRITERS | {"admin"}, _retry),
    "override the gates of ada's request": Row(
        "promotion.override", WRITERS | {"admin"}, _override
    ),
    "review an override": Row("override.review", MANAGERS | {"dora", "admin"}, _review),
    "hold a version back": Row("hold.place", WRITERS | {"admin"}, _place_hold),
    "lift ada's hold": Row("hold.lift", MANAGERS | {"admin"}, _lift_hold),
    "try retention rules out": Row(
        "retention.preview", MANAGERS | {"admin"}, _preview_retention, only_reads=True
    ),
    "set retention rules": Row("retention.manage", {"admin"}, _set_retention),
    "register a webhook": Row("webhook.manage", {"admin"}, _register_webhook),
    "look at an image": Row("image.look", WRITERS | {"admin"}, _look_at_image, only_reads=True),
    "select": Row("selection.make", WRITERS | {"production", "admin"}, _select),
}


def test_every_rule_has_a_row_and_every_row_a_rule() -> None:
    assert {row.rule for row in MATRIX.values()} == set(rules.ALLOWED) == set(rules.SAID)


@pytest.mark.parametrize("member", ROLES)
@pytest.mark.parametrize("act", MATRIX)
def test_each_act_is_open_to_those_and_only_those_who_may(
    site: Site, act: str, member: str
) -> None:
    row, user = MATRIX[act], site.cast.everyone()[member]
    do = row.prepare(site)
    user.refresh_from_db()
    before = world()
    if member in row.may:
        do(user)
        assert (world() == before) is row.only_reads
        return
    with pytest.raises(Forbidden) as refusal:
        do(user)
    assert world() == before
    assert isinstance(refusal.value, SelfApproval) or user.username in refusal.value.detail


@pytest.mark.parametrize("act", [act for act, row in MATRIX.items() if not row.only_reads])
def test_somebody_who_was_deactivated_may_do_nothing(site: Site, act: str) -> None:
    do = MATRIX[act].prepare(site)
    user = User.objects.create_user(
        "eve", password="eve's", roles=Role.values, is_superuser=True, is_active=False
    )
    refused(Forbidden, lambda: do(user))


def test_a_requester_who_lost_every_role_may_no_longer_withdraw(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    User.objects.filter(username="ada").update(roles=[])
    ada = User.objects.get(username="ada")
    refused(Forbidden, lambda: promoting.withdraw(promotion, by=ada))


def test_a_refusal_names_the_roles_that_it_takes(site: Site) -> None:
    with nothing_changes(), pytest.raises(Forbidden, match=r"roles: release manager\.$"):
        rules.require(site.cast.dora, "promotion.decide")
