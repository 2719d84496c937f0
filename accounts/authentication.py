"""How an API request says who it comes from: a bearer token, or the browser's session."""

from typing import Any

from django.utils import timezone
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import Token, User
from accounts.tokens import note_use


class BearerAuthentication(TokenAuthentication):  # type: ignore[misc]  # knox has no types
    """Find the token by its whole digest: one statement, and its owner comes with it.

    Knox itself searches by the first characters and deletes expired tokens while reading; the
    digest is the primary key, so neither is needed.
    """

    def authenticate_credentials(self, token: bytes) -> tuple[User, Token]:
        try:
            digest = hash_token(token.decode("ascii"))
        except (UnicodeDecodeError, TypeError, ValueError):
            raise AuthenticationFailed("The token is not one of ours.") from None
        found = Token.objects.select_related("user").filter(digest=digest).first()
        if found is None:
            raise AuthenticationFailed("The token is unknown or was revoked.")
        if found.expiry is not None and found.expiry <= timezone.now():
            raise AuthenticationFailed("The token has expired. Issue a new one.")
        if not found.user.is_active:
            raise AuthenticationFailed("The token's owner is no longer active.")
        note_use(found)
        return found.user, found


class BrowserAuthentication(SessionAuthentication):
    """The browser's session, with CSRF checked.

    It names a scheme, so that an unauthenticated request is answered 401 rather than 403.
    """

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def caller(request: Request) -> User:
    """The signed-in user of a request that passed authentication."""
    user: Any = request.user
    assert isinstance(user, User)
    return user
