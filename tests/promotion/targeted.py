"""Environments that keep their bytes in a storage and a registry of their own, really there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from django.contrib.auth.models import Group
from django.test import override_settings

from pipelines import artifacts, connections, runs
from pipelines.models import Artifact, ExecutionState, ServiceConnection
from promotion import environments, publishing
from promotion.models import Environment, Repository, Version
from tests.cast import Site, external_run
from tests.parts import registry, s3
from tests.pipelines.connected import connect


@dataclass(frozen=True)
class Elsewhere:
    """A storage, a registry that wants a password, and one that images come from."""

    storage: s3.Server
    guarded: str
    source: str


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    with (
        s3.server() as storage,
        registry.server(password=True) as guarded,
        registry.server() as source,
    ):
        yield Elsewhere(storage, guarded, source)


def reachable() -> Any:
    """As an operator opens the networks of such machines."""
    return override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),))


def lent(site: Site, connection: ServiceConnection) -> ServiceConnection:
    """Ada's connection, shared with the operators, of whom admin is one."""
    operators, _ = Group.objects.get_or_create(name="operators")
    site.cast.admin.groups.add(operators)
    return connections.share(connection, [operators], by=site.cast.ada)


def bucket_of(site: Site, host: str, bucket: str, name: str = "bucket") -> ServiceConnection:
    secrets = {"secret_key": s3.SECRET}
    made = connect(site, name, "s3", secrets, host=host, access_key=s3.ACCESS, bucket=bucket)
    return lent(site, made)


def login_of(site: Site, host: str, name: str = "login") -> ServiceConnection:
    secrets = {"password": registry.PASSWORD}
    made = connect(site, name, "registry", secrets, host=host, username=registry.USER)
    return lent(site, made)


@dataclass(frozen=True)
class Bucket:
    """What an environment's files are carried to."""

    server: s3.Server
    name: str
    connection: ServiceConnection

    def objects(self) -> dict[str, Any]:
        """When each object was written, by its name."""
        found = self.server.client().list_objects_v2(Bucket=self.name).get("Contents", [])
        return {each["Key"]: each["LastModified"] for each in found}

    def read(self, key: str) -> bytes:
        body: bytes = self.server.client().get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def put(self, key: str, data: bytes) -> None:
        self.server.client().put_object(Bucket=self.name, Key=key, Body=data)

    def remove(self, key: str) -> None:
        self.server.client().delete_object(Bucket=self.name, Key=key)


def give_bucket(
    site: Site, environment: Environment, elsewhere: Elsewhere, prefix: str = "live"
) -> Bucket:
    """Have the environment keep its files in a bucket of its own."""
    name = elsewhere.storage.bucket()
    connection = bucket_of(site, f"127.0.0.1:{elsewhere.storage.port}", name)
    environments.set_target(
        environment, by=site.cast.admin, storage_connection=connection, storage_prefix=prefix
    )
    return Bucket(elsewhere.storage, name, connection)


def give_registry(site: Site, environment: Environment, elsewhere: Elsewhere) -> ServiceConnection:
    """Have the environment keep its images in the registry that wants a password."""
    connection = login_of(site, elsewhere.guarded)
    environments.set_target(
        environment,
        by=site.cast.admin,
        registry=f"{elsewhere.guarded}/live",
        registry_connection=connection,
    )
    return connection


def publish_image(site: Site, elsewhere: Elsewhere, version: str, content: bytes) -> Version:
    """A version whose image is in the registry that everybody may read."""
    tag = version.replace("+", "_")
    digest = registry.push_image(elsewhere.source, "team/web", tag, content=content)
    run = external_run(site.cast.ada, site.pipeline)
    artifact = artifacts.report_image(
        run,
        artifacts.Place("build", "build", "push"),
        "web",
        f"{elsewhere.source}/team/web:{tag}@{digest}",
        "",
        by=site.cast.ada,
    )
    runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)
    images = Repository.objects.filter(name="images").first() or publishing.create_repository(
        "images", by=site.cast.ada, kind="docker"
    )
    found = Artifact.objects.get(pk=artifact.pk)
    return publishing.publish(images, "web", version, found, by=site.cast.ada).version
