"""Pages on which operators manage webhooks and see what became of deliveries."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.paging import newest_first
from promotion import rules, webhooks
from promotion.models import Delivery, DeliveryState, Letter, LetterState, Webhook
from promotion.web.forms import WebhookForm

#: How many letters that were given up are shown.
LETTERS = 20


@page("GET")
def webhook_list(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "webhook.manage")
    failed = Letter.objects.filter(state=LetterState.FAILED).select_related("notice__recipient")
    context = {
        "webhooks": Webhook.objects.defer("sealed"),
        "letters": failed[:LETTERS],
    }
    return render(request, "promotion/webhook_list.html", context)


@page("GET", "POST")
@never_cache
def webhook_new(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "webhook.manage")
    form = WebhookForm(request.POST or None)
    refused = None
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        try:
            webhook, secret = webhooks.create(
                written["name"], written["url"], types=written["types"].split(), by=request.user
            )
        except SluiceError as error:
            refused = error
        else:
            return _secret(request, webhook, secret)
    return shown(request, "promotion/webhook_new.html", {"form": form}, refused)


@page("GET")
def webhook(request: PageRequest, webhook: str) -> HttpResponse:
    return _webhook(request, _find(request, webhook))


@page("POST")
def webhook_test(request: PageRequest, webhook: str) -> HttpResponse:
    found = _find(request, webhook)
    try:
        webhooks.send_test(found, by=request.user)
    except SluiceError as error:
        return _webhook(request, found, error)
    said = "A test event is on its way. What became of it shows here."
    return done(request, said, "promotion:webhook", found.name)


@page("POST")
@never_cache
def webhook_rotate(request: PageRequest, webhook: str) -> HttpResponse:
    found = _find(request, webhook)
    try:
        require_confirmed(request)
    except SluiceError as error:
        return _webhook(request, found, error)
    return _secret(request, found, webhooks.rotate(found, by=request.user))


@page("POST")
def webhook_enable(request: PageRequest, webhook: str) -> HttpResponse:
    found = _find(request, webhook)
    try:
        webhooks.enable(found, by=request.user)
    except SluiceError as error:
        return _webhook(request, found, error)
    said = "It is told again, beginning with what waited."
    return done(request, said, "promotion:webhook", found.name)


@page("POST")
def webhook_remove(request: PageRequest, webhook: str) -> HttpResponse:
    found = _find(request, webhook)
    try:
        require_confirmed(request)
    except SluiceError as error:
        return _webhook(request, found, error)
    webhooks.remove(found, by=request.user)
    return done(request, f"The webhook {found.name} was removed.", "promotion:webhook_list")


@page("POST")
def webhook_redeliver(request: PageRequest, webhook: str, delivery_id: int) -> HttpResponse:
    found = _find(request, webhook)
    rows = Delivery.objects.select_related("webhook").filter(webhook=found)
    delivery = one(rows, f"{found.name} has no delivery {delivery_id}.", pk=delivery_id)
    try:
        webhooks.redeliver(delivery, by=request.user)
    except SluiceError as error:
        return _webhook(request, found, error)
    return done(request, "The event is sent once more.", "promotion:webhook", found.name)


def _find(request: PageRequest, name: str) -> Webhook:
    rules.require(request.user, "webhook.manage")
    return one(Webhook.objects.all(), f"There is no webhook “{name[:64]}”.", name=name)


def _webhook(
    request: PageRequest, found: Webhook, refused: SluiceError | None = None
) -> HttpResponse:
    context = {
        "webhook": found,
        "waiting": found.deliveries.filter(state=DeliveryState.WAITING).count(),
        "page": newest_first(request, found.deliveries.all(), size=30),
    }
    return shown(request, "promotion/webhook.html", context, refused)


def _secret(request: PageRequest, webhook: Webhook, secret: str) -> HttpResponse:
    """Answers with the secret itself, on this page only: it is stored encrypted, to sign with."""
    context = {"webhook": webhook, "secret": secret}
    return render(request, "promotion/webhook_secret.html", context)
