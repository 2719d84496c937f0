"""What differs between two images, as their registry said when they were published."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from pipelines import artifacts, runs
from pipelines.models import Artifact, ExecutionState
from promotion import diffs, plans, publishing
from promotion.models import Repository, Version
from tests.cast import Site, external_run
from tests.parts import registry
from tests.parts.multiarch import Pusher, tar_gz
from tests.promotion.targeted import reachable


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with registry.server() as started:
        yield started


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    with reachable():
        yield


def publish(site: Site, repository: Repository, image: str, version: str) -> Version:
    run = external_run(site.cast.ada, site.pipeline)
    place = artifacts.Place("build", "build", "push")
    made = artifacts.report_image(run, place, "web", image, "", by=site.cast.ada)
    runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)
    artifact = Artifact.objects.get(pk=made.pk)
    return publishing.publish(repository, "web", version, artifact, by=site.cast.ada).version


def layers(pusher: Pusher, *contents: bytes) -> list[dict[str, Any]]:
    return [pusher.blob(tar_gz(each)) for each in contents]


@pytest.fixture
def versions(site: Site, address: str) -> tuple[Version, Version, list[dict[str, Any]]]:
    """Two versions on the same layer, with one of their own each; and the three layers."""
    pusher = Pusher(address, "shop/web")
    base, one, two = layers(pusher, b"base" * 999, b"one", b"twice")
    shop = publishing.create_repository(
        "shop", by=site.cast.ada, kind="docker", registry=f"{address}/shop"
    )
    made = []
    for name, own in (("1.0.0", one), ("1.1.0", two)):
        image = pusher.image("linux/amd64", [base, own])
        made.append(publish(site, shop, f"{pusher.name}@{image['digest']}", name))
    return made[0], made[1], [base, one, two]


def test_layers_that_both_have_are_told_from_those_that_come_and_go(
    site: Site, versions: tuple[Version, Version, list[dict[str, Any]]]
) -> None:
    old, new, (base, one, two) = versions
    site.promote(site.staging, old)
    (found,) = diffs.diff(plans.plan(site.staging, [new]))
    assert found.image is not None
    assert found.image.platforms is not None
    assert found.image.digest_before == old.image.rpartition("@")[2]
    assert found.image.digest_after == new.image.rpartition("@")[2]
    (platform,) = found.image.platforms.first
    assert (platform.name, platform.change) == ("linux/amd64", "changed")
    assert [layer.digest for layer in platform.added.first] == [two["digest"]]
    assert [layer.digest for layer in platform.removed.first] == [one["digest"]]
    assert (platform.shared, platform.shared_size) == (1, base["size"])
    assert (platform.added_size, platform.removed_size) == (two["size"], one["size"])


def test_the_page_shows_the_layers(
    site: Site, client: Client, versions: tuple[Version, Version, list[dict[str, Any]]]
) -> None:
    old, new, (_, _, two) = versions
    site.promote(site.staging, old)
    client.force_login(site.cast.ada)
    address = f"/promotions/new/?environment=staging&version={new.pk}"
    page = client.get(address).content.decode()
    assert "Layers of linux/amd64" in page
    assert two["digest"] in page
    assert "of new layers" in page


def test_of_an_image_that_no_registry_was_asked_for_both_digests_are_shown(
    site: Site, client: Client
) -> None:
    images = publishing.create_repository("images", by=site.cast.ada, kind="docker")
    digests = [f"sha256:{letter * 64}" for letter in "ab"]
    old, new = (
        publish(site, images, f"registry.example.com/web@{digest}", f"1.{number}.0")
        for number, digest in enumerate(digests)
    )
    site.promote(site.staging, old)
    (found,) = diffs.diff(plans.plan(site.staging, [new]))
    assert found.image is not None
    assert (found.image.digest_before, found.image.digest_after) == tuple(digests)
    assert found.image.platforms is None
    client.force_login(site.cast.ada)
    page = client.get(f"/promotions/new/?environment=staging&version={new.pk}").content.decode()
    assert "Its layers are not known" in page
