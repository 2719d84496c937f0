"""Pages on which operators make environments and set their policies."""

from django.http import HttpResponse

from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, page, shown
from promotion import policies, rules
from promotion.web.environments import find_environment
from promotion.web.forms import NewEnvironmentForm, PolicyForm


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
def policy(request: PageRequest, environment: str) -> HttpResponse:
    found = find_environment(environment)
    rules.require(request.user, "environment.manage")
    current = policies.current_policy(found)
    form = PolicyForm(request.POST or None, rules=policies.rules_of(current), besides=found.name)
    refused = None
    if request.method == "POST" and form.is_valid():
        try:
            revision = policies.set_policy(found, form.rules, by=request.user)
        except SluiceError as error:
            refused = error
        else:
            said = (
                "The policy is the same: nothing was saved."
                if revision.pk == current.pk
                else f"Policy revision {revision.number} holds from now on."
            )
            return done(request, said, "promotion:environment", found.name)
    context = {"environment": found, "policy": current, "form": form}
    return shown(request, "promotion/policy.html", context, refused)
