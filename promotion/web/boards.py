"""What is where, and what waits for whom."""

from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from pipelines.models import Pipeline
from pipelines.web.doors import PageRequest, page
from pipelines.web.paging import in_order
from promotion import deciders, diffs, overriding, policies, recalling, rules
from promotion.models import (
    Environment,
    Package,
    Placement,
    Promotion,
    PromotionItem,
    PromotionState,
    Repository,
    Version,
    VersionState,
)
from promotion.ranges import is_newer
from promotion.web import recalls, shapes
from promotion.web.glass import owed_reviews

#: What is there now, by package and environment.
Placed = dict[tuple[int, int], Placement]

PACKAGES_PER_PAGE = 100
#: For how long a failed promotion of one's own is still worth a line.
STILL_NEWS = timedelta(days=7)


@page("GET")
def board(request: PageRequest) -> HttpResponse:
    repository = request.GET.get("repository", "")
    packages = Package.objects.select_related("repository").order_by("repository__name", "name")
    if repository:
        packages = packages.filter(repository__name=repository)
    listed = in_order(request, packages, size=PACKAGES_PER_PAGE)
    environments = list(Environment.objects.with_names())
    placed = _placed(list(listed.rows))
    context: dict[str, Any] = {
        "page": listed,
        "environments": [(each, _lags_behind(each, environments, placed)) for each in environments],
        "rows": _rows(list(listed.rows), environments, placed),
        "repositories": Repository.objects.values_list("name", flat=True),
        "repository": repository,
        "owed": owed_reviews(),
        "may_request": rules.may(request.user, "promotion.request"),
    }
    if not listed.rows or not environments:
        context["first"] = _first_steps(request, bool(environments))
    return render(request, "promotion/board.html", context)


def _placed(packages: list[Package]) -> Placed:
    return {
        (placement.package_id, placement.environment_id): placement
        for placement in Placement.objects.current()
        .filter(package__in=packages)
        .select_related("version__replacement")
    }


def _lags_behind(environment: Environment, others: list[Environment], placed: Placed) -> str:
    """The name of the environment before it, where that has what this one lacks; or nothing."""
    upstream = policies.rules_of(policies.current_policy(environment)).upstream
    before = next((each.pk for each in others if each.name == upstream), None)
    for (package, place), placement in placed.items():
        here = placed.get((package, environment.pk))
        if place == before and (here is None or here.version_id != placement.version_id):
            return upstream or ""
    return ""


def _rows(
    packages: list[Package], environments: list[Environment], placed: Placed
) -> list[dict[str, Any]]:
    keys = [package.pk for package in packages]
    pending = {
        (item.package_id, item.promotion.environment_id): item
        for item in PromotionItem.objects.filter(
            package__in=keys, promotion__in=Promotion.objects.open()
        ).select_related("promotion", "version")
    }
    rows = []
    for package in packages:
        cells = []
        upstream: Placement | None = None
        for environment in environments:
            placement = placed.get((package.pk, environment.pk))
            item = pending.get((package.pk, environment.pk))
            cells.append(_cell(package, placement, item, upstream))
            upstream = placement or upstream
        rows.append({"package": package, "cells": cells})
    return rows


def _cell(
    package: Package,
    placement: Placement | None,
    item: PromotionItem | None,
    upstream: Placement | None,
) -> dict[str, Any]:
    cell: dict[str, Any] = {}
    if placement is not None:
        version = placement.version
        names = [package.repository.name, package.name, version.name]
        cell = {
            "version": version.name,
            "url": reverse("promotion:version", args=names),
            "since": placement.since,
            **_recalled(package, version),
            "behind": upstream is not None and is_newer(upstream.version.name, version.name),
        }
    if item is not None:
        cell |= {
            "pending": item.version.name,
            "pending_state": item.promotion.state,
            "pending_url": reverse("promotion:promotion", args=[item.promotion_id]),
        }
    return cell


def _recalled(package: Package, version: Version) -> dict[str, str]:
    """That it was recalled, and what is to be placed instead."""
    if version.state != VersionState.RECALLED:
        return {"state": ""}
    if version.replacement is None:
        return {"state": "recalled"}
    instead = version.replacement.name
    names = [package.repository.name, package.name, instead]
    return {
        "state": "recalled",
        "instead": instead,
        "instead_url": reverse("promotion:version", args=names),
    }


def _first_steps(request: PageRequest, has_environments: bool) -> dict[str, str]:
    """What to do first where the board has nothing to show."""
    if not has_environments:
        step = {
            "title": "No environments yet",
            "text": "An environment is an ordered place to promote to, such as staging or "
            "production, with a policy that says what it takes.",
        }
        if rules.may(request.user, "environment.manage"):
            return step | {
                "url": reverse("promotion:environment_new"),
                "url_label": "Create an environment",
            }
        return step | {"text": f"{step['text']} An operator creates it."}
    if not Pipeline.objects.exists():
        return {
            "title": "Nothing has been built yet",
            "text": "Write a pipeline and run it; publish what it makes as a version; "
            "then promote the version. It shows here.",
            "url": reverse("pipelines:pipeline_list"),
            "url_label": "Go to the pipelines",
        }
    return {
        "title": "No packages here yet",
        "text": "A package appears when an artifact of a succeeded run is published as its first "
        "version. Open a run, choose an artifact and publish it.",
        "url": reverse("pipelines:pipeline_list"),
        "url_label": "Find a run",
    }


@page("GET")
def inbox(request: PageRequest) -> HttpResponse:
    may_decide = rules.may(request.user, "promotion.decide")
    promotions = Promotion.objects.with_names()
    waiting = (
        deciders.awaiting(request.user).with_names().order_by("pk")[:100] if may_decide else []
    )
    own = promotions.filter(requested_by=request.user)
    open_states = [PromotionState.REQUESTED, PromotionState.APPROVED, PromotionState.EXECUTING]
    context = {
        "may_decide": may_decide,
        "may_request": rules.may(request.user, "promotion.request"),
        "waiting": [_case(promotion) for promotion in waiting],
        "owed": [
            each for each in owed_reviews() if overriding.may_review(each["row"], by=request.user)
        ],
        "recalled": [
            recalls.case(each, request.user)
            for each in recalling.to_acknowledge(request.user)[:100]
        ],
        "own": [_case(each) for each in own.filter(state__in=open_states)[:100]],
        "stuck": [
            _case(each)
            for each in own.filter(
                state__in=[PromotionState.FAILED, PromotionState.ERRORED],
                finished_at__gte=timezone.now() - STILL_NEWS,
            )[:20]
        ],
    }
    return render(request, "promotion/inbox.html", context)


def _case(promotion: Promotion) -> dict[str, Any]:
    return {
        "promotion": promotion,
        "headline": shapes.headline(promotion),
        "items": [
            (item, diffs.kind_of_change(item.version, item.replaces, promotion.kind))
            for item in promotion.items.all()
        ],
    }
