"""Registries and buckets are tried out where they are set, and the page says what came back."""

from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from django.test import Client, override_settings

from pipelines.errors import Forbidden, WrongState
from pipelines.models import ServiceConnection, Trial
from promotion import environments, publishing, registries, trying
from promotion.models import Repository, RepositoryKind
from tests.cast import Site
from tests.parts import registry as parts
from tests.parts import s3
from tests.pipelines.connected import connect
from tests.promotion.targeted import bucket_of, login_of
from tests.world import nothing_changes, refused

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)):
        yield


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with parts.server(password=True) as address:
        yield address


@pytest.fixture(scope="module")
def server() -> Iterator[s3.Server]:
    with s3.server() as running:
        yield running


def images(site: Site, host: str, password: str) -> Repository:
    made = publishing.create_repository("images", by=site.cast.ada, kind=RepositoryKind.DOCKER)
    secrets = {"password": password}
    login = connect(site, "reg", "registry", secrets, host=host, username=parts.USER)
    return registries.set_registry(made, f"{host}/shop", by=site.cast.ada, connection=login)


def test_a_registry_that_takes_the_login_says_so_on_its_page(
    site: Site, guarded: str, client: Client
) -> None:
    images(site, guarded, parts.PASSWORD)
    client.force_login(site.cast.ada)
    page = "/repositories/images/"
    assert "has not been tried out" in client.get(page).content.decode()
    assert client.post(f"{page}-/registry/try/").status_code == 303
    shown = client.get(page).content.decode()
    assert f"{guarded} answered and took the login." in shown
    assert "Last tried by" in shown


def test_a_wrong_password_comes_back_as_what_it_is(site: Site, guarded: str) -> None:
    repository = images(site, guarded, "another")
    trial = trying.try_registry(repository, by=site.cast.ada)
    assert not trial.worked
    assert trying.last_trial(repository) == trial
    registries.set_registry(repository, "registry.example.com", by=site.cast.ada)
    repository.refresh_from_db()
    assert trying.last_trial(repository) is None, "another registry was not tried"
    assert Trial.objects.count() == 1


def test_both_places_of_an_environment_are_tried(
    site: Site, guarded: str, server: s3.Server, client: Client
) -> None:
    host = server.endpoint.removeprefix("http://")
    _set_target(site, guarded, bucket_of(site, host, server.bucket()))
    client.force_login(site.cast.admin)
    assert client.post("/environments/staging/target/try/").status_code == 303
    shown = client.get("/environments/staging/").content.decode()
    assert f"{guarded} answered and took the login." in shown
    assert "answered and can be listed." in shown
    _set_target(site, guarded, bucket_of(site, host, "no-such-bucket", "wrong"))
    site.staging.refresh_from_db()
    trial = trying.try_target(site.staging, by=site.cast.admin)
    assert not trial.worked
    assert "took the login" in trial.said
    assert "no-such-bucket" in trial.said


def _set_target(site: Site, guarded: str, bucket: ServiceConnection) -> None:
    login = ServiceConnection.objects.filter(name="login").first() or login_of(site, guarded)
    environments.set_target(
        site.staging,
        by=site.cast.admin,
        registry=guarded,
        registry_connection=login,
        storage_connection=bucket,
    )


def test_only_who_may_set_it_tries_it_and_only_where_there_is_something(
    site: Site, guarded: str, client: Client
) -> None:
    repository = images(site, guarded, parts.PASSWORD)
    refused(Forbidden, lambda: trying.try_registry(repository, by=site.cast.dora))
    refused(Forbidden, lambda: trying.try_target(site.staging, by=site.cast.ben))
    refused(WrongState, lambda: trying.try_registry(site.repository, by=site.cast.ada))
    refused(WrongState, lambda: trying.try_target(site.staging, by=site.cast.admin))
    client.force_login(site.cast.dora)
    assert "Try it" not in client.get("/repositories/images/").content.decode()
    with nothing_changes():
        assert client.post("/repositories/images/-/registry/try/").status_code == 403
