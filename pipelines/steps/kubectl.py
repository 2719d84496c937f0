"""The steps `KubectlApply` and `KubectlSetImage`: the real kubectl, for one cluster.

kubectl runs as the worker, because its kubeconfig must stay out of the job's hands. It gets a
kubeconfig that was made for it (pipelines/kubeconfig.py), manifests that were written out for it
(pipelines/manifests.py), a home folder without anybody's settings, and arguments in a list.
"""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from pipelines import kubeconfig, manifests
from pipelines.errors import SluiceError
from pipelines.flow.document import as_text
from pipelines.models import ConnectionKind
from pipelines.plain import write_private
from pipelines.steps.base import StepContext, StepFailed

PATIENCE = 60
# What Kubernetes takes for a name; none of them can look like an option.
NAME = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
KIND = re.compile(r"^[A-Za-z][A-Za-z0-9.]{0,62}\Z")
KEY = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z")


def apply(context: StepContext) -> None:
    values = _values(context)
    paths = context.texts("yamlPath")
    if not paths:
        raise StepFailed("yamlPath is empty. Name a manifest or a folder of them.")
    with _ready(context) as kubectl:
        rendered = manifests.render(
            paths,
            values,
            folder=context.folder,
            workspace=context.place.workspace,
            into=kubectl.scratch / "manifests",
        )
        for name in rendered.unanswered:
            context.log.say(f"${{{name}}} stays as it is: no variable of this step is called so")
        verb = "replace" if context.with_.get("useReplace") else "apply"
        context.log.say(f"kubectl {verb}: {', '.join(rendered.files)}")
        kubectl.call(context, verb, [f"--filename={rendered.folder}"])


def set_image(context: StepContext) -> None:
    image = _image(context)
    kind, workload = context.text("workloadKind", "Deployment"), context.text("workload")
    container = context.text("container")
    if not KIND.match(kind):
        raise StepFailed(f"workloadKind “{kind[:80]}” is no kind of workload, like Deployment.")
    for what, name in (("workload", workload), ("container", container)):
        _require_name(what, name)
    with _ready(context) as kubectl:
        target = f"{kind.lower()}/{workload}"
        context.log.say(f"kubectl set image: {container} of {target} becomes {image}")
        kubectl.call(context, "set", ["image", "--", target, f"{container}={image}"])


@dataclass(frozen=True, slots=True)
class _Kubectl:
    program: str
    namespace: str
    config: Path
    scratch: Path

    def call(self, context: StepContext, verb: str, arguments: list[str]) -> None:
        argv = [self.program, f"--namespace={self.namespace}", verb, *arguments]
        more = {"KUBECONFIG": str(self.config), "HOME": str(self.scratch)}
        ended = context.call(argv, more=more, as_worker=True)
        if why := ended.why_not_good:
            raise StepFailed(f"kubectl {verb}: {why}", ended.exit_code)


@contextmanager
def _ready(context: StepContext) -> Iterator[_Kubectl]:
    """kubectl with access to the step's cluster, which is taken away when the step ends."""
    connection = context.text("kubernetesCluster")
    if not connection:
        raise StepFailed(
            "kubernetesCluster is empty. Name a service connection of kind kubernetes that holds "
            "the cluster's kubeconfig."
        )
    namespace = context.text("namespace", "default")
    _require_name("namespace", namespace)
    program = _program(context)
    scratch = context.place.own / f"kubectl-{context.made_at.step}"
    scratch.mkdir(mode=0o700)
    try:
        try:
            opened = context.connection(connection, ConnectionKind.KUBERNETES)
            access = kubeconfig.parse(opened.secrets["kubeconfig"])
            for secret in access.secrets:
                context.log.mask(secret)
            text = access.render(skip_tls_verify=bool(context.with_.get("skipTlsVerify")))
            config = scratch / "kubeconfig"
            write_private(config, text.encode())
            context.log.say(f"cluster {connection} at {access.server}, namespace {namespace}")
            yield _Kubectl(program, namespace, config, scratch)
        except SluiceError as refusal:
            raise StepFailed(refusal.detail) from refusal
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _program(context: StepContext) -> str:
    found = shutil.which(settings.KUBECTL or "kubectl")
    if found is None:
        raise StepFailed(
            f"This worker has no {settings.KUBECTL or 'kubectl'}. Install kubectl, name it with "
            "SLUICE_KUBECTL, or let a runner that has it serve the job's group."
        )
    version = _version(found)
    context.log.say(f"kubectl {version or 'of an unknown version'}")
    asked = context.text("kubectlVersion").removeprefix("v")
    if asked and not _is_version(version, asked):
        context.log.say(f"the definition asks for kubectl {asked}; the worker's is used")
    return found


def _is_version(version: str, asked: str) -> bool:
    """Whether `version` is `asked`, as far as that goes: 1.30 asks for any 1.30."""
    parts = asked.split(".")
    return version.split(".")[: len(parts)] == parts


@functools.cache
def _version(program: str) -> str:
    """The client's version, or an empty text. It is asked once for each program."""
    try:
        done = subprocess.run(
            [program, "version", "--client", "--output=json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        version = json.loads(done.stdout)["clientVersion"]["gitVersion"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return ""
    return str(version).removeprefix("v")


def _values(context: StepContext) -> dict[str, str]:
    """The step's `variables`, which are a list of key and value."""
    values: dict[str, str] = {}
    given = context.with_.get("variables")
    for pair in given if isinstance(given, list) else ():
        if not isinstance(pair, dict) or "key" not in pair or "value" not in pair:
            raise StepFailed("Each of variables needs a key and a value.")
        key = str(pair["key"])
        if not KEY.match(key):
            raise StepFailed(f"“{key[:80]}” cannot name a variable of a manifest.")
        values[key] = as_text(pair["value"])
    return values


def _image(context: StepContext) -> str:
    artifact = context.with_.get("artifact")
    image = artifact.get("dockerUrl") if isinstance(artifact, dict) else artifact
    if not isinstance(image, str) or "@sha256:" not in image:
        raise StepFailed(
            "artifact is no image that is pinned by its digest. Refer to the artifact of a step "
            "that pushed one, like $[jobs.build.push.artifacts.image]."
        )
    return image


def _require_name(what: str, name: str) -> None:
    if not NAME.match(name):
        raise StepFailed(
            f"{what} “{name[:80]}” is no name in Kubernetes: use small letters, digits, - and dots."
        )
