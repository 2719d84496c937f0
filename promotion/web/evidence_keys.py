"""The page of the keys that evidence is checked with."""

from typing import Any

from django.http import HttpResponse

from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from promotion import rules
from promotion.evidence import keys
from promotion.models import EvidenceKey
from promotion.web.forms import EvidenceKeyForm


@page("GET", "POST")
def key_list(request: PageRequest) -> HttpResponse:
    """Everybody sees whom the site trusts; a POST adds a key."""
    is_post = request.method == "POST"
    form = EvidenceKeyForm(request.POST if is_post else None)
    refused: SluiceError | None = None
    if is_post:
        rules.require(request.user, "evidence_key.manage")
        if form.is_valid():
            try:
                added = keys.add_key(**form.cleaned_data, by=request.user)
            except SluiceError as error:
                refused = error
            else:
                said = f"What the key {added.name} signs is verified from now on."
                return done(request, said, "promotion:evidence_keys")
    return _shown(request, form, refused)


@page("POST")
def revoke(request: PageRequest, name: str) -> HttpResponse:
    found = one(EvidenceKey.objects.all(), f"There is no evidence key “{name[:64]}”.", name=name)
    try:
        rules.require(request.user, "evidence_key.manage")
        require_confirmed(request)
        keys.revoke_key(found, by=request.user, reason=request.POST.get("reason", ""))
    except SluiceError as error:
        return _shown(request, EvidenceKeyForm(), error)
    said = f"The key {found.name} is trusted no longer. What it alone has signed is a claim again."
    return done(request, said, "promotion:evidence_keys")


def _shown(
    request: PageRequest, form: EvidenceKeyForm, refused: SluiceError | None
) -> HttpResponse:
    context: dict[str, Any] = {
        "keys": EvidenceKey.objects.select_related("added_by", "revoked_by"),
        "may_manage": rules.may(request.user, "evidence_key.manage"),
        "form": form,
    }
    return shown(request, "promotion/evidence_keys.html", context, refused)
