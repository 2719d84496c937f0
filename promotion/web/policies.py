"""Pages on which operators make environments and say where their bytes live."""

from django.http import HttpResponse

from pipelines.errors import SluiceError
from pipelines.models import ServiceConnection
from pipelines.web.doors import PageRequest, done, page, require_confirmed, shown
from promotion import environments, policies, rules, targets, trying
from promotion.models import Environment, Promotion
from promotion.web.environments import find_environment
from promotion.web.forms import NewEnvironmentForm, TargetForm


@page("GET", "POST")
def environment_new(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "environment.manage")
    form = NewEnvironmentForm(request.POST or None)
    refused = None
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        try:
            made = policies.create_environment(
                written["name"],
                rank=written["rank"],
                description=written["description"],
                policy=form.rules,
                by=request.user,
            )
        except SluiceError as error:
            refused = error
        else:
            return done(
                request, f"{made.name} is ready for promotions.", "promotion:environment", made.name
            )
    return shown(request, "promotion/environment_new.html", {"form": form}, refused)


@page("GET", "POST")
def target(request: PageRequest, environment: str) -> HttpResponse:
    found = find_environment(environment)
    rules.require(request.user, "environment.manage")
    usable = list(ServiceConnection.objects.usable_by(request.user).order_by("name"))
    form = TargetForm(usable, found, request.POST or None)
    refused = None
    if request.method == "POST" and form.is_valid():
        try:
            require_confirmed(request)
            environments.set_target(found, by=request.user, **form.target)
        except SluiceError as error:
            refused = error
        else:
            return done(request, _said(found), "promotion:environment", found.name)
    context = {
        "environment": found,
        "form": form,
        "open_requests": Promotion.objects.open().filter(environment=found).count(),
        # Of those that this person may not use, the names alone are no secret: they are shown.
        "present": targets.of(found),
    }
    return shown(request, "promotion/target.html", context, refused)


@page("POST")
def try_target(request: PageRequest, environment: str) -> HttpResponse:
    found = find_environment(environment)
    trying.try_target(found, by=request.user)
    return done(request, "It was tried; see what came back.", "promotion:environment", found.name)


def _said(environment: Environment) -> str:
    if targets.of(environment).as_json():
        return f"What is placed in {environment.name} is copied there first from now on."
    return f"{environment.name} keeps no bytes of its own from now on."
