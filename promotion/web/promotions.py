"""Pages of promotions: the list, and the one screen on which people decide."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import HttpResponse
from django.shortcuts import render

from accounts.models import User
from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.paging import newest_first
from promotion import deciders, gathering, plans, promoting, rules, second_factor, turns
from promotion.gates import GateResult
from promotion.models import (
    Environment,
    Evidence,
    Hold,
    Promotion,
    PromotionState,
)
from promotion.web import shapes
from promotion.web.differences import differences
from promotion.web.glass import glass

P = PromotionState


@page("GET")
def promotion_list(request: PageRequest) -> HttpResponse:
    state, environment = request.GET.get("state", ""), request.GET.get("environment", "")
    rows = Promotion.objects.with_names()
    if state == "open":
        rows = rows.open()
    elif state:
        rows = rows.filter(state=state)
    if environment:
        rows = rows.filter(environment__name=environment)
    context = {
        "page": newest_first(request, rows, size=30),
        "states": [("open", "Open"), *P.choices],
        "state": state,
        "environments": Environment.objects.values_list("name", flat=True),
        "environment": environment,
        "may_request": rules.may(request.user, "promotion.request"),
    }
    return render(request, "promotion/promotion_list.html", context)


@page("GET")
def promotion(request: PageRequest, promotion_id: int) -> HttpResponse:
    return review_page(request, promotion_id)


@page("GET")
def progress(request: PageRequest, promotion_id: int) -> HttpResponse:
    """Whether the promotion has moved on; the page is loaded anew once it has."""
    found = find_promotion(promotion_id)
    response = render(
        request,
        "promotion/_promotion_progress.html",
        {
            "promotion": found,
            "progress": shapes.progress(found),
            "waits_for": turns.waits_for(found),
        },
    )
    if request.GET.get("seen") != found.state:
        response["HX-Refresh"] = "true"
    return response


@page("POST")
def approve(request: PageRequest, promotion_id: int) -> HttpResponse:
    found = find_promotion(promotion_id)
    plan, comment = request.POST.get("plan_digest", ""), request.POST.get("comment", "")
    try:
        promoting.approve(
            found, by=request.user, plan=plan, comment=comment, assertion=_assertion(request)
        )
    except SluiceError as error:
        return review_page(request, promotion_id, error)
    said = (
        "You approved. Every gate is open: it is being placed."
        if found.state != P.REQUESTED
        else "You approved. It still waits: its gates say for what."
    )
    return done(request, said, "promotion:promotion", promotion_id)


def _assertion(request: PageRequest) -> dict[str, str] | None:
    """What a passkey answered, if one was asked; the fields are empty without its script."""
    sent = {name: request.POST.get(f"passkey_{name}", "") for name in second_factor.ANSWERED}
    return sent if any(sent.values()) else None


@page("POST")
def reject(request: PageRequest, promotion_id: int) -> HttpResponse:
    found = find_promotion(promotion_id)
    plan, comment = request.POST.get("plan_digest", ""), request.POST.get("comment", "")
    try:
        promoting.reject(found, by=request.user, plan=plan, comment=comment)
    except SluiceError as error:
        return review_page(request, promotion_id, error)
    return done(request, "You rejected it. Nothing moves.", "promotion:promotion", promotion_id)


@page("POST")
def withdraw(request: PageRequest, promotion_id: int) -> HttpResponse:
    found = find_promotion(promotion_id)
    try:
        require_confirmed(request)
        promoting.withdraw(found, by=request.user)
    except SluiceError as error:
        return review_page(request, promotion_id, error)
    return done(request, "The request was withdrawn.", "promotion:promotion", promotion_id)


@page("POST")
def retry(request: PageRequest, promotion_id: int) -> HttpResponse:
    found = find_promotion(promotion_id)
    try:
        promoting.retry(found, by=request.user)
    except SluiceError as error:
        return review_page(request, promotion_id, error)
    return done(request, "It is tried again.", "promotion:promotion", promotion_id)


def _promotions() -> "QuerySet[Promotion]":
    evidence = Evidence.objects.whole()
    return (
        Promotion.objects.with_names()
        .select_related("environment__policy__environment", "override__by")
        .prefetch_related(
            "override__reviews__by",
            "approvals__by",
            "items__version__package__repository",
            "items__version__published_by",
            "items__version__image_look",
            Prefetch("items__version__evidence", queryset=evidence),
        )
    )


def find_promotion(promotion_id: int) -> Promotion:
    return one(_promotions(), f"There is no promotion {promotion_id}.", pk=promotion_id)


def review_page(
    request: PageRequest, promotion_id: int, refused: SluiceError | None = None
) -> HttpResponse:
    """The whole case on one screen, and the forms that this person may use on it."""
    found = find_promotion(promotion_id)
    state = P(found.state)
    requested = shapes.as_requested(found)
    # Until it is executed, what would happen is worked out anew and held against the request.
    live = plans.replan(found) if state in {P.REQUESTED, P.APPROVED} else None
    results: tuple[GateResult, ...] = ()
    if live is not None:
        results = gathering.current_gates(found, live)
        kept = [gate.as_json() for gate in results]
    else:
        kept = found.gates
    gates = shapes.kept_gates(kept)
    is_changed = live is not None and live.digest != found.plan_digest
    context: dict[str, Any] = {
        "promotion": found,
        "headline": shapes.headline(found),
        "changes": shapes.changes(requested),
        "differences": differences(requested, as_of=found.requested_at),
        "items": [
            (
                item,
                [shapes.evidence(each) for each in item.version.evidence.all()]
                + shapes.lacking(kept, item.version),
            )
            for item in found.items.all()
        ],
        "gates": gates,
        "open_gates": shapes.open_count(gates),
        "plan": shapes.plan_lines(requested),
        "copies": shapes.copies(requested),
        "progress": shapes.progress(found),
        "timeline": shapes.timeline(found),
        "changed": plans.what_changed(found, live) if is_changed and live else "",
        "is_moving": state in {P.APPROVED, P.EXECUTING},
        "may_retry": state in {P.FAILED, P.ERRORED} and rules.may(request.user, "promotion.retry"),
        "may_request": rules.may(request.user, "promotion.request"),
        "waits_for": turns.waits_for(found),
        "holds": Hold.objects.standing()
        .with_names()
        .filter(environment=found.environment, version__in=found.items.values("version")),
        "may_lift": rules.may(request.user, "hold.lift"),
        **glass(found, results, request.user),
        "may_withdraw": deciders.may_withdraw(found, by=request.user),
        **_decision(found, request.user),
    }
    return shown(request, "promotion/promotion.html", context, refused)


def _decision(promotion: Promotion, user: User) -> dict[str, Any]:
    """Whether this person may decide now; if not, why."""
    if promotion.state != P.REQUESTED:
        return {"may_decide": False, "why_not": "", "passkey": None}
    try:
        deciders.require_decider(promotion, by=user)
    except SluiceError as refusal:
        return {"may_decide": False, "why_not": refusal.detail, "passkey": None}
    return {"may_decide": True, "why_not": "", "passkey": _passkey(promotion, user)}


def _passkey(promotion: Promotion, user: User) -> dict[str, Any] | None:
    """What the form needs where a passkey must sign: whether one can, and what else to do."""
    if not second_factor.is_asked(promotion):
        return None
    return {
        "can": second_factor.can_sign(user),
        "what_to_do": second_factor.what_to_do(promotion, user),
        "answered": list(second_factor.ANSWERED),
    }
