"""What every page shares: who may come in, how a refusal is shown, where one goes afterwards."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.http import require_http_methods
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from pipelines import rules
from pipelines.api.problems import status_of
from pipelines.errors import Busy, Invalid, NotFound, SluiceError

Given = ParamSpec("Given")
Row = TypeVar("Row", bound=Model)


class PageRequest(HttpRequest):
    """A request that passed the login and came with a user of ours."""

    user: User
    htmx: HtmxDetails


View = Callable[Concatenate[PageRequest, Given], HttpResponseBase]
Door = Callable[Concatenate[HttpRequest, Given], HttpResponseBase]


def page(*methods: str) -> Callable[[View[Given]], Door[Given]]:
    """A page for people with a role. What a view lets through of refusals becomes a page too.

    Views catch only the refusals that they can show beside the form that caused them.
    """
    allowed = [*methods, "HEAD"] if "GET" in methods else list(methods)

    def decorate(view: View[Given]) -> Door[Given]:
        @wraps(view)
        def door(
            request: HttpRequest, *args: Given.args, **kwargs: Given.kwargs
        ) -> HttpResponseBase:
            # The login middleware has seen to the user, and htmx's to the other field.
            arrived = cast(PageRequest, request)
            try:
                rules.require(arrived.user, "view")
                _refuse_nul(arrived)
                return view(arrived, *args, **kwargs)
            except SluiceError as error:
                return refusal(request, error)

        return cast("Door[Given]", require_http_methods(allowed)(door))

    return decorate


def _refuse_nul(request: HttpRequest) -> None:
    """PostgreSQL holds no NUL in a text, so no name, filter or comment may bring one along."""
    sent = [each for query in (request.GET, request.POST) for _, each in query.lists()]
    if "\x00" in request.path or any("\x00" in text for texts in sent for text in texts):
        raise Invalid("The request has a NUL character, which no text here can hold.")


def refusal(request: HttpRequest, error: SluiceError) -> HttpResponse:
    """A page that says what was refused and why, with the status that the API would answer."""
    response = render(request, "refused.html", {"error": error}, status=status_of(error))
    if isinstance(error, Busy):
        response["Retry-After"] = str(error.retry_after)
    return response


def shown(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    refused: SluiceError | None = None,
) -> HttpResponse:
    """The page, with the refusal that brought a person back to it: the verb's, or the form's."""
    form = context.get("form")
    status = 422 if isinstance(form, BaseForm) and form.errors else 200
    if refused:
        status = status_of(refused)
    return render(request, template, {**context, "refused": refused}, status=status)


class SeeOther(HttpResponseRedirect):
    """What follows a POST is another address to GET."""

    status_code = 303


def done(request: HttpRequest, said: str, to: Any, *args: Any) -> HttpResponse:
    """Say what was done and go to the page that shows it."""
    messages.success(request, said)
    return SeeOther(resolve_url(to, *args))


def one(rows: "QuerySet[Row]", missing: str, **by: Any) -> Row:
    """The one row that an address names, or a refusal that says what is missing."""
    row = rows.filter(**by).first()
    if row is None:
        raise NotFound(missing)
    return row


def require_confirmed(request: HttpRequest) -> None:
    """Forms that ask before they act send what was answered; without it nobody was asked."""
    if request.POST.get("confirmed") != "yes":
        raise Invalid("Confirm it first: this cannot be taken back.")
