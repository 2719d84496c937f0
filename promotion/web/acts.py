"""What people do beside deciding, on pages: break the glass and review it, hold versions and lift
holds. Every form stands on the page of a promotion, a version or an environment."""

from django.http import HttpResponse

from pipelines.errors import Invalid, SluiceError
from pipelines.web.doors import PageRequest, done, one, page, refusal, require_confirmed
from promotion import holding, overriding
from promotion.models import Environment, Hold, Verdict
from promotion.web import promotions, shapes, versions


# ---- Break-glass -------------------------------------------------------------------------------
@page("POST")
def override(request: PageRequest, promotion_id: int) -> HttpResponse:
    found = promotions.find_promotion(promotion_id)
    try:
        require_confirmed(request)
        scope = request.POST.getlist("gates")
        if not scope:
            # Without any the verb takes all, and here somebody has unticked each of them.
            raise Invalid("Choose at least one gate to override.")
        overriding.override(
            found,
            by=request.user,
            reason=request.POST.get("reason", ""),
            scope=scope,
            seen=request.POST.get("plan_digest") or None,
        )
    except SluiceError as error:
        return promotions.review_page(request, promotion_id, error)
    said = "You broke the glass. Everybody is shown it, and others will review it."
    return done(request, said, "promotion:promotion", promotion_id)


@page("POST")
def review(request: PageRequest, promotion_id: int) -> HttpResponse:
    found = promotions.find_promotion(promotion_id)
    verdict = request.POST.get("verdict", "")
    try:
        if verdict not in Verdict.values:
            raise Invalid("Say whether you would have done the same, or object.")
        overriding.review(
            found,
            by=request.user,
            verdict=Verdict(verdict),
            comment=request.POST.get("comment", ""),
        )
    except SluiceError as error:
        return promotions.review_page(request, promotion_id, error)
    return done(request, "Your review is recorded.", "promotion:promotion", promotion_id)


# ---- Holds -------------------------------------------------------------------------------------
@page("POST")
def hold(request: PageRequest, repository: str, package: str, version: str) -> HttpResponse:
    found = versions.find_version(repository, package, version)
    try:
        place = one(
            Environment.objects.all(),
            "Choose the environment in which it is held.",
            name=request.POST.get("environment", ""),
        )
        reason = request.POST.get("reason", "")
        holding.place_hold(place, found, by=request.user, reason=reason)
    except SluiceError as error:
        return versions.shown_version(request, found, refused=error)
    said = f"{found.name} is held back in {place.name}: automation does not place it there."
    return done(request, said, shapes.version_address(found))


@page("POST")
def lift(request: PageRequest, environment: str, hold_id: int) -> HttpResponse:
    found = one(
        Hold.objects.with_names(),
        f"There is no hold {hold_id} in {environment[:64]}.",
        pk=hold_id,
        environment__name=environment,
    )
    try:
        require_confirmed(request)
        holding.lift_hold(found, by=request.user)
    except SluiceError as error:
        return refusal(request, error)
    said = f"The hold on {found.version} was lifted."
    return done(request, said, "promotion:environment", environment)
