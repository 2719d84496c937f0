"""Run a script on a machine, and end it there when we end or are gone."""

import asyncio
import contextlib
import shlex

import asyncssh

from pipelines.ssh.nouns import Login, MachineFailed, Say, Script

READ = 32 * 1024
LONGEST_LINE = 16 * 1024
#: How long a script is waited for that was told to end; its watcher kills it after five seconds.
ENDS_WITHIN = 9.0
#: How long output is waited for after a script has ended: what it left running may hold it open.
LAST_WORDS = 1.0

# What runs a script on the machine, as the user who is to run it. The script comes over the
# standard input, $1 bytes of it, so that nothing of it stands on a command line. After that the
# input only shows whether we are still there: once it ends, the script and all of its group do.
# What the script leaves running when it ends by itself, like a server, is left alone.
RUNNER = """
mask=$(umask)
umask 077
folder=$(mktemp -d) || exit 125
trap 'rm -rf "$folder"' EXIT
head -c "$1" > "$folder/script" && chmod 700 "$folder/script" || exit 125
umask "$mask"
exec 3<&0
apart=
if command -v setsid >/dev/null 2>&1; then apart=setsid; fi
$apart /bin/sh -e "$folder/script" </dev/null 2>&1 3<&- &
script=$!
end() { kill -s "$1" -- "-$script" || kill -s "$1" "$script"; }
(
  while read -r line; do :; done <&3
  : > "$folder/ended"
  end TERM
  for second in 1 2 3 4 5; do
    end 0 || exit 0
    sleep 1
  done
  end KILL
) >/dev/null 2>&1 </dev/null &
watcher=$!
wait "$script"
code=$?
if [ -e "$folder/ended" ]; then wait "$watcher"; else kill "$watcher"; fi
exit "$code"
"""


async def runner_for(
    connection: asyncssh.SSHClientConnection, login: Login, user: str
) -> list[str]:
    """The command that runs a script as `user`, tried out where it takes another's leave."""
    shell = ["/bin/sh", "-c"]
    if user == login.username:
        return [*shell, RUNNER, "sluice"]
    become = ["sudo", "-n", "-u", user, "--"]
    code, _, complaint = await called(connection, [*become, *shell, ":"])
    if code != 0:
        why = " ".join(complaint.split())[:300] or f"exit code {code}"
        raise MachineFailed(
            f"{login.username} may not run the script as {user}: {why.rstrip('.')}. Let sudo on "
            f"the machine allow it without a password, or set executeUser: {login.username}."
        )
    return [*become, *shell, RUNNER, "sluice"]


async def called(
    connection: asyncssh.SSHClientConnection, argv: list[str]
) -> tuple[int | None, str, str]:
    """The exit code, output and complaints of a small program of our own choosing."""
    done = await connection.run(shlex.join(argv), input="", errors="replace")
    assert isinstance(done.stdout, str)
    assert isinstance(done.stderr, str)
    return done.exit_status, done.stdout, done.stderr


async def run_script(
    connection: asyncssh.SSHClientConnection, runner: list[str], script: Script, said: Say
) -> int:
    text = script.text.encode()
    process = await connection.create_process(
        shlex.join([*runner, str(len(text))]), encoding=None, stderr=asyncssh.STDOUT
    )
    try:
        process.stdin.write(text)
        await _pass_on(process, said)
    except asyncio.CancelledError:
        # The end of its input has the machine end the script and what it started.
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            process.stdin.write_eof()
            await asyncio.wait_for(_ended(process), ENDS_WITHIN)
        raise
    if process.exit_status is None:
        raise MachineFailed("The connection was lost before the script had ended.")
    return process.exit_status


async def _pass_on(process: "asyncssh.SSHClientProcess[bytes]", said: Say) -> None:
    """Pass on each line of output until the script has ended."""
    lines = _Lines(said)
    ended_at: float | None = None
    clock = asyncio.get_running_loop()
    while ended_at is None or clock.time() < ended_at + LAST_WORDS:
        try:
            data = await asyncio.wait_for(process.stdout.read(READ), LAST_WORDS)
        except TimeoutError:
            data = None
        if data == b"":
            # Nobody there can say more; how the script ends is told when the channel closes.
            await process.wait_closed()
            break
        if data:
            await lines.add(data)
        if ended_at is None and process.exit_status is not None:
            ended_at = clock.time()
    await lines.end()


async def _ended(process: "asyncssh.SSHClientProcess[bytes]") -> None:
    while process.exit_status is None:
        with contextlib.suppress(TimeoutError):
            if not await asyncio.wait_for(process.stdout.read(READ), LAST_WORDS / 4):
                return


class _Lines:
    """Cuts output into lines, and lines that are too long into pieces."""

    def __init__(self, said: Say) -> None:
        self._said = said
        self._rest = b""

    async def add(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            await self._out(line)
        while len(self._rest) > LONGEST_LINE:
            await self._out(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]

    async def end(self) -> None:
        if self._rest:
            await self._out(self._rest)

    async def _out(self, line: bytes) -> None:
        await self._said(line.decode("utf-8", "replace").rstrip("\r"))
