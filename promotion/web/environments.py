"""Pages of environments: what is where, now and then, and under which policy."""

import json
from datetime import datetime
from typing import Any

from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import render

from pipelines.web.doors import PageRequest, one, page
from pipelines.web.paging import newest_first
from promotion import policies, rules, targets, trying
from promotion.models import Environment, Hold, Placement, Promotion
from promotion.web import recalls
from promotion.web.forms import MomentForm
from promotion.web.glass import owed_reviews
from promotion.web.policy_words import in_words


@page("GET")
def environment_list(request: PageRequest) -> HttpResponse:
    environments = Environment.objects.select_related("policy").annotate(
        placed=Count("placements", filter=Q(placements__until__isnull=True))
    )
    context = {
        "rows": [
            (each, in_words(policies.rules_of(policies.current_policy(each))))
            for each in environments
        ],
        "may_manage": rules.may(request.user, "environment.manage"),
    }
    return render(request, "promotion/environment_list.html", context)


@page("GET")
def environment(request: PageRequest, environment: str) -> HttpResponse:
    found = find_environment(environment)
    policy = policies.current_policy(found)
    form = MomentForm(request.GET or None)
    asked: dict[str, datetime | None] = form.cleaned_data if form.is_valid() else {}
    known_at = asked.get("known_at")
    as_of = asked.get("as_of") or known_at
    there = Placement.objects.filter(environment=found).with_names()
    if as_of and known_at:
        there = there.at_as_known(as_of, known_at)
    else:
        there = there.at(as_of) if as_of else there.current()
    placements = list(
        there.select_related("promotion__requested_by").order_by(
            "package__repository__name", "package__name"
        )[:500]
    )
    may_request = rules.may(request.user, "promotion.request")
    history = Placement.objects.filter(environment=found).with_names()
    context: dict[str, Any] = {
        "environment": found,
        "policy": policy,
        "upstream": policies.rules_of(policy).upstream,
        "target": targets.of(found),
        "trial": trying.last_trial(found),
        "policy_words": in_words(policies.rules_of(policy)),
        "policy_json": json.dumps(json.loads(policy.rules), indent=2),
        "revisions": found.policy_revisions.select_related("created_by")[:20],
        "form": form,
        "as_of": as_of,
        "known_at": known_at,
        "placements": placements,
        "history": newest_first(request, history, size=20),
        "holds": Hold.objects.standing().with_names().filter(environment=found)[:50],
        "may_lift": rules.may(request.user, "hold.lift"),
        "owed": owed_reviews(found),
        "pending": Promotion.objects.open().filter(environment=found).with_names()[:20],
        "recalled": []
        if as_of
        else recalls.still_there(found, placements, may_request=may_request),
        "may_request": may_request,
        "may_manage": rules.may(request.user, "environment.manage"),
    }
    status = 422 if form.errors else 200
    return render(request, "promotion/environment.html", context, status=status)


def find_environment(name: str) -> Environment:
    return one(
        Environment.objects.with_names().select_related("policy__created_by", "created_by"),
        f"There is no environment “{name[:64]}”.",
        name=name,
    )
