"""How the API finds what an address or a body names; 404 where there is no such thing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import OuterRef, Prefetch, Q, QuerySet, Subquery
from django.shortcuts import get_object_or_404
from django.utils.dateparse import parse_date, parse_datetime

from accounts.models import User
from pipelines import connections
from pipelines.errors import Invalid, NotFound
from pipelines.models import ServiceConnection
from promotion import turns
from promotion.models import (
    Environment,
    Evidence,
    EvidenceKey,
    Hold,
    Package,
    Placement,
    Promotion,
    Repository,
    Version,
)


def repository(name: str) -> Repository:
    return get_object_or_404(Repository, name=name)


def packages() -> "QuerySet[Package]":
    """Packages with their newest published version and what is placed of them now."""
    newest = Version.objects.available().filter(package=OuterRef("pk")).order_by("-pk")
    placed = Placement.objects.current().with_names()
    return (
        Package.objects.select_related("repository")
        .annotate(latest=Subquery(newest.values("name")[:1]))
        .prefetch_related(Prefetch("placements", queryset=placed, to_attr="placed_now"))
    )


def package(repository_name: str, name: str) -> Package:
    return get_object_or_404(
        Package.objects.select_related("repository"), repository__name=repository_name, name=name
    )


def named_package(repository_name: str, name: str) -> Package:
    """The package that a body names."""
    found = (
        Package.objects.select_related("repository")
        .filter(repository__name=repository_name, name=name)
        .first()
    )
    if found is None:
        raise NotFound(f"There is no package {repository_name[:64]}/{name[:64]}.")
    return found


def whole_versions() -> "QuerySet[Version]":
    return (
        Version.objects.with_names()
        .select_related("bundle", "replacement", "image_details", "image_look")
        # A bundle of many files has a long one, which only its bytes take.
        .defer("bundle__recipe")
        .prefetch_related(
            "files__blob",
            Prefetch("evidence", queryset=Evidence.objects.whole()),
            Prefetch("placements", queryset=Placement.objects.current().with_names()),
        )
    )


def version(repository_name: str, package_name: str, name: str) -> Version:
    return get_object_or_404(
        whole_versions(),
        package__repository__name=repository_name,
        package__name=package_name,
        name=name,
    )


def version_for_bytes(repository_name: str, package_name: str, name: str) -> Version:
    """The version without all that hangs on it: of its files one is fetched, time and again."""
    return get_object_or_404(
        Version.objects.with_names().defer("manifest", "provenance", "notes"),
        package__repository__name=repository_name,
        package__name=package_name,
        name=name,
    )


def named_version(item: Mapping[str, Any]) -> Version:
    """The version that an item of a body names."""
    return named_versions([item])[0]


def named_versions(items: Sequence[Mapping[str, Any]]) -> list[Version]:
    """The versions that the items of a body name, found with one question for all."""
    wanted = Q()
    for item in items:
        wanted |= Q(
            package__repository__name=item["repository"],
            package__name=item["package"],
            name=item["version"],
        )
    found = {
        (version.package.repository.name, version.package.name, version.name): version
        for version in Version.objects.with_names().select_related("replacement").filter(wanted)
    }
    versions = []
    for item in items:
        version = found.get((item["repository"], item["package"], item["version"]))
        if version is None:
            raise NotFound(
                f"There is no version {item['repository']}/{item['package']} {item['version']}."
            )
        versions.append(version)
    return versions


def environment(name: str) -> Environment:
    return get_object_or_404(
        Environment.objects.with_names().select_related(
            "policy__environment", "policy__created_by"
        ),
        name=name,
    )


def named_environment(name: str) -> Environment:
    found = Environment.objects.with_names().filter(name=name).first()
    if found is None:
        raise NotFound(f"There is no environment “{name[:64]}”.")
    return found


def evidence_key(name: str) -> EvidenceKey:
    return get_object_or_404(
        EvidenceKey.objects.select_related("added_by", "revoked_by"), name=name
    )


def usable_connection(name: str, by: User) -> ServiceConnection | None:
    """The connection that a body names, None for no name; as if there were none without a right."""
    if not name:
        return None
    found = connections.visible_to(by).filter(name=name).first()
    if found is None:
        raise NotFound(f"There is no service connection “{name[:64]}” that you may use.")
    return found


def promotions() -> "QuerySet[Promotion]":
    return (
        Promotion.objects.with_names()
        .annotate(ahead=turns.ahead())
        .select_related("override__by")
        .prefetch_related("approvals__by", "override__reviews__by")
    )


def hold(environment_name: str, pk: int) -> Hold:
    return get_object_or_404(Hold.objects.with_names(), environment__name=environment_name, pk=pk)


def moment(text: str, parameter: str) -> datetime:
    """An RFC 3339 time, or a date: its beginning in UTC."""
    try:
        found = parse_datetime(text)
        day = parse_date(text) if found is None else None
        if found is None and day is not None:
            found = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if found is not None:
            # In UTC the first and the last day of the calendar may lie outside of it.
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid(f"{parameter} is a time like 2026-05-04T10:00:00Z, or a date.")
