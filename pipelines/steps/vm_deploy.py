"""The component `VMDeploy`: an artifact to every machine of a group, and a script run there."""

import re
import shlex
import time
from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath

from pipelines import blobs, crews, processes, rollouts, ssh
from pipelines.connections import Opened
from pipelines.models import Blob, BlobState, ConnectionKind, Machine, MachineGroup
from pipelines.rollouts import Turn
from pipelines.steps.base import StepContext, StepFailed, StepPaused

MOST_AT_ONCE = 10
SHOWN = 5
NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*\Z")
#: Folders of the worker, which mean nothing on another machine.
OF_THE_WORKER = frozenset({"PROJECT_DIR", "WORKSPACE_DIR"})


def run(context: StepContext) -> None:
    deployment = _Deployment(context)
    rollout = rollouts.begin(context.job, deployment.machines, deployment.batches)
    total = len(rollout.batches)
    for number, turns in enumerate(rollout.batches, start=1):
        if turns:
            context.log.say(f"batch {number} of {total}: {_names(turns)}")
            deployment.deploy(turns)
        if any(rollout.batches[number:]) and deployment.pauses_after(number):
            raise StepPaused(
                f"Batch {number} of {total} is deployed. Look whether it works, then let the next "
                "one begin."
            )


class _Deployment:
    """What is deployed where, read from the step's arguments before any machine is touched."""

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.artifact = _artifact(context)
        self.group = context.text("machineGroup")
        self.path = _path(context.text("artifactDownloadPath"))
        self.batches = _batches(context.text("batchNumber", "1"))
        self.pause = context.text("pauseStrategy", "noPause")
        self.user = _user(context.text("executeUser", "root"))
        self.machines, connection = self._group()
        self.login = _login(connection)
        self.file = self._file()

    def _group(self) -> tuple[list[Machine], Opened]:
        group = MachineGroup.objects.select_related("connection").filter(name=self.group).first()
        if group is None:
            raise StepFailed(
                f"There is no machine group “{self.group[:64]}”. Make one, or name another in the "
                "definition."
            )
        # Opening it asks whether this run may use it.
        opened = self.context.connection(group.connection.name, ConnectionKind.SSH)
        machines = list(group.machines.all())
        if not machines:
            raise StepFailed(f"The machine group {group} has no machines.")
        return machines, opened

    def _file(self) -> ssh.File | None:
        """The artifact's bytes; an image has none, and the script finds its address."""
        sha256 = self.artifact.get("sha256", "")
        if not sha256:
            self.context.log.say(f"{self._image} is an image: nothing is brought to the machines")
            return None
        blob = Blob.objects.filter(pk=sha256).first()
        if blob is None or blob.state == BlobState.REMOVED:
            raise StepFailed(f"The artifact's bytes ({sha256}) are not kept here.")
        mark = f"sluice-{self.context.job.pk}"
        return ssh.File(self.path, sha256, partial(blobs.open_blob, blob), mark)

    @property
    def _image(self) -> str:
        return self.artifact.get("dockerUrl", "")

    def pauses_after(self, number: int) -> bool:
        wanted = self.pause == "eachBatchPause" or (self.pause == "firstBatchPause" and number == 1)
        return wanted and not rollouts.is_passed(self.context.job, number)

    # ---- One batch ------------------------------------------------------------------------------
    def deploy(self, turns: tuple[Turn, ...]) -> None:
        """Deploy to the machines of one batch; StepFailed unless all went well."""
        by_name = {turn.machine.name: turn for turn in turns}
        works = {name: self._work(turn.machine) for name, turn in by_name.items()}
        why = ""
        with crews.Crew(works, most=MOST_AT_ONCE) as crew:
            for event in crew.events():
                if event is not None:
                    self._note(event, by_name[event.machine])
                if not why and (why := self._why_stop()):
                    crew.stop(why)
        # What a stopped batch left of itself is told by the row of each machine as well.
        for turn in turns:
            if turn.result.state == rollouts.S.RUNNING:
                rollouts.end(turn.result, why or "It did not end.", self.context.job.gate)
        failed = {turn.machine.name: turn.result.error for turn in turns if turn.result.error}
        if failed or why:
            rollouts.skip_rest(self.context.job)
            raise StepFailed(why or _what_failed(failed, len(turns)))

    def _work(self, machine: Machine) -> crews.Work:
        target = ssh.Machine(machine.host, machine.port, machine.host_key)
        script = ssh.Script(self._script(machine), self.user)
        return partial(ssh.deploy, target, self.login, script, file=self.file)

    def _note(self, event: crews.Event, turn: Turn) -> None:
        log = self.context.log
        if isinstance(event, crews.Said):
            log.write(f"{event.machine}: {event.line}\n".encode())
        elif isinstance(event, crews.Noted):
            log.say(f"{event.machine}: {event.line}")
        elif isinstance(event, crews.Begun):
            rollouts.start(turn.result)
        else:
            rollouts.end(turn.result, event.error, self.context.job.gate)
            log.say(f"{event.machine}: {event.error or 'deployed'}")

    def _why_stop(self) -> str:
        if time.monotonic() > self.context.deadline:
            return processes.Ended(0, processes.TIMEOUT).why_not_good
        return self.context.why_stop()

    def _script(self, machine: Machine) -> str:
        """What the machine's shell reads: the variables, quoted, and the definition's script."""
        known = {
            **self.context.variables,
            "MACHINE_GROUP": self.group,
            "MACHINE_NAME": machine.name,
            "ARTIFACT_NAME": self.artifact.get("artifact", ""),
            "ARTIFACT_VERSION": self.artifact.get("version", ""),
        }
        if self.file is not None:
            known |= {"ARTIFACT_PATH": self.path, "ARTIFACT_SHA256": self.file.sha256}
        else:
            known["ARTIFACT_IMAGE"] = self._image
        head = [
            f"export {name}={shlex.quote(value)}"
            for name, value in known.items()
            if NAME.match(name) and name not in OF_THE_WORKER and "\x00" not in value
        ]
        return "\n".join([*head, self.context.text("run"), ""])


# ---- Arguments ---------------------------------------------------------------------------------
def _artifact(context: StepContext) -> Mapping[str, str]:
    found = context.with_.get("artifact")
    if not isinstance(found, dict) or not (found.get("sha256") or found.get("dockerUrl")):
        raise StepFailed(
            "VMDeploy needs an artifact to deploy: make `artifact` a reference, like "
            "$[stages.build.compile.upload.artifacts.default]."
        )
    return {str(key): str(value) for key, value in found.items()}


def _path(text: str) -> str:
    path = PurePosixPath(text)
    if (
        not path.is_absolute()
        or not path.name
        or text.endswith("/")
        or ".." in path.parts
        or any(ord(char) < 32 or ord(char) == 127 for char in text)
    ):
        raise StepFailed(
            f"artifactDownloadPath “{text[:120]}” must be the whole path of a file, like "
            "/srv/app/package.tgz."
        )
    return str(path)


def _user(text: str) -> str:
    if not ssh.USER.match(text):
        raise StepFailed(f"executeUser “{text[:40]}” is not the name of a user.")
    return text


def _batches(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) < 1:
        raise StepFailed(f"batchNumber “{text[:20]}” must be a number from 1.")
    return int(text)


def _login(opened: Opened) -> ssh.Login:
    username = opened.settings.get("username", "")
    if not ssh.USER.match(username):
        raise StepFailed(f"The connection {opened.name} names no user to log in as (username).")
    try:
        key = ssh.read_key(
            opened.secrets["private_key"], opened.secrets.get("passphrase", ""), opened.name
        )
    except ssh.MachineFailed as failure:
        raise StepFailed(failure.message) from failure
    return ssh.Login(username, key, opened.name)


# ---- Words -------------------------------------------------------------------------------------
def _names(turns: tuple[Turn, ...]) -> str:
    return ", ".join(turn.machine.name for turn in turns)


def _what_failed(failed: Mapping[str, str], machines: int) -> str:
    told = [f"{name}: {error}" for name, error in list(failed.items())[:SHOWN]]
    if len(failed) > SHOWN:
        told.append(f"and {len(failed) - SHOWN} more.")
    noun = "machine" if machines == 1 else "machines"
    return f"{len(failed)} of {machines} {noun} failed. {' '.join(told)}"
