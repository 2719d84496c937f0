"""Where the bytes of an environment live when not with ours: a registry, a storage. Reads only.

An environment names the connections; whoever bound them to it must be allowed to use them to this
day. So each use opens them anew, and once sharing has ended nothing is carried there any more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.core.files.storage import Storage
from django.db.models import Q
from django.urls import reverse

from pipelines import buckets, connections, registry, usage
from pipelines.errors import Invalid
from pipelines.models import Blob, ConnectionKind, ServiceConnection
from promotion.models import Environment, Version


@dataclass(frozen=True, slots=True)
class Target:
    """What an environment names. Empty where it names nothing."""

    registry: str = ""
    registry_connection: str = ""
    storage: str = ""
    storage_host: str = ""
    storage_connection: str = ""

    def as_json(self) -> dict[str, str]:
        """With only what is named, so that what comes later changes no digest of today."""
        named = {
            "registry": self.registry,
            "registry_connection": self.registry_connection,
            "storage": self.storage,
            "storage_host": self.storage_host,
            "storage_connection": self.storage_connection,
        }
        return {key: value for key, value in named.items() if value}


def of(environment: Environment) -> Target:
    login, bucket = environment.registry_connection, environment.storage_connection
    return Target(
        registry=environment.registry,
        registry_connection=login.name if login else "",
        storage=address(bucket, environment.storage_prefix) if bucket else "",
        storage_host=bucket.host if bucket else "",
        storage_connection=bucket.name if bucket else "",
    )


def address(connection: ServiceConnection, prefix: str) -> str:
    """Where the files lie, in the form in which S3 tools write it."""
    bucket = connection.settings.get("bucket", "")
    return f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"


def check_registry(name: str) -> str:
    """`name` as the prefix of images' names; Invalid where no image could be called so."""
    prefix = re.sub(r"^https?://", "", name.strip(), flags=re.I).removesuffix("/")
    host, slash, path = prefix.partition("/")
    prefix = f"{registry.host_of(host)}{slash}{path}"
    try:
        # The tag and the digest of an image come behind; the prefix brings none along.
        registry.parse(f"{prefix}/repository/package")
    except Invalid as error:
        raise Invalid(
            f"“{name[:120]}” cannot stand before an image's name. Write the registry's host, and "
            "a path in small letters, like registry.example.com/production."
        ) from error
    return prefix


def files_of(version: Version) -> dict[Blob, str]:
    """What of a version is kept as bytes, with its paths: each file, and the bundle if it is kept
    itself and not composed of them as it is read."""
    stored = {file.blob: file.path for file in version.files.select_related("blob")}
    if version.bundle is not None and version.bundle.recipe is None:
        stored.setdefault(version.bundle, version.bundle_name)
    return stored


def open_storage(environment: Environment, *, noted: bool = True) -> Storage | None:
    """The storage that the environment names, or None. Forbidden if it may no longer be used."""
    connection = environment.storage_connection
    if connection is None:
        return None
    assert environment.bound_by is not None, "connections are bound by somebody"
    opened = connections.open_as(
        connection, ConnectionKind.S3, bound_by=environment.bound_by, noted=noted
    )
    return buckets.bucket_of(opened, environment.storage_prefix)


def open_registry(environment: Environment, *, noted: bool = True) -> registry.Credentials | None:
    """How to log in at the environment's registry; None where it lets everybody in."""
    connection = environment.registry_connection
    if connection is None:
        return None
    assert environment.bound_by is not None, "connections are bound by somebody"
    opened = connections.open_as(
        connection, ConnectionKind.REGISTRY, bound_by=environment.bound_by, noted=noted
    )
    connections.require_host(opened, registry.host_of(environment.registry))
    return registry.Credentials(opened.settings.get("username", ""), opened.secrets["password"])


def uses_of(connection: ServiceConnection) -> Iterator[usage.Use]:
    """The environments that a connection is bound to."""
    bound = Q(registry_connection=connection) | Q(storage_connection=connection)
    for name in Environment.objects.filter(bound).values_list("name", flat=True):
        yield usage.Use("The environment", name, reverse("promotion:environment", args=[name]))
