"""Tokens: stored hashed, shown once, revoked by their owner."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from knox.crypto import hash_token
from rest_framework.exceptions import AuthenticationFailed

from accounts import tokens
from accounts.authentication import BearerAuthentication
from accounts.models import Role, Token, User, check_roles
from tests.cast import Cast
from tests.world import nothing_changes


def owner_of(secret: str) -> User:
    user, _ = BearerAuthentication().authenticate_credentials(secret.encode())
    return user


def test_a_token_is_stored_as_its_hash_and_shown_once(cast: Cast) -> None:
    token, secret = tokens.issue(cast.production, name=" deploys ")
    assert secret.startswith("sluice_")
    stored = Token.objects.filter(pk=token.pk).values_list().get()
    assert not any(secret in str(value) for value in stored)
    assert (token.digest, token.name) == (hash_token(secret), "deploys")
    assert token.expiry is not None
    assert token.expiry > timezone.now() + timedelta(days=300)
    assert owner_of(secret) == cast.production


def test_two_tokens_are_never_the_same(cast: Cast) -> None:
    assert len({tokens.issue(cast.ada, name="")[1] for _ in range(20)}) == 20
    assert set(Token.objects.values_list("name", flat=True)) == {"unnamed"}


@pytest.mark.parametrize("secret", ["", "sluice_", "sluice_unknown", "\N{SNOWMAN}", "x" * 10_000])
def test_what_is_no_token_of_ours_lets_nobody_in(cast: Cast, secret: str) -> None:
    tokens.issue(cast.ada, name="x")
    with nothing_changes(), pytest.raises(AuthenticationFailed):
        owner_of(secret)


def test_an_expired_token_lets_nobody_in(cast: Cast) -> None:
    _, secret = tokens.issue(cast.ada, name="x", lifetime=timedelta(seconds=-1))
    with nothing_changes(), pytest.raises(AuthenticationFailed, match="expired"):
        owner_of(secret)


def test_the_token_of_a_deactivated_user_lets_nobody_in(cast: Cast) -> None:
    _, secret = tokens.issue(cast.ada, name="x")
    User.objects.filter(pk=cast.ada.pk).update(is_active=False)
    with nothing_changes(), pytest.raises(AuthenticationFailed, match="no longer active"):
        owner_of(secret)


def test_a_token_is_revoked_by_its_owner_and_nobody_else(cast: Cast) -> None:
    token, secret = tokens.issue(cast.ada, name="x")
    with nothing_changes():
        assert not tokens.revoke(cast.mallory, token.token_key)
        assert not tokens.revoke(cast.ada, "unknown")
    assert owner_of(secret) == cast.ada
    assert tokens.revoke(cast.ada, token.token_key)
    with pytest.raises(AuthenticationFailed):
        owner_of(secret)


def test_the_last_use_is_noted_but_not_at_each_use(cast: Cast) -> None:
    token, secret = tokens.issue(cast.ada, name="x")
    owner_of(secret)
    first = Token.objects.get(pk=token.pk).last_used_at
    assert first is not None
    with nothing_changes():
        owner_of(secret)
    Token.objects.filter(pk=token.pk).update(last_used_at=first - timedelta(minutes=2))
    owner_of(secret)
    last = Token.objects.get(pk=token.pk).last_used_at
    assert last is not None
    assert last >= first


# ---- Roles ---------------------------------------------------------------------------------------
def test_a_role_is_held_by_those_who_were_given_it_and_are_active() -> None:
    ben = User(username="ben", roles=["release_manager"])
    assert ben.holds([Role.RELEASE_MANAGER, Role.AUDITOR])
    assert not ben.holds([Role.AUDITOR])
    assert not ben.holds([])
    assert not User(username="ben", roles=Role.values, is_active=False).holds(Role)


def test_a_superuser_operates_and_does_nothing_else_for_being_one() -> None:
    admin = User(username="admin", is_superuser=True)
    assert admin.holds([Role.OPERATOR])
    assert not admin.holds(set(Role) - {Role.OPERATOR})


@pytest.mark.parametrize("value", ["developer", ["root"], [1], {"developer": 1}, None])
def test_what_is_no_list_of_roles_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        check_roles(value)
    check_roles([])
    check_roles(Role.values)
