"""The files of a version: each on a page of its own, like those of an artifact."""

from django.http import HttpResponse
from django.urls import reverse

from pipelines.web.doors import PageRequest, one, page
from pipelines.web.files import Address, Owner, file_page
from promotion import publishing
from promotion.models import Version


def address_in(version: Version) -> Address:
    return lambda path: reverse("promotion:version_file", args=[*_names(version), path])


def download_of(version: Version) -> Address:
    return lambda path: reverse("api:version-file", args=[*_names(version), path])


@page("GET")
def version_file(
    request: PageRequest, repository: str, package: str, version: str, path: str
) -> HttpResponse:
    found = one(
        Version.objects.with_names(),
        f"There is no version {repository[:64]}/{package[:64]} {version[:128]}.",
        package__repository__name=repository,
        package__name=package,
        name=version,
    )
    file = one(
        found.files.select_related("blob"),
        f"{package} {version} has no file “{path[:120]}”.",
        path=path,
    )
    publishing.require_bytes(found)
    crumbs = [
        ("Repositories", reverse("promotion:repository_list")),
        (repository, reverse("promotion:repository", args=[repository])),
        (package, reverse("promotion:package", args=[repository, package])),
        (version, reverse("promotion:version", args=[repository, package, version])),
    ]
    return file_page(request, file, Owner(f"{package} {version}", crumbs, download_of(found)(path)))


def _names(version: Version) -> list[str]:
    return [version.package.repository.name, version.package.name, version.name]
