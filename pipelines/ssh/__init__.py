"""Talk to one machine over SSH: bring a file there, run a script, pass on what it says.

Knows no row. All of it runs in an event loop (crews.py has one), in which nothing may ask the
database. `nouns` are what it is told, `connecting` finds the machine and makes sure that it is the
one, `files` and `scripts` are what is done there.
"""

import asyncssh

from pipelines.ssh.connecting import ask_host_key, connected, read_key
from pipelines.ssh.files import bring
from pipelines.ssh.nouns import USER, File, Login, Machine, MachineFailed, Say, Script
from pipelines.ssh.scripts import run_script, runner_for

__all__ = [
    "USER",
    "File",
    "Login",
    "Machine",
    "MachineFailed",
    "Say",
    "Script",
    "ask_host_key",
    "deploy",
    "read_key",
]

asyncssh.set_log_level("WARNING")


async def deploy(
    machine: Machine, login: Login, script: Script, said: Say, noted: Say, *, file: File | None
) -> None:
    """Bring the file, run the script. MachineFailed where something did not work.

    `said` is told what the script says, `noted` what else is done.

    Cancelled, it ends the script on the machine as far as can be before it lets go.
    """
    async with connected(machine, login) as connection:
        # First, so that a machine on which the script cannot be run keeps what it has.
        runner = await runner_for(connection, login, script.user)
        if file is not None:
            await bring(connection, file, noted)
        code = await run_script(connection, runner, script, said)
    if code:
        raise MachineFailed(f"The script ended with exit code {code}.")
