"""The page of a version: its bytes, where they come from, where they are, and its recall."""

from typing import Any

from django.http import HttpResponse

from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.files import files_shown
from promotion import images, recalling, rules
from promotion.models import Environment, Hold, Placement, Promotion, Version, VersionState
from promotion.web import files, recalls, shapes
from promotion.web.forms import RecallForm


@page("GET")
def version(request: PageRequest, repository: str, package: str, version: str) -> HttpResponse:
    return shown_version(request, find_version(repository, package, version))


@page("POST")
def look(request: PageRequest, repository: str, package: str, version: str) -> HttpResponse:
    found = find_version(repository, package, version)
    try:
        seen = images.look_for_drift(found, by=request.user)
    except SluiceError as error:
        return shown_version(request, found, refused=error)
    said = f"The registry was asked: {seen.get_state_display().lower()}."
    return done(request, said, shapes.version_address(found))


@page("POST")
def recall(request: PageRequest, repository: str, package: str, version: str) -> HttpResponse:
    found = find_version(repository, package, version)
    form = RecallForm(found, request.POST)
    refused: SluiceError | None = None
    if form.is_valid():
        try:
            require_confirmed(request)
            recalling.recall(
                found,
                by=request.user,
                reason=form.cleaned_data["reason"],
                replacement=form.cleaned_data["replacement"],
            )
        except SluiceError as error:
            refused = error
        else:
            return done(
                request,
                f"{found.name} was recalled. Nobody can promote or select it any more.",
                shapes.version_address(found),
            )
    else:
        rules.require(request.user, "version.recall")
    response = shown_version(request, find_version(repository, package, version), form, refused)
    if refused is None:
        response.status_code = 422
    return response


def find_version(repository: str, package: str, name: str) -> Version:
    return one(
        Version.objects.with_names().select_related(
            "bundle", "replacement", "recalled_by", "artifact", "image_details", "image_look"
        ),
        f"There is no version {repository[:64]}/{package[:64]} {name[:128]}.",
        package__repository__name=repository,
        package__name=package,
        name=name,
    )


def shown_version(
    request: PageRequest,
    version: Version,
    form: RecallForm | None = None,
    refused: SluiceError | None = None,
) -> HttpResponse:
    is_published = version.state == VersionState.PUBLISHED
    has_bytes = version.pruned_at is None
    may_recall = is_published and rules.may(request.user, "version.recall")
    evidence = version.evidence.whole()
    context: dict[str, Any] = {
        "version": version,
        "title": f"{version.package.name} {version.name}",
        "package": version.package,
        "repository": version.package.repository,
        "shown": files_shown(
            request,
            version.files.all(),
            files.address_in(version),
            files.download_of(version),
            has_bytes=has_bytes,
        ),
        "evidence": [shapes.evidence(each) for each in evidence],
        "placements": Placement.objects.filter(version=version)
        .select_related("environment", "promotion")
        .order_by("-since", "-pk")[:50],
        "promotions": Promotion.objects.filter(items__version=version)
        .select_related("environment", "requested_by")
        .order_by("-pk")[:20],
        "selections": version.selections.select_related("by", "environment")[:50],
        "may_request": is_published and has_bytes and rules.may(request.user, "promotion.request"),
        "environments": Environment.objects.all(),
        "concerned": None if is_published else recalls.concerned(version, request.user),
        "holds": Hold.objects.standing().with_names().filter(version=version),
        "may_hold": rules.may(request.user, "hold.place"),
        "may_lift": rules.may(request.user, "hold.lift"),
        "image": shapes.image(version) if version.image else None,
        "may_look": rules.may(request.user, "image.look"),
        "may_recall": may_recall,
        "recall_form": (form or RecallForm(version)) if may_recall else None,
    }
    return shown(request, "promotion/version.html", context, refused)
