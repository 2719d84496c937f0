"""Bring a file to a machine: beside its place first, and into it when the bytes are right."""

import asyncio
import contextlib
import hashlib
import re
from pathlib import PurePosixPath

import asyncssh

from pipelines.ssh.nouns import File, MachineFailed, Say, said_of
from pipelines.ssh.scripts import called

CHUNK = 256 * 1024
DIGEST = re.compile(r"\\?([0-9a-f]{64})\s")
#: How long the unfinished copy of a deployment that was ended may take to be removed.
CLEARS_WITHIN = 1.0


async def bring(connection: asyncssh.SSHClientConnection, file: File, noted: Say) -> None:
    """Put the bytes in place at once, after the machine has them and they are the right ones."""
    folder, name = PurePosixPath(file.path).parent, PurePosixPath(file.path).name
    part = str(folder / f".{name}.{file.mark}")
    try:
        async with connection.start_sftp_client() as sftp:
            await sftp.makedirs(str(folder), exist_ok=True)
            await _remove(sftp, part)
            try:
                size = await _send(sftp, file, part)
                found = await _digest_of(connection, sftp, part)
                if found != file.sha256:
                    raise MachineFailed(
                        f"The artifact arrived damaged: its SHA-256 is {found}, not "
                        f"{file.sha256}. {file.path} was left as it was."
                    )
                await _rename(sftp, part, file.path)
            except BaseException:
                # Also when it was cancelled; it is quick, or the connection is gone.
                with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
                    await asyncio.wait_for(_remove(sftp, part), CLEARS_WITHIN)
                raise
    except asyncssh.SFTPConnectionLost:
        raise
    except asyncssh.SFTPError as error:
        raise MachineFailed(f"{file.path} cannot be written: {said_of(error)}.") from error
    await noted(f"brought {size} bytes to {file.path}, sha256 {file.sha256} checked")


async def _send(sftp: asyncssh.SFTPClient, file: File, part: str) -> int:
    """Copy the bytes to a file that nobody else made; how many they were."""
    hasher, size = hashlib.sha256(), 0
    try:
        stream = await asyncio.to_thread(file.open)
    except OSError as error:
        raise MachineFailed("The storage has lost the artifact's bytes.") from error
    with stream:
        attributes = asyncssh.SFTPAttrs(permissions=0o644)
        async with sftp.open(part, "xb", attributes) as remote:
            while chunk := await asyncio.to_thread(stream.read, CHUNK):
                hasher.update(chunk)
                size += len(chunk)
                await remote.write(chunk)
    if hasher.hexdigest() != file.sha256:
        raise MachineFailed(
            f"The stored bytes of {file.sha256} are damaged. {file.path} was left as it was."
        )
    return size


async def _digest_of(
    connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, path: str
) -> str:
    """What the machine itself finds; where it has no program for that, what it gives back."""
    code, told, _ = await called(connection, ["sha256sum", "--", path])
    match = DIGEST.match(told)
    if code == 0 and match:
        return match[1]
    hasher = hashlib.sha256()
    async with sftp.open(path, "rb") as remote:
        while chunk := await remote.read(CHUNK):
            assert isinstance(chunk, bytes), "it was opened as such"
            hasher.update(chunk)
    return hasher.hexdigest()


async def _rename(sftp: asyncssh.SFTPClient, part: str, path: str) -> None:
    try:
        await sftp.posix_rename(part, path)
    except asyncssh.SFTPOpUnsupported:
        await _remove(sftp, path)
        await sftp.rename(part, path)


async def _remove(sftp: asyncssh.SFTPClient, path: str) -> None:
    with contextlib.suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        await sftp.remove(path)
