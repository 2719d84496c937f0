"""People and machines, the roles they hold, and the tokens they call the API with."""

from collections.abc import Iterable
from typing import Self

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
    gets_mail = models.BooleanField(
        default=True,
        db_default=True,
        verbose_name="gets e-mail",
        help_text="Notices are sent by e-mail, too, where the site can send any.",
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


class PasskeyQuerySet(models.QuerySet["Passkey"]):
    def usable_by(self, user: User) -> Self:
        return self.filter(user=user, removed_at__isnull=True)


class Passkey(models.Model):
    """The public half of a key pair whose private half never leaves somebody's device.

    Bytes are kept as base64url without padding. A removed passkey signs nothing any more; its row
    stays, because what it signed is checked with it for ever.
    """

    # What was registered. Never changes: the ledger says the same, and `verify` compares.
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="passkeys")
    name = models.CharField(max_length=100)
    credential_id = models.CharField(max_length=1364, unique=True)
    public_key = models.TextField(help_text="A COSE key.")
    transports = models.JSONField(default=list, help_text="How a browser gets to the device.")
    created_at = models.DateTimeField()

    # What has happened. Written only by passkeys.py.
    sign_count = models.BigIntegerField(
        help_text="What the device last said that it has signed; 0 where it does not count."
    )
    last_used_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    objects = PasskeyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"
