"""Pages of repositories and packages."""

from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from pipelines import links
from pipelines.errors import SluiceError
from pipelines.web.doors import PageRequest, done, one, page, shown
from pipelines.web.paging import in_order, newest_first
from promotion import publishing, registries, rules, trying
from promotion.models import Package, Placement, Repository, RepositoryKind, Version
from promotion.web.forms import NewRepositoryForm


@page("GET")
def repository_list(request: PageRequest) -> HttpResponse:
    # Of each package the newest, by its index: a repository without versions would otherwise have
    # all versions of the site gone through.
    newest = Version.objects.filter(package=OuterRef("pk")).order_by("-pk")
    published = (
        Package.objects.filter(repository=OuterRef("pk"))
        .annotate(last=Subquery(newest.values("published_at")[:1]))
        .filter(last__isnull=False)
        .order_by("-last")
    )
    rows = Repository.objects.annotate(
        package_count=Count("packages"), last_published=Subquery(published.values("last")[:1])
    )
    context = {
        "page": in_order(request, rows),
        "may_create": rules.may(request.user, "repository.create"),
    }
    return render(request, "promotion/repository_list.html", context)


@page("GET", "POST")
def repository_new(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "repository.create")
    form = NewRepositoryForm(request.user, request.POST or None)
    refused = None
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        try:
            made = publishing.create_repository(
                written["name"],
                kind=written["kind"],
                description=written["description"],
                registry=written["registry"],
                connection=registries.named_connection(written["connection"], by=request.user),
                by=request.user,
            )
        except SluiceError as error:
            refused = error
        else:
            return done(
                request, f"The repository {made.name} is there.", "promotion:repository", made.name
            )
    return shown(request, "promotion/repository_new.html", {"form": form}, refused)


@page("GET")
def repository(request: PageRequest, repository: str) -> HttpResponse:
    found = one(
        Repository.objects.select_related("created_by", "connection", "bound_by"),
        f"There is no repository “{repository[:64]}”.",
        name=repository,
    )
    listed = in_order(request, packages_of(found))
    context = {
        "repository": found,
        "page": listed,
        "holds_images": found.kind == RepositoryKind.DOCKER,
        "may_set": rules.may(request.user, "repository.create"),
        "may_try": rules.may(request.user, "image.look"),
        "trial": trying.last_trial(found),
    }
    return render(request, "promotion/repository.html", context)


def packages_of(repository: Repository) -> "QuerySet[Package]":
    """Packages with their newest published version and what is placed of them now."""
    newest = Version.objects.available().filter(package=OuterRef("pk")).order_by("-pk")
    placed = Placement.objects.current().select_related("environment", "version")
    # Counted for the packages that are shown; a join would count those of all pages.
    counted = (
        Version.objects.filter(package=OuterRef("pk"))
        .order_by()
        .values("package")
        .annotate(count=Count("pk"))
        .values("count")
    )
    return (
        repository.packages.order_by("name")
        .annotate(
            latest=Subquery(newest.values("name")[:1]),
            latest_at=Subquery(newest.values("published_at")[:1]),
            version_count=Coalesce(Subquery(counted), 0),
        )
        .prefetch_related(
            Prefetch(
                "placements",
                queryset=placed.order_by("environment__rank", "environment__name"),
                to_attr="placed_now",
            )
        )
    )


@page("GET")
def package(request: PageRequest, repository: str, package: str) -> HttpResponse:
    found = one(
        Package.objects.select_related("repository"),
        f"There is no package {repository[:64]}/{package[:64]}.",
        repository__name=repository,
        name=package,
    )
    rows = found.versions.select_related(
        "package__repository", "published_by", "bundle", "image_look", "replacement"
    )
    versions = rows.defer("bundle__recipe").prefetch_related(
        Prefetch(
            "placements",
            queryset=Placement.objects.current().select_related("environment"),
            to_attr="placed_now",
        )
    )
    placements = (
        Placement.objects.current()
        .filter(package=found)
        .select_related(
            "environment", "version__package__repository", "version__replacement", "promotion"
        )
        .order_by("environment__rank", "environment__name")
    )
    resolve = reverse("api:package-resolve", args=[found.repository.name, found.name])
    placed = list(placements)
    environment = placed[-1].environment.name if placed else "production"
    context = {
        "package": found,
        "repository": found.repository,
        "page": newest_first(request, versions, size=30),
        "placements": placed,
        "environment": environment,
        "command": f'curl -H "Authorization: Bearer $SLUICE_TOKEN" '
        f'"{links.absolute(resolve)}?environment={environment}"',
    }
    return render(request, "promotion/package.html", context)
