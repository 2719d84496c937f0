"""Recalls on the pages: whom one concerns, who knows, and what is to be placed instead."""

import json
from collections.abc import Iterable
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from accounts.models import User
from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, one, page, refusal
from promotion import recalling
from promotion.models import Affected, Environment, Placement, Version, VersionState
from promotion.web import shapes

MAX_LISTED = 200


@page("POST")
def acknowledge(
    request: PageRequest, repository: str, package: str, version: str, affected_id: int
) -> HttpResponse:
    listed = one(
        Affected.objects.with_names(),
        f"The recall of {repository[:64]}/{package[:64]} {version[:128]} has no notice "
        f"{affected_id}.",
        pk=affected_id,
        version__package__repository__name=repository,
        version__package__name=package,
        version__name=version,
    )
    try:
        known = recalling.acknowledge(listed, by=request.user, note=request.POST.get("note", ""))
    except SluiceError as error:
        return refusal(request, error)
    whom = "You have" if known.owner_id == request.user.pk else f"For {known.owner.username} you"
    said = f"{whom} acknowledged the recall of {known.version.name}."
    return done(request, said, f"{shapes.version_address(known.version)}#affected")


def concerned(version: Version, user: User) -> dict[str, Any]:
    """The list on the page of a recalled version, those who do not know yet first."""
    rows = Affected.objects.with_names().filter(version=version)
    return {
        "progress": recalling.progress(version),
        "rows": [case(each, user) for each in rows.order_by("acknowledged_at", "pk")[:MAX_LISTED]],
    }


def case(affected: Affected, user: User) -> dict[str, Any]:
    told = json.loads(affected.uses)
    return {
        "affected": affected,
        "uses": [{**use, "at": parse_datetime(use["at"])} for use in told["uses"]],
        "more": told["more"],
        "may_acknowledge": recalling.may_acknowledge(affected, by=user),
    }


def still_there(
    environment: Environment, placements: Iterable[Placement], *, may_request: bool
) -> list[dict[str, Any]]:
    """The recalled ones among what is placed, each with the way to its replacement."""
    form = reverse("promotion:promotion_new")
    found = []
    for placement in placements:
        version = placement.version
        if version.state != VersionState.RECALLED:
            continue
        instead = version.replacement
        usable = instead is not None and instead.state == VersionState.PUBLISHED
        wanted = f"?environment={environment.name}&version={instead.pk}" if instead else ""
        found.append(
            {
                "placement": placement,
                "replacement": instead,
                "url": f"{form}{wanted}" if usable and may_request else "",
            }
        )
    return found
