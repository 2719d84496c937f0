"""Trying out a registry or a bucket before something depends on it: they are asked, and nothing is
written there. What came back is kept, so that the page says when it was last tried.
"""

from collections.abc import Callable

from django.utils import timezone

from accounts.models import User
from pipelines import registry
from pipelines.errors import SluiceError, WrongState
from pipelines.models import Trial
from pipelines.registry import Credentials
from pipelines.s3 import DurableS3Storage
from promotion import registries, rules, targets
from promotion.models import Environment, Repository


def try_registry(repository: Repository, *, by: User) -> Trial:
    """Ask the registry of a repository whether it lets its connection in."""
    rules.require(by, "image.look")
    if not repository.registry:
        raise WrongState(
            f"{repository.name} names no registry to try. Set it first.", current="no registry"
        )

    def login() -> Credentials | None:
        image = registry.parse(f"{repository.registry}/any")
        return registries.login_for(repository, image)

    return _keep(
        about(repository), _place_of(repository), by, [lambda: _ask(repository.registry, login())]
    )


def try_target(environment: Environment, *, by: User) -> Trial:
    """Ask the registry and the bucket that an environment names, each that it does."""
    rules.require(by, "environment.manage")
    questions: list[Callable[[], str]] = []
    if environment.registry:
        questions.append(
            lambda: _ask(environment.registry, targets.open_registry(environment, noted=False))
        )
    if environment.storage_connection is not None:
        questions.append(lambda: _list(environment))
    if not questions:
        raise WrongState(
            f"{environment.name} keeps no bytes of its own: there is nothing to try.",
            current="no target",
        )
    return _keep(about(environment), _place_of(environment), by, questions)


def last_trial(of: Repository | Environment) -> Trial | None:
    """The last trial of the very place that is named now."""
    trials = Trial.objects.select_related("by")
    return trials.filter(about=about(of), place=_place_of(of)).first()


def about(of: Repository | Environment) -> str:
    return f"{of._meta.model_name} {of.name}"


def _place_of(of: Repository | Environment) -> str:
    if isinstance(of, Environment):
        return " ".join(targets.of(of).as_json().values())[:700]
    return f"{of.registry} {of.connection.name if of.connection else ''}".strip()


def _ask(address: str, login: Credentials | None) -> str:
    host = registry.host_of(address.partition("/")[0])
    registry.check_login(host, login)
    return f"{host} answered" + (" and took the login." if login else ", and asks for no login.")


def _list(environment: Environment) -> str:
    storage = targets.open_storage(environment, noted=False)
    assert isinstance(storage, DurableS3Storage), "the target names a bucket"
    storage.check()
    return f"{targets.of(environment).storage} answered and can be listed."


def _keep(what: str, place: str, by: User, questions: list[Callable[[], str]]) -> Trial:
    """Ask each, whatever comes of the others: that one does not answer is an answer, too."""
    said, worked = [], True
    for ask in questions:
        try:
            said.append(ask())
        except SluiceError as refusal:
            said.append(refusal.detail)
            worked = False
    trial, _ = Trial.objects.update_or_create(
        about=what,
        defaults={
            "place": place,
            "worked": worked,
            "said": " ".join(said),
            "at": timezone.now(),
            "by": by,
        },
    )
    return trial
