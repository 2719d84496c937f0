"""People and machines, the roles they hold, and the tokens they call the API with."""

from collections.abc import Iterable

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from knox.models import AbstractAuthToken


class Role(models.TextChoices):
    """What somebody is here for. What each role may do stands in the `rules.py` of each app."""

    DEVELOPER = "developer", "Developer"
    RELEASE_MANAGER = "release_manager", "Release manager"
    AUDITOR = "auditor", "Auditor"
    DEPLOYER = "deployer", "Deployer"
    OPERATOR = "operator", "Operator"


def check_roles(value: object) -> None:
    if not isinstance(value, list) or not set(value) <= set(Role.values):
        raise ValidationError(f"Roles are a list of: {', '.join(Role.values)}.")


class User(AbstractUser):  # type: ignore[django-manager-missing]  # knox has no types
    """Somebody who signs in, or a machine that calls the API.

    Roles stand on the row itself, so that the statement that finds a token also tells what its
    owner may do: a machine call needs no further look-up.
    """

    roles = models.JSONField(default=list, blank=True, validators=[check_roles])
    is_machine = models.BooleanField(
        default=False, help_text="A machine calls the API with tokens and has no password."
    )

    def holds(self, roles: Iterable[str]) -> bool:
        """Whether this active user holds at least one of `roles`."""
        if not self.is_active:
            return False
        held = {*self.roles, Role.OPERATOR.value} if self.is_superuser else set(self.roles)
        return not held.isdisjoint(roles)


class Token(AbstractAuthToken):  # type: ignore[misc]  # knox has no types
    """A bearer token. Only its SHA-512 is stored; the token itself is shown once."""

    name = models.CharField(max_length=100)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"{self.name} ({self.token_key}…)"
