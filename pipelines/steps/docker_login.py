"""The step `DockerLogin`: the steps after it may push to and pull from a registry."""

from pipelines import logins, registry
from pipelines.errors import SluiceError
from pipelines.models import ConnectionKind
from pipelines.registry import Credentials
from pipelines.steps.base import StepContext, StepFailed


def run(context: StepContext) -> None:
    name = context.text("serviceConnection")
    if not name:
        raise StepFailed(
            "DockerLogin has no serviceConnection. Name one of kind registry that holds the "
            "registry's user and password."
        )
    try:
        log_in(context, context.text("dockerRepository"), name)
    except SluiceError as refusal:
        raise StepFailed(refusal.detail) from refusal


def log_in(context: StepContext, repository: str, connection: str) -> Credentials:
    """Log in to the registry of `repository` (its host, or an image there) for this job.

    The registry is asked right here: a wrong password shows now and not when an hour's build is to
    be pushed.
    """
    host = registry.host_of(repository)
    opened = context.connection(connection, ConnectionKind.REGISTRY)
    if registry.host_of(opened.host) != host:
        raise StepFailed(
            f"The service connection {connection} is for {opened.host}, and its password is not "
            f"sent to {host}. Name the connection of that registry."
        )
    credentials = Credentials(opened.settings.get("username", ""), opened.secrets["password"])
    context.log.mask(logins.pair_of(credentials))
    registry.check_login(host, credentials)
    logins.add(context.place, host, credentials)
    context.environment |= logins.environment(context.place)
    context.log.say(f"logged in to {host} as {credentials.username}")
    return credentials
