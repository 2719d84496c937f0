"""The page on which the registry of a repository is set."""

from django.http import HttpResponse

from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, one, page, shown
from promotion import registries, rules, trying
from promotion.models import Repository
from promotion.web.forms import RegistryForm


@page("GET", "POST")
def registry(request: PageRequest, repository: str) -> HttpResponse:
    rules.require(request.user, "repository.create")
    found = one(
        Repository.objects.select_related("connection", "bound_by"),
        f"There is no repository “{repository[:64]}”.",
        name=repository,
    )
    present = {"registry": found.registry, "connection": found.connection}
    form = RegistryForm(request.user, request.POST or None, initial=present)
    refused = None
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        try:
            connection = registries.named_connection(written["connection"], by=request.user)
            registries.set_registry(
                found, written["registry"], by=request.user, connection=connection
            )
        except SluiceError as error:
            refused = error
        else:
            said = f"The registry of {found.name} is set."
            return done(request, said, "promotion:repository", found.name)
    context = {"repository": found, "form": form}
    return shown(request, "promotion/repository_registry.html", context, refused)


@page("POST")
def try_registry(request: PageRequest, repository: str) -> HttpResponse:
    found = one(
        Repository.objects.select_related("connection", "bound_by"),
        f"There is no repository “{repository[:64]}”.",
        name=repository,
    )
    trying.try_registry(found, by=request.user)
    return done(request, "It was tried; see what came back.", "promotion:repository", found.name)
