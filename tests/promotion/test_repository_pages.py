"""What the pages of repositories count and date, of packages and repositories with nothing too."""

from typing import Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from promotion import publishing, recalling
from promotion.models import Package, Version
from tests.cast import Site


def rows(site: Site, *address: str) -> list[Any]:
    client = Client()
    client.force_login(site.cast.ada)
    response = client.get(reverse(address[0], args=address[1:]))
    assert response.status_code == 200
    return list(response.context["page"].rows)


def test_a_repository_was_last_published_to_when_the_newest_of_its_packages_was(
    site: Site,
) -> None:
    publishing.create_repository("empty", by=site.cast.ada)
    site.publish("1.0.0", package="first")
    site.publish("1.0.0", package="second")
    last = site.publish("1.1.0", package="first")
    Package.objects.create(repository=site.repository, name="none", created_at=timezone.now())
    found = {
        each.name: (each.package_count, each.last_published)
        for each in rows(site, "promotion:repository_list")
    }
    assert found == {"apps": (3, last.published_at), "empty": (0, None)}


def test_the_versions_of_each_package_are_counted_and_recalled_ones_too(site: Site) -> None:
    for name in ("1.0.0", "1.1.0", "1.2.0"):
        site.publish(name, package="first")
    site.publish("1.0.0", package="second")
    Package.objects.create(repository=site.repository, name="none", created_at=timezone.now())
    recalling.recall(Version.objects.get(name="1.2.0"), by=site.cast.ben, reason="broken")
    found = {
        each.name: (each.version_count, each.latest)
        for each in rows(site, "promotion:repository", "apps")
    }
    assert found == {"first": (3, "1.1.0"), "none": (0, None), "second": (1, "1.0.0")}
