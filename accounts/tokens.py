"""Issue and revoke tokens."""

from datetime import timedelta

from django.utils import timezone
from knox.settings import knox_settings

from accounts.models import Token, User


def issue(user: User, *, name: str, lifetime: timedelta | None = None) -> tuple[Token, str]:
    """Make a token for `user`; the second value is the token itself, not to be had again."""
    token, secret = Token.objects.create(
        user, expiry=lifetime or knox_settings.TOKEN_TTL, name=name.strip() or "unnamed"
    )
    return token, secret


def revoke(user: User, token_key: str) -> bool:
    """Delete the user's own token; False when there is none of that key."""
    deleted, _ = Token.objects.filter(user=user, token_key=token_key).delete()
    return bool(deleted)


def note_use(token: Token) -> None:
    """Remember that the token was used, at most once a minute: a read must not become a write."""
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > timedelta(minutes=1):
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
