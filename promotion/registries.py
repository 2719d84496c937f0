"""Where the images of a repository lie: a registry, and a connection with which it is asked."""

from collections.abc import Iterator

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from pipelines import connections, registry, usage
from pipelines.errors import Invalid
from pipelines.models import ConnectionKind, ServiceConnection
from pipelines.registry import Credentials, ImageName
from promotion import rules
from promotion.ledger.append import About, append
from promotion.models import Repository, RepositoryKind


def set_registry(
    repository: Repository,
    address: str,
    *,
    by: User,
    connection: ServiceConnection | None = None,
) -> Repository:
    """Say where the images of `repository` lie from now on; nowhere in particular when empty.

    What is published already keeps its image. The registry is asked with `connection` in the name
    of `by`, for as long as `by` may use it.
    """
    rules.require(by, "repository.create")
    with transaction.atomic():
        locked = Repository.objects.select_for_update(no_key=True).get(pk=repository.pk)
        if locked.bound_by_id not in {None, by.pk}:
            # Another's repository must not begin to be asked elsewhere behind their back.
            rules.require(by, "repository.bind")
        checked = check(locked.kind, address, connection, by=by)
        bind(locked, checked, connection, by=by)
    return locked


def check(kind: str, address: str, connection: ServiceConnection | None, *, by: User) -> str:
    """The address in one form for all ways to write it, once `by` may bind `connection` to it."""
    written = address.strip().strip("/")
    if not written:
        if connection is not None:
            raise Invalid("Name the registry that the connection is for.")
        return ""
    if kind != RepositoryKind.DOCKER:
        raise Invalid("Only a repository of container images has a registry.")
    host, _, path = written.removeprefix("https://").partition("/")
    host = registry.host_of(host)
    if path:
        parsed = registry.parse(f"{host}/{path}")
        if parsed.tag or parsed.digest:
            raise Invalid(f"“{written[:120]}” names an image. Write only where the images lie.")
    if connection is not None:
        connections.require_usable(connection, ConnectionKind.REGISTRY, by=by)
        if registry.host_of(connection.host) != host:
            raise Invalid(
                f"The service connection {connection.name} is for {connection.host}, and its "
                f"password is not sent to {host}."
            )
    return f"{host}/{path}" if path else host


def bind(
    repository: Repository, address: str, connection: ServiceConnection | None, *, by: User
) -> None:
    """Write what was checked, and the ledger's entry of it. Call it in a transaction."""
    wanted = (address, connection, by if address else None)
    if wanted == (repository.registry, repository.connection, repository.bound_by):
        return
    repository.registry, repository.connection, repository.bound_by = wanted
    repository.save(update_fields=["registry", "connection", "bound_by"])
    append(
        "repository.registry_set",
        by=by,
        at=timezone.now(),
        about=About(repository=repository.name),
        data={
            "repository": repository.name,
            "registry": address,
            "connection": connection.name if connection else None,
        },
    )


def named_connection(name: str, *, by: User) -> ServiceConnection | None:
    """The connection that a form or a body names, or None for an empty name."""
    rules.require(by, "repository.create")
    if not name:
        return None
    found = connections.visible_to(by).filter(name=name).first()
    if found is None:
        raise Invalid(
            f"There is no service connection “{name[:64]}” that {by.username} may use. Make one "
            "under Connections, or have its team share it."
        )
    return found


def holds(repository: Repository, image: ImageName) -> bool:
    """Whether `image` lies where the repository's images do."""
    host, _, path = repository.registry.partition("/")
    return image.registry == host and f"{image.repository}/".startswith(f"{path}/" if path else "")


def login_for(repository: Repository, image: ImageName) -> Credentials | None:
    """With what the registry of `image` is asked: the repository's connection, if it is for it."""
    connection, bound_by = repository.connection, repository.bound_by
    if connection is None or bound_by is None:
        return None
    # For an image that lies elsewhere, be it on the same host, it was not given.
    if registry.host_of(connection.host) != image.registry or not holds(repository, image):
        return None
    opened = connections.open_as(connection, ConnectionKind.REGISTRY, bound_by=bound_by)
    return Credentials(opened.settings.get("username", ""), opened.secrets["password"])


def uses_of(connection: ServiceConnection) -> Iterator[usage.Use]:
    """The repositories whose registry is asked with a connection."""
    for name in connection.repositories.values_list("name", flat=True):
        yield usage.Use("The repository", name, reverse("promotion:repository", args=[name]))
