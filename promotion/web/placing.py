"""Pages on which a promotion is prepared: see the plan, then request exactly that plan."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse

from accounts.models import User
from pipelines.errors import Invalid, SluiceError
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from promotion import deciders, gates, gathering, plans, promoting, rules, trains
from promotion.models import (
    Environment,
    Package,
    Placement,
    PromotionKind,
    Version,
    VersionState,
)
from promotion.policies import current_policy
from promotion.web import choosing, shapes
from promotion.web.differences import differences
from promotion.web.environments import find_environment


@page("GET", "POST")
def promotion_new(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "promotion.request")
    given = request.POST if request.method == "POST" else request.GET
    environment = Environment.objects.with_names().filter(name=given.get("environment", "")).first()
    versions = choosing.named(given)
    preset = choosing.preset(given, environment)
    if preset is not None:
        versions = list({each.pk: each for each in (*preset.versions, *versions)}.values())
    refused: SluiceError | None = None
    if request.method == "POST":
        try:
            if environment is None:
                raise Invalid("Choose the environment to promote to.")
            emergency = given.get("emergency") == "yes"
            if emergency:
                require_confirmed(request)
            promotion = promoting.request(
                environment,
                versions,
                by=request.user,
                comment=given.get("comment", ""),
                seen=given.get("plan_digest") or None,
                emergency=emergency,
            )
        except SluiceError as error:
            refused = error
        else:
            return done(
                request,
                "The promotion is requested.",
                "promotion:promotion",
                promotion.pk,
            )
    context = {
        "environment": environment,
        "environments": Environment.objects.all(),
        "chosen": versions,
        "comment": given.get("comment", ""),
        "preset": preset,
        "upstream": trains.upstream_of(environment) if environment else None,
        **choosing.choices(given, environment, versions),
    }
    if environment is not None and versions:
        context |= preview(request, environment, versions, PromotionKind.PROMOTION)
    return shown(request, "promotion/promotion_new.html", context, refused)


def preview(
    request: PageRequest, environment: Environment, versions: Sequence[Version], kind: str
) -> dict[str, Any]:
    """What the plan of `versions` would change, and whether it may be requested."""
    try:
        planned = plans.plan(environment, versions, kind=kind)
    except SluiceError as error:
        return {"cannot": error.detail}
    results = gathering.preview_gates(planned, by=request.user)
    changes = shapes.changes(planned)
    shown_gates = shapes.gates(results)
    return {
        "planned": planned,
        "changes": changes,
        "differences": differences(planned),
        "gates": shown_gates,
        "open_gates": shapes.open_count(shown_gates),
        "plan": shapes.plan_lines(planned),
        "copies": shapes.copies(planned),
        "cannot": _obstacle(environment, planned, results),
        "may_break": _may_break(environment, planned, results, request.user),
    }


def _may_break(
    environment: Environment, planned: plans.Plan, results: Sequence[gates.GateResult], user: User
) -> bool:
    """Whether only closed gates are in the way, and this person may override them."""
    refused = gates.refused(results)
    is_there = any(replaced and replaced.pk == version.pk for version, replaced in planned.items)
    if not refused or is_there or any(gate.name in gates.UNBREAKABLE for gate in refused):
        return False
    return deciders.may_override(current_policy(environment), by=user)


def _obstacle(
    environment: Environment, planned: plans.Plan, results: Sequence[gates.GateResult]
) -> str:
    """Why the request would be refused, or nothing. The verb asks again."""
    for version, replaced in planned.items:
        if version.state == VersionState.RECALLED:
            return f"{version} was recalled: {version.recall_reason}"
        if version.pruned_at is not None:
            return f"{version} was pruned: {version.pruned_reason}"
        if replaced is not None and replaced.pk == version.pk:
            return f"{version} is in {environment.name} already."
    return " ".join(gate.reason for gate in gates.refused(results))


@page("GET", "POST")
def roll_back(
    request: PageRequest, environment: str, repository: str, package: str
) -> HttpResponse:
    """Choose an earlier version, see what placing it again would change, and request that."""
    rules.require(request.user, "promotion.request")
    place = find_environment(environment)
    found = one(
        Package.objects.select_related("repository"),
        f"There is no package {repository[:64]}/{package[:64]}.",
        repository__name=repository,
        name=package,
    )
    given = request.POST if request.method == "POST" else request.GET
    refused: SluiceError | None = None
    target: Version | None = None
    try:
        target = plans.earlier_version(place, found, to=_wanted(found, given.get("to", "")))
        if request.method == "POST":
            require_confirmed(request)
            promotion = promoting.roll_back(
                place,
                found,
                by=request.user,
                to=target,
                comment=given.get("comment", ""),
                seen=given.get("plan_digest") or None,
            )
            return done(request, "The rollback is requested.", "promotion:promotion", promotion.pk)
    except SluiceError as error:
        refused = error
    context: dict[str, Any] = {
        "environment": place,
        "package": found,
        "target": target,
        "title": f"Roll back {found.name} in {place.name}",
        "earlier": earlier_versions(place, found),
        "comment": given.get("comment", ""),
    }
    if target is not None:
        context |= preview(request, place, [target], PromotionKind.ROLLBACK)
    return shown(request, "promotion/roll_back.html", context, refused)


def _wanted(package: Package, name: str) -> Version | None:
    if not name:
        return None
    missing = f"{package} has no version “{name[:128]}”."
    return one(package.versions.with_names(), missing, name=name)


def earlier_versions(environment: Environment, package: Package) -> list[Version]:
    """What has been in the environment of the package and could be there again, latest first."""
    placed = (
        Placement.objects.filter(environment=environment, package=package)
        .select_related("version")
        .order_by("-since", "-pk")[:100]
    )
    current = {placement.version_id for placement in placed if placement.until is None}
    found = {
        placement.version_id: placement.version
        for placement in placed
        if placement.version_id not in current
        and placement.version.state == VersionState.PUBLISHED
        and placement.version.pruned_at is None
    }
    return list(found.values())
