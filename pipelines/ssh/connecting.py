"""Connect to a machine that is known by its host key, and ask one for its key."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import asyncssh

from pipelines import destinations
from pipelines.errors import SluiceError
from pipelines.ssh.nouns import Login, Machine, MachineFailed, said_of

CONNECT_WITHIN = 20.0
#: A machine that answers none of three questions, one in so many seconds, is gone.
ALIVE_EVERY = 15
#: How long a connection may take to be closed politely.
CLOSES_WITHIN = 1.0


def read_key(private_key: str, passphrase: str, connection: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(private_key, passphrase or None)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise MachineFailed(
            f"The private key of the connection {connection} cannot be read: {error}."
        ) from error


@asynccontextmanager
async def connected(machine: Machine, login: Login) -> AsyncIterator[asyncssh.SSHClientConnection]:
    address = await _address(machine.host, machine.port)
    connection = await _connect(address, machine, login)
    try:
        yield connection
    except (asyncssh.Error, OSError) as error:
        raise MachineFailed(f"The connection to {machine} was lost: {said_of(error)}.") from error
    finally:
        connection.close()
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            await asyncio.wait_for(connection.wait_closed(), CLOSES_WITHIN)
        connection.abort()


async def _address(host: str, port: int) -> str:
    try:
        return await asyncio.to_thread(destinations.allowed_address, host, port)
    except SluiceError as refusal:
        raise MachineFailed(refusal.detail) from refusal


async def _connect(address: str, machine: Machine, login: Login) -> asyncssh.SSHClientConnection:
    """A connection to exactly this address, which must prove to be the machine we know.

    Nothing is taken from the worker's own SSH configuration, agent or list of known hosts.
    """
    known = asyncssh.import_public_key(machine.host_key)
    try:
        return await asyncio.wait_for(
            asyncssh.connect(
                address,
                machine.port,
                username=login.username,
                client_keys=[login.key],
                known_hosts=([known], [], []),
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                keepalive_interval=ALIVE_EVERY,
                keepalive_count_max=3,
            ),
            CONNECT_WITHIN,
        )
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
        raise MachineFailed(
            f"{machine} did not show the host key that is recorded for it "
            f"({known.get_fingerprint()}). If the machine was set up anew, remove it from "
            "the group and add it again; if not, somebody may stand in between."
        ) from error
    except asyncssh.PermissionDenied as error:
        raise MachineFailed(
            f"{machine} does not let {login.username} in with the key of the connection "
            f"{login.connection}."
        ) from error
    except TimeoutError as error:
        raise MachineFailed(
            f"{machine} did not answer within {CONNECT_WITHIN:.0f} seconds."
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise MachineFailed(f"{machine} cannot be reached: {said_of(error)}.") from error


# ---- Host keys ---------------------------------------------------------------------------------
def ask_host_key(host: str, port: int) -> str:
    """The host key that whoever answers there shows: nobody vouches for it but the network."""

    async def ask() -> str:
        address = destinations.allowed_address(host, port)
        key = await asyncio.wait_for(
            asyncssh.get_server_host_key(address, port, config=None), CONNECT_WITHIN
        )
        if key is None:
            raise MachineFailed(f"{host}:{port} shows no host key.")
        return _as_line(key)

    try:
        # In a thread of its own, because the caller's may have an event loop already.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, ask()).result()
    except (asyncssh.Error, OSError) as error:
        raise MachineFailed(
            f"The host key of {host}:{port} cannot be had: {said_of(error)}. Give the key "
            "itself, or look whether the machine can be reached."
        ) from error


def _as_line(key: asyncssh.SSHKey) -> str:
    algorithm, data = key.export_public_key().decode("ascii").split()[:2]
    return f"{algorithm} {data}"
