"""Short ways for tests of what people and Sluice do beside deciding."""

from typing import Any

from django.contrib.auth.models import Group

from promotion import overriding, policies, promoting
from promotion.ledger.verify import Verification
from promotion.models import Environment, LedgerEntry, Promotion, Version
from tests.cast import Site

FROZEN = {"name": "Always", "starts": "2020-01-01T00:00", "ends": "2120-01-01T00:00"}


def broken_promises() -> list[str]:
    return [each for result in Verification().run() for each in result.findings]


def types(prefix: str) -> list[str]:
    found = LedgerEntry.objects.filter(type__startswith=prefix).order_by("sequence")
    return list(found.values_list("type", flat=True))


def approved(site: Site, environment: Environment, *versions: Version) -> Promotion:
    promotion = site.request(environment, *versions)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    return promotion


def execute(promotion: Promotion) -> Promotion:
    promoting.execute(promotion.pk)
    promotion.refresh_from_db()
    return promotion


def on_call(site: Site, *usernames: str, **rules: Any) -> None:
    """`usernames` may override the gates of staging, whose policy says `rules` besides."""
    group, _ = Group.objects.get_or_create(name="on-call")
    for name in usernames:
        getattr(site.cast, name).groups.add(group)
    override = {"groups": ["on-call"], **rules.pop("override", {})}
    policies.set_policy(site.staging, {"override": override, **rules}, by=site.cast.admin)


def override(site: Site, promotion: Promotion, *scope: str) -> Promotion:
    """By cleo, who is on call."""
    overriding.override(promotion, by=site.cast.cleo, reason="The site is down.", scope=scope)
    return promotion


def follower(site: Site, **rules: Any) -> Environment:
    """An environment that takes by itself what is in staging."""
    policy = {"approvals": 0, "upstream": "staging", "automatic": True, **rules}
    return policies.create_environment("follower", rank=5, by=site.cast.admin, policy=policy)
