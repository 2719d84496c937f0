"""The nouns of talking to a machine over SSH, and how it fails."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import IO

import asyncssh

USER = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}\Z")
#: Takes one line; whoever says too much is held up.
Say = Callable[[str], Awaitable[None]]


class MachineFailed(Exception):
    """Something on the way to the end did not work on one machine."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a machine is, and the one host key by which it is known."""

    host: str
    port: int
    host_key: str

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """As whom to come, and with which key. Printing it shows no secret."""

    username: str
    key: asyncssh.SSHKey = field(repr=False)
    #: The name of the connection, for messages.
    connection: str


@dataclass(frozen=True, slots=True)
class File:
    """Bytes to bring to a machine. `mark` tells its unfinished copy from those of others."""

    path: str
    sha256: str
    open: Callable[[], IO[bytes]]
    mark: str


@dataclass(frozen=True, slots=True)
class Script:
    """A script for /bin/sh and who runs it. Printing it shows no variable."""

    text: str = field(repr=False)
    user: str


def said_of(error: Exception) -> str:
    reason = error.reason if isinstance(error, asyncssh.Error) else error
    return (str(reason) or type(error).__name__).rstrip(".")
