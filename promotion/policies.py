"""Environments and their policies: create, revise."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from pipelines.canonical import canonical, digest
from pipelines.errors import Invalid, NameTaken, PreconditionFailed
from pipelines.flow.document import Problem
from pipelines.models.pipeline import check_slug
from promotion import rules
from promotion.gates import Rules
from promotion.ledger.append import About, append
from promotion.models import Environment, PolicyRevision

KNOWN = ("approvals", "self_approval", "upstream", "expires_after_days")


def create_environment(
    name: str,
    *,
    rank: int,
    by: User,
    description: str = "",
    policy: Mapping[str, Any] | None = None,
) -> Environment:
    """Make an environment with its first policy revision; without one, one approval is asked."""
    rules.require(by, "environment.manage")
    try:
        check_slug(name)
    except ValidationError as error:
        raise Invalid(f"“{name[:80]}” cannot name an environment. {error.message}") from error
    read = check_rules(policy or {}, name)
    try:
        with transaction.atomic():
            now = timezone.now()
            environment = Environment.objects.create(
                name=name, rank=rank, description=description, created_by=by, created_at=now
            )
            append(
                "environment.created",
                by=by,
                at=now,
                about=About(environment=name),
                data={"environment": name, "rank": rank},
            )
            _revise(environment, 1, read, by)
    except IntegrityError as error:
        raise NameTaken(f"There is an environment “{name}” already.") from error
    return environment


def set_policy(
    environment: Environment, value: Mapping[str, Any], *, by: User, expected: int | None = None
) -> PolicyRevision:
    """Make `value` the environment's policy. Open requests under the old one go stale.

    `expected` is the revision that the writer saw: when another came in between, nothing is saved.
    """
    rules.require(by, "environment.manage")
    read = check_rules(value, environment.name)
    with transaction.atomic():
        locked = Environment.objects.locked().get(pk=environment.pk)
        current = current_policy(locked)
        if expected is not None and expected != current.number:
            raise PreconditionFailed(
                f"{environment.name} is at policy {current.number} now, not {expected}. "
                "Load it again and redo your change.",
                current=current.number,
            )
        if rules_of(current) == read:
            return current
        revision = _revise(locked, current.number + 1, read, by)
    environment.refresh_from_db()
    return revision


def current_policy(environment: Environment) -> PolicyRevision:
    assert environment.policy is not None, "every environment is created with a policy"
    return environment.policy


def rules_of(policy: PolicyRevision) -> Rules:
    return Rules.read(json.loads(policy.rules))


def check_rules(value: Mapping[str, Any], environment: str) -> Rules:
    """Read a policy, with every problem at once, each with the path of the key at fault."""
    problems: list[Problem] = []

    def problem(path: str, code: str, message: str) -> None:
        problems.append(Problem(1, 1, path, code, "error", message))

    for key in sorted(set(value) - set(KNOWN)):
        problem(str(key), "unknown_key", f"A policy has no “{key}”. It has: {', '.join(KNOWN)}.")
    approvals = value.get("approvals", 1)
    if not isinstance(approvals, int) or isinstance(approvals, bool) or not 0 <= approvals <= 20:
        problem("approvals", "bad_value", "Give a whole number of approvals from 0 to 20.")
    self_approval = value.get("self_approval", False)
    if not isinstance(self_approval, bool):
        problem("self_approval", "bad_value", "Give true or false.")
    upstream = value.get("upstream")
    if upstream is not None:
        if upstream == environment:
            problem("upstream", "bad_value", "An environment cannot be its own upstream.")
        elif not Environment.objects.filter(name=str(upstream)).exists():
            problem("upstream", "unknown_environment", f"There is no environment “{upstream}”.")
    days = value.get("expires_after_days", 14)
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 365:
        problem("expires_after_days", "bad_value", "Give a whole number of days from 1 to 365.")
    if problems:
        raise Invalid("The policy has errors.", problems=problems)
    return Rules(approvals, self_approval, upstream, days)


def _revise(environment: Environment, number: int, read: Rules, by: User) -> PolicyRevision:
    text = canonical(read.as_json())
    now = timezone.now()
    revision = PolicyRevision.objects.create(
        environment=environment,
        number=number,
        rules=text.decode(),
        digest=digest(text),
        created_by=by,
        created_at=now,
    )
    environment.policy = revision
    environment.save(update_fields=["policy"])
    append(
        "policy.set",
        by=by,
        at=now,
        about=About(environment=environment.name),
        data={
            "environment": environment.name,
            "revision": number,
            "digest": revision.digest,
            "rules": read.as_json(),
        },
    )
    return revision
