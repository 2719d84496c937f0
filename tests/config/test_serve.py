"""`manage.py serve` where something is in its way."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from config.management.commands import serve


class Started(Exception):
    pass


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the command began: the first of it ends the test's process from becoming a server."""
    said: list[str] = []

    def begin(name: str, **options: Any) -> None:
        said.append(name)
        raise Started

    monkeypatch.setattr(serve, "call_command", begin)
    return said


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another server listens, and would share it as ours does."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_port_that_is_taken_is_refused_before_anything_starts(
    host: str, taken: int, begun: list[str]
) -> None:
    with pytest.raises(CommandError, match=f"port {taken}, is taken by another program"):
        call_command("serve", host=host, port=taken)
    assert begun == []


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 8000), ("no-such-host.invalid", 8000)])
def test_a_place_that_cannot_be_listened_on_is_refused(
    host: str, port: int, begun: list[str]
) -> None:
    with pytest.raises(CommandError, match="cannot be listened on"):
        call_command("serve", host=host, port=port)
    assert begun == []


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_what_is_no_port_is_refused(port: int, begun: list[str]) -> None:
    with pytest.raises(CommandError, match="is no port"):
        call_command("serve", port=port)
    assert begun == []


def test_a_worker_needs_no_port(taken: int, begun: list[str]) -> None:
    with pytest.raises(Started):
        call_command("serve", port=taken, only="worker")
    assert begun == ["migrate"]


def test_a_port_is_free_again_as_soon_as_its_server_has_ended(begun: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    with pytest.raises(Started):
        call_command("serve", port=port)
    assert begun == ["migrate"]
