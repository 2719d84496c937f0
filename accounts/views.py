"""One's own account. Everybody who is signed in may see it: here stands what they may do."""

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts import passkeys, tokens
from accounts.forms import PasskeyForm, TokenForm
from accounts.models import Passkey, Role, Token, User
from accounts.passkeys import PasskeyRefused
from accounts.relying import relying_party

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
    return _back()


@require_POST
@never_cache
def passkey_begin(request: HttpRequest) -> HttpResponse:
    """Answers a script with what the browser needs to make a key, or with what is wrong."""
    form = PasskeyForm(request.POST)
    if not form.is_valid():
        # Both fields are needed, and the browser has said so where it could.
        return JsonResponse({"detail": "Give the passkey a name, and your password."}, status=422)
    try:
        options = passkeys.begin(_user(request), session=request.session, **form.cleaned_data)
    except PasskeyRefused as refusal:
        return JsonResponse({"detail": str(refusal)}, status=403)
    return JsonResponse(options)


@require_POST
def passkey_finish(request: HttpRequest) -> HttpResponse:
    credential = request.POST.get("credential", "")
    try:
        if not credential:
            raise PasskeyRefused(
                "Adding a passkey needs a browser with scripts: it is the browser that makes it."
            )
        made = passkeys.finish(_user(request), credential, session=request.session)
    except PasskeyRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"“{made.name}” can sign your approvals from now on.")
    return _back()


@require_POST
def passkey_remove(request: HttpRequest, passkey_id: int) -> HttpResponse:
    password = request.POST.get("password", "")
    try:
        removed = passkeys.remove(_user(request), passkey_id, password=password)
    except PasskeyRefused as refusal:
        messages.error(request, str(refusal))
    else:
        if removed is None:
            raise Http404("There is no such passkey of yours.")
        messages.success(request, f"“{removed.name}” was removed. It signs nothing any more.")
    return _back()


@require_POST
def mail_set(request: HttpRequest) -> HttpResponse:
    """Whether notices come by e-mail, too."""
    user = _user(request)
    user.gets_mail = request.POST.get("gets_mail") == "yes"
    user.save(update_fields=["gets_mail"])
    said = "Notices are sent to you by e-mail, too." if user.gets_mail else "You get no e-mail."
    messages.success(request, said)
    return _back()


def _back() -> HttpResponse:
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
    party = relying_party()
    here = f"{request.scheme}://{request.get_host()}"
    context = {
        "passkeys": Passkey.objects.usable_by(user),
        "passkey_form": PasskeyForm(auto_id="passkey-%s"),
        "passkey_origin": party.origin if party else "",
        "is_passkey_origin": party is not None and party.origin == here,
        "roles": [(role.label, MEANING[role]) for role in Role if user.holds([role])],
        "tokens": Token.objects.filter(user=user),
        "form": form,
        "issued": issued,
        "secret": secret,
        "now": timezone.now(),
        "sends_mail": bool(settings.EMAIL_HOST),
    }
    return render(request, "accounts/account.html", context, status=status)
