"""The steps `DockerBuildPush` and `DockerBuildPushACR`: a Dockerfile becomes an image somewhere.

What is recorded is the digest that the registry reports after the push, and a builder that pushed
another is an error: a tag is only a name, and somebody else may have moved it meanwhile.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from pipelines import artifacts, builders, isolation, logins, registry, userns
from pipelines.builders import Builder, Order
from pipelines.errors import SluiceError
from pipelines.registry import ImageName
from pipelines.steps.base import StepContext, StepFailed
from pipelines.steps.docker_login import log_in

SHOWN = 20


def run(context: StepContext) -> None:
    try:
        _build_and_push(context, registry.parse(context.text("image")))
    except SluiceError as refusal:
        raise StepFailed(refusal.detail) from refusal


def run_acr(context: StepContext) -> None:
    """ACR's spelling: repository and tag apart, and the login in the same step."""
    written = f"{context.text('dockerRegistry').rstrip('/')}:{context.text('dockerTag')}"
    try:
        image = registry.parse(written)
        if connection := context.text("serviceConnection"):
            log_in(context, image.registry, connection)
        _build_and_push(context, image)
    except SluiceError as refusal:
        raise StepFailed(refusal.detail) from refusal


def _build_and_push(context: StepContext, image: ImageName) -> None:
    if image.digest or not image.tag:
        raise StepFailed(
            f"The image {image} must have a tag and no digest: it gets its digest by being pushed."
        )
    builder = builders.current()
    if builder is None:
        raise StepFailed(
            "This worker has nothing to build images with. Looked for: docker with buildx and an "
            "engine that answers, buildah, podman, and buildctl with a daemon that answers. "
            "Install one of them and start the worker anew, or let a runner that has one serve "
            "the job's group."
        )
    dockerfile = _dockerfile(context)
    folder = context.inside(context.text("contextPath", "."), "contextPath")
    if not folder.is_dir():
        raise StepFailed(f"contextPath “{context.text('contextPath')}” is not a folder.")
    credentials = logins.find(context.place, image.registry)
    # Whether it may be pushed at all shows before the build, which may take long.
    registry.check_login(image.registry, credentials)
    with _scratch(context, builder) as scratch:
        order = Order(
            image=str(image),
            dockerfile=dockerfile,
            context=folder,
            scratch=scratch,
            is_plain=registry.is_plain(image.registry),
            cache=_cache(context, builder, image),
        )
        context.log.say(f"builds {image} with {builder}")
        _call(context, builder, builder.build(order))
        if push := builder.push(order):
            _call(context, builder, push)
        pushed = builder.pushed(order)
    digest = registry.digest_of(image, credentials)
    if pushed and digest not in pushed:
        raise StepFailed(
            f"{builder.kind.name} pushed {', '.join(sorted(pushed))}, and {image.registry} has "
            f"{digest} as {image}. Somebody else pushed the same tag; nothing was recorded. Use a "
            "tag of the run's own, like ${BUILD_NUMBER}."
        )
    pinned = image.pinned(digest)
    artifacts.store_image(
        context.run,
        context.made_at,
        context.text("artifact"),
        str(pinned),
        image.tag,
        by=context.run.started_by,
    )
    context.log.say(f"pushed {pinned}")


def _dockerfile(context: StepContext) -> Path:
    written = context.text("dockerfilePath", "Dockerfile")
    found = context.inside(written, "dockerfilePath")
    if found.is_dir():
        found = context.inside(f"{written}/Dockerfile", "dockerfilePath")
    if not found.is_file():
        there = sorted(entry.name for entry in context.folder.iterdir())[:SHOWN]
        raise StepFailed(
            f"There is no Dockerfile at “{written}”. The folder holds: "
            f"{', '.join(there) or 'nothing'}."
        )
    return found


def _cache(context: StepContext, builder: Builder, image: ImageName) -> str:
    """The repository for layers, where they are to be kept and the builder can."""
    wanted = context.text("cacheType", "none")
    if wanted in {"", "none"}:
        return ""
    if wanted != "remote" or not builder.kind.caches:
        context.log.say(f"cacheType {wanted}: {builder} keeps no layers that way; all are built")
        return ""
    return f"{image.registry}/{image.repository}"


@contextmanager
def _scratch(context: StepContext, builder: Builder) -> Iterator[Path]:
    """A folder for layers, gone with the step: the steps after it need the disk."""
    folder = context.place.own / f"build-{context.made_at.step}"
    folder.mkdir(mode=0o700)
    context.place.give(folder)
    try:
        yield folder
    finally:
        if os.geteuid():
            # Layers have folders that nobody may write into, which binds all but root.
            for path, _, _ in os.walk(folder):
                with contextlib.suppress(OSError):
                    Path(path).chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            builder.remove(folder)


def _call(context: StepContext, builder: Builder, argv: list[str]) -> None:
    """Run the builder outside the job's container, which has none.

    A daemon keeps what it builds to itself, so its client runs as the worker. Any other builder
    starts what a Dockerfile says as its own child, and so is the job's user, not the worker.
    """
    place = context.place
    own: Mapping[str, str] = {}
    if not builder.kind.has_daemon:
        own = {"HOME": str(place.own / "home"), "TMPDIR": str(place.own / "tmp")}
        if place.user is not None:
            own = {**own, "_CONTAINERS_USERNS_CONFIGURED": "done"}
            argv = _confined(place.user, argv)
    more = {
        **builder.environment(),
        **logins.environment(place, as_worker=builder.kind.has_daemon),
        **own,
    }
    ended = context.call(argv, more=more, as_worker=True)
    if why := ended.why_not_good:
        raise StepFailed(f"{builder.kind.name}: {why}", ended.exit_code)


def _confined(user: int, argv: list[str]) -> list[str]:
    """`argv` as root of a namespace in which that root is the job's user."""
    first = FIRST_INNER + (user - settings.STEP_USERS[0]) * (userns.COUNT + 1)
    limits = [f"{name}={number}" for name, number in isolation.limits(user).items()]
    return [
        *(sys.executable, "-I", "-S", userns.__file__, str(user), str(first), *limits),
        *("--", *argv),
    ]


#: Users of images begin here, far from those that systems give to people and their containers.
FIRST_INNER = 2**30
