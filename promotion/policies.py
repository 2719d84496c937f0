"""Environments and their policies: create, revise."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from pipelines.canonical import canonical, digest
from pipelines.errors import Invalid, NameTaken, PreconditionFailed
from pipelines.flow.document import Problem
from pipelines.models.pipeline import check_slug
from promotion import documents, expressions, rules
from promotion.gates import Fault, Reading, Rules
from promotion.ledger.append import About, append
from promotion.models import Environment, PolicyRevision
from promotion.ranges import Range


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
    environment: Environment,
    value: Mapping[str, Any] | str,
    *,
    by: User,
    expected: int | None = None,
) -> PolicyRevision:
    """Make `value` the environment's policy, plain values or YAML. Open requests under the old one
    go stale.

    `expected` is the revision that the writer saw: when another came in between, nothing is saved.
    """
    rules.require(by, "environment.manage")
    read = (
        read_text(value, environment.name)
        if isinstance(value, str)
        else check_rules(value, environment.name)
    )
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


def check_rules(value: Mapping[str, Any], environment: str, text: str = "") -> Rules:
    """Read a policy, with every fault at once: where it came as YAML `text`, in its lines."""
    reading = Reading(value)
    faults = list(reading.faults)
    if reading.rules is not None:
        faults += _unknown(reading.rules, environment)
    if faults:
        raise Invalid("The policy has errors.", problems=_located(faults, text))
    assert reading.rules is not None, "what has no faults was read"
    return reading.rules


def read_text(text: str, environment: str) -> Rules:
    """The same of a policy in YAML."""
    try:
        value = documents.read_mapping(text, what="a policy")
    except documents.Unreadable as unreadable:
        raise Invalid("The policy has errors.", problems=unreadable.problems) from unreadable
    return check_rules(value, environment, text)


def written(policy: PolicyRevision) -> str:
    """A revision as YAML, as somebody would write it, and which it is."""
    head = f"# Policy {policy.number} of {policy.environment.name}, {policy.digest}\n"
    return head + text_of(policy)


def text_of(policy: PolicyRevision) -> str:
    """Its rules alone, in the order of the language, not of the alphabet."""
    return documents.write_mapping(rules_of(policy).as_json())


def _unknown(read: Rules, environment: str) -> Iterator[Fault]:
    """What a policy names and there is not."""
    if read.upstream == environment:
        yield Fault("upstream", "bad_value", "An environment cannot be its own upstream.")
    elif read.upstream and not Environment.objects.filter(name=read.upstream).exists():
        said = f"There is no environment “{read.upstream[:80]}”."
        yield Fault("upstream", "unknown_environment", said)
    named = {
        "approvers.groups": read.approvers.groups,
        "approvers.one_from_each": read.approvers.one_from_each,
        "may_request": read.may_request,
        "may_roll_back": read.may_roll_back,
        "override.groups": read.override.groups,
    }
    wanted = {name for names in named.values() for name in names}
    known = set(Group.objects.filter(name__in=wanted).values_list("name", flat=True))
    for path, names in named.items():
        for number, name in enumerate(names):
            if name not in known:
                said = f"There is no group “{name[:80]}”. Operators make groups in the admin."
                yield Fault(f"{path}[{number}]", "unknown_group", said)
    if read.versions.range:
        try:
            # A range that contradicts itself is found out only once a version is held against it.
            Range(read.versions.range).refusal("1.0.0")
        except Invalid as invalid:
            yield Fault("versions.range", "bad_value", invalid.detail)
    for name, said in expressions.faults(read.custom).items():
        number = [each.name for each in read.custom].index(name)
        yield Fault(f"custom[{number}].expression", "bad_expression", said)


def _located(faults: Iterable[Fault], text: str) -> list[Problem]:
    places = documents.places(text) if text else None
    problems = []
    for fault in faults:
        line, column = places(fault.path) if places else (1, 1)
        problems.append(Problem(line, column, fault.path, fault.code, "error", fault.message))
    return problems


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
