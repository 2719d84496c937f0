"""Which versions a promotion is to have, while somebody puts it together.

The list lies in the page's own address: it can be sent to a colleague, the way back works, and
nothing is stored of what is never requested.
"""

from collections.abc import Sequence
from typing import Any

from django.http import QueryDict

from pipelines.errors import Invalid
from pipelines.web.doors import one
from promotion import trains
from promotion.models import Environment, Package, Placement, Repository, Version

#: Of how many versions of a package people can choose here; older ones from their own page.
VERSIONS_PER_PACKAGE = 20
PACKAGES = 200


def named(given: QueryDict) -> list[Version]:
    """The versions that the address names by number; what is not a number names none."""
    wanted = [int(each) for each in given.getlist("version") if _is_key(each)]
    found = Version.objects.with_names().select_related("replacement").in_bulk(wanted)
    missing = [each for each in wanted if each not in found]
    if missing:
        raise Invalid(f"There is no version with the number {missing[0]}.")
    return list(found.values())


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 18


def preset(given: QueryDict, environment: Environment | None) -> trains.Missing | None:
    """All that is in the environment `from` and not in the one to promote to, if that is asked."""
    name = given.get("from", "")
    if environment is None or not name:
        return None
    missing = f"There is no environment “{name[:64]}”."
    return trains.missing(environment, one(Environment.objects.with_names(), missing, name=name))


def choices(
    given: QueryDict, environment: Environment | None, chosen: Sequence[Version]
) -> dict[str, Any]:
    """The packages to choose versions of, with what the environment has of each."""
    repository, sought = given.get("repository", ""), given.get("q", "").strip()
    packages = Package.objects.select_related("repository").order_by("repository__name", "name")
    if repository:
        packages = packages.filter(repository__name=repository)
    if sought:
        packages = packages.filter(name__icontains=sought)
    listed = list(packages[:PACKAGES])
    placed = {}
    if environment is not None:
        current = Placement.objects.current().filter(environment=environment, package__in=listed)
        placed = {each.package_id: each.version for each in current.select_related("version")}
    options: dict[int, list[Version]] = {}
    for version in Version.objects.available().filter(package__in=listed).order_by("-pk")[:2000]:
        options.setdefault(version.package_id, []).append(version)
    keys = {package.pk for package in listed}
    # A version that was named in the address is offered however old it is.
    for version in chosen:
        of_package = options.setdefault(version.package_id, [])
        if version.pk not in [each.pk for each in of_package[:VERSIONS_PER_PACKAGE]]:
            of_package.insert(0, version)
    picked = {version.package_id: version.pk for version in chosen}
    return {
        "repository": repository,
        "sought": sought,
        "repositories": Repository.objects.values_list("name", flat=True),
        "packages": [
            {
                "package": package,
                "now": placed.get(package.pk),
                "versions": options[package.pk][:VERSIONS_PER_PACKAGE],
                "picked": picked.get(package.pk),
            }
            for package in listed
            if package.pk in options
        ],
        "has_more_packages": len(listed) == PACKAGES,
        # They stay in the list while packages of another repository are looked at.
        "kept": [version for version in chosen if version.package_id not in keys],
        "train": _train(given, environment, chosen),
    }


def _train(
    given: QueryDict, environment: Environment | None, chosen: Sequence[Version]
) -> list[dict[str, Any]]:
    """Each chosen version with the address of this page without it."""
    return [
        {
            "version": version,
            "without": _address(given, environment, [each for each in chosen if each != version]),
        }
        for version in chosen
    ]


def _address(given: QueryDict, environment: Environment | None, chosen: Sequence[Version]) -> str:
    query = QueryDict(mutable=True)
    if environment is not None:
        query["environment"] = environment.name
    for name in ("repository", "q"):
        if given.get(name):
            query[name] = given.get(name, "")
    query.setlist("version", [str(version.pk) for version in chosen])
    return f"?{query.urlencode()}"
