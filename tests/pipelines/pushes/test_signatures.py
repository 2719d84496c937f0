"""Who may deliver: whoever has the secret, and nobody else."""

import pytest

from pipelines.pushes import is_genuine
from tests.pipelines.pushes.deliveries import (
    GITEE_PUSH,
    GITHUB_PUSH,
    NOW,
    PUSHES,
    SECRET,
    STAMP,
    Delivery,
    signed,
    signed_by_gitee,
    signed_by_github,
)


def genuine(delivery: Delivery, *, now: float = NOW) -> bool:
    return is_genuine(delivery.headers, delivery.body, SECRET, now=now)


@pytest.mark.parametrize("server", PUSHES)
def test_who_has_the_secret_is_believed(server: str) -> None:
    assert genuine(signed(PUSHES[server]))


@pytest.mark.parametrize("server", PUSHES)
@pytest.mark.parametrize("secret", ["", "another", SECRET[:-1], SECRET + "x", "ключ"])
def test_who_has_not_is_not(server: str, secret: str) -> None:
    assert not genuine(signed(PUSHES[server], secret))


@pytest.mark.parametrize("server", PUSHES)
def test_a_delivery_without_a_signature_is_not_believed(server: str) -> None:
    assert not genuine(PUSHES[server])


def test_a_github_signature_is_of_the_very_body() -> None:
    delivery = signed_by_github(GITHUB_PUSH)
    assert not genuine(Delivery(delivery.headers, delivery.body + b" "))
    upper = delivery.headers["x-hub-signature-256"].upper()
    assert not genuine(delivery.titled(x_hub_signature_256=upper))


@pytest.mark.parametrize("token", ["x-gitlab-token", "x-gitee-token", "x-codeup-token"])
def test_a_secret_in_another_servers_header_proves_nothing(token: str) -> None:
    assert not genuine(GITHUB_PUSH.titled(**{token: SECRET}))


def test_a_server_that_is_not_known_is_not_believed() -> None:
    assert not genuine(Delivery({"x-gitlab-token": SECRET, "x-other-event": "push"}, b"{}"))


@pytest.mark.parametrize("encoded", [False, True])
def test_gitee_may_sign_the_time(encoded: bool) -> None:
    assert genuine(signed_by_gitee(GITEE_PUSH, encoded=encoded))
    assert not genuine(signed_by_gitee(GITEE_PUSH, secret="another", encoded=encoded))


def test_a_stale_gitee_signature_is_refused() -> None:
    delivery = signed_by_gitee(GITEE_PUSH)
    assert genuine(delivery, now=NOW + 3599)
    assert not genuine(delivery, now=NOW + 3601)
    assert not genuine(delivery, now=NOW - 3601)


def test_a_gitee_signature_is_of_the_very_time() -> None:
    delivery = signed_by_gitee(GITEE_PUSH)
    assert not genuine(delivery.titled(x_gitee_timestamp=str(int(STAMP) + 1)))


@pytest.mark.parametrize("stamp", ["", "soon", "-1", "1e12", "٣", "9" * 400])
def test_what_is_no_time_is_not_believed(stamp: str) -> None:
    assert not genuine(signed_by_gitee(GITEE_PUSH, stamp))
