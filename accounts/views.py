"""One's own account. Everybody who is signed in may see it: here stands what they may do."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts import tokens
from accounts.forms import TokenForm
from accounts.models import Role, Token, User

MEANING = {
    Role.DEVELOPER: "Writes pipelines, starts runs, publishes versions, requests promotions.",
    Role.RELEASE_MANAGER: "Decides on promotions, publishes and recalls versions.",
    Role.AUDITOR: "Sees everything and the history; changes nothing.",
    Role.DEPLOYER: "Starts runs and selects versions for deployment.",
    Role.OPERATOR: "Manages environments, their policies, repositories and pipelines.",
}


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    return _account(request, TokenForm())


@require_POST
@never_cache
def token_issue(request: HttpRequest) -> HttpResponse:
    """Answers with the token itself, on this page only: it is stored as a hash alone."""
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _account(request, form, status=422)
    token, secret = tokens.issue(_user(request), name=form.cleaned_data["name"])
    return _account(request, TokenForm(), issued=token, secret=secret)


@require_POST
def token_revoke(request: HttpRequest, token_key: str) -> HttpResponse:
    if request.POST.get("confirmed") != "yes":
        messages.error(request, "Confirm it first: a revoked token cannot be brought back.")
    elif tokens.revoke(_user(request), token_key):
        messages.success(request, "The token was revoked. Whoever uses it is refused from now on.")
    else:
        raise Http404("There is no such token of yours.")
    response = HttpResponseRedirect(reverse("accounts:account"))
    response.status_code = 303
    return response


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User), "the login is required on every page"
    return request.user


def _account(
    request: HttpRequest,
    form: TokenForm,
    *,
    issued: Token | None = None,
    secret: str = "",
    status: int = 200,
) -> HttpResponse:
    user = _user(request)
    context = {
        "roles": [(role.label, MEANING[role]) for role in Role if user.holds([role])],
        "tokens": Token.objects.filter(user=user),
        "form": form,
        "issued": issued,
        "secret": secret,
        "now": timezone.now(),
    }
    return render(request, "accounts/account.html", context, status=status)
