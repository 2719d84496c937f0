"""The page of a repository's retention: the rules, and what other rules would do, before it is."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse

from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from promotion import keeping, retention, usage
from promotion import rules as permissions
from promotion.models import Repository
from promotion.web.forms import RetentionForm

#: How many versions of each sort the dry run shows; all are counted.
SHOWN = 200


@page("GET", "POST")
def rules(request: PageRequest, repository: str) -> HttpResponse:
    """A POST tries rules out; only one that says so, and is confirmed, sets them."""
    found = one(
        Repository.objects.all(), f"There is no repository “{repository[:64]}”.", name=repository
    )
    present = retention.rules_of(found)
    is_post = request.method == "POST"
    form = RetentionForm(request.POST if is_post else None, initial=present.as_json())
    context: dict[str, Any] = {
        "repository": found,
        "in_words": keeping.in_words(present),
        "may_preview": permissions.may(request.user, "retention.preview"),
        "may_manage": permissions.may(request.user, "retention.manage"),
        "form": form,
    }
    refused: SluiceError | None = None
    if is_post:
        permissions.require(request.user, "retention.preview")
        if form.is_valid():
            try:
                if request.POST.get("act") == "save":
                    return _save(request, found, form)
            except SluiceError as error:
                refused = error
            planned = retention.preview(found, form.rules, by=request.user)
            context |= {"tried": form.rules, **_dry_run(form.rules, planned)}
    return shown(request, "promotion/retention.html", context, refused)


def _save(request: PageRequest, repository: Repository, form: RetentionForm) -> HttpResponse:
    permissions.require(request.user, "retention.manage")
    if not form.rules.keep_all:
        require_confirmed(request)
    retention.set_rules(repository, form.rules, by=request.user)
    said = (
        "Every version is kept."
        if form.rules.keep_all
        else "The rules hold. What they do not keep is pruned within the hour."
    )
    return done(request, said, "promotion:repository_retention", repository.name)


def _dry_run(rules: keeping.Rules, planned: Sequence[retention.Planned]) -> dict[str, Any]:
    doomed = [each for each in planned if not each.decision.keeps]
    kept = [each for each in planned if each.decision.keeps]
    return {
        "tried_in_words": keeping.in_words(rules),
        "doubts": retention.doubts(rules, planned),
        "rows": [*doomed[:SHOWN], *kept[:SHOWN]],
        "kept": len(kept),
        "pruned": len(doomed),
        "freed": usage.bytes_freed([each.version for each in doomed]),
        "left_off": len(planned) - len(doomed[:SHOWN]) - len(kept[:SHOWN]),
    }
