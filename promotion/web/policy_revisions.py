"""Pages of a policy's revisions: who set which when, what each changed, and its YAML."""

from django.http import HttpResponse
from django.shortcuts import render

from pipelines.flow.difference import compare_texts
from pipelines.web.doors import PageRequest, one, page
from pipelines.web.paging import newest_first
from promotion import policies
from promotion.models import PolicyRevision
from promotion.web.environments import find_environment
from promotion.web.policy_editor import tabs_for
from promotion.web.policy_words import in_words


@page("GET")
def revision_list(request: PageRequest, environment: str) -> HttpResponse:
    found = find_environment(environment)
    rows = found.policy_revisions.select_related("created_by")
    context = {
        "environment": found,
        "page": newest_first(request, rows, size=50),
        "tabs": tabs_for(request, found),
    }
    return render(request, "promotion/policy_revision_list.html", context)


@page("GET")
def revision(request: PageRequest, environment: str, number: int) -> HttpResponse:
    found = _revision(environment, number)
    before = found.environment.policy_revisions.filter(number=number - 1).first()
    context = {
        "environment": found.environment,
        "revision": found,
        "in_words": in_words(policies.rules_of(found)),
        "text": policies.written(found),
        "difference": compare_texts(policies.text_of(before), policies.text_of(found))
        if before
        else None,
    }
    return render(request, "promotion/policy_revision.html", context)


@page("GET")
def download(request: PageRequest, environment: str, number: int) -> HttpResponse:
    found = _revision(environment, number)
    answer = HttpResponse(policies.written(found), content_type="text/yaml; charset=utf-8")
    # Both come from us: a name of an environment is a slug.
    name = f"{found.environment.name}-policy-{number}.yaml"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _revision(environment: str, number: int) -> PolicyRevision:
    return one(
        PolicyRevision.objects.select_related("environment", "created_by"),
        f"There is no policy {number} of “{environment[:64]}”.",
        environment__name=environment,
        number=number,
    )
