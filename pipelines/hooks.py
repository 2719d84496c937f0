"""Push hooks: make, rotate, remove; and receive what code servers deliver to them.

Whoever delivers has no account. A delivery proves that it knows the hook's secret, and the run that
it starts is in the name of the person who was shown that secret: nobody can borrow, with a secret
of their own, the connections that only the author of the definition may use.
"""

import secrets
import time
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from pipelines import links, pushes, rules, runs, sealing
from pipelines.definitions import catalog, definition_of
from pipelines.errors import Invalid, NameTaken, NotGenuine
from pipelines.flow.document import Definition, Source
from pipelines.models import Pipeline, PushHook, Run, Trigger

SECRET_BYTES = 32
#: Compared with when there is no hook, so that this takes as long as when there is one.
NOBODYS = secrets.token_urlsafe(SECRET_BYTES)


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a delivery: the run that it started, or none, and why."""

    run: Run | None
    why: str


# ---- Make and change ---------------------------------------------------------------------------
def make(pipeline: Pipeline, source_id: str, *, by: User) -> tuple[PushHook, str]:
    """Make the hook of a source; the second value is its secret, not to be had again."""
    rules.require(by, "pipeline.write")
    assert pipeline.revision is not None, "a pipeline is created with its first revision"
    waiting = {source.id for source in listening_sources(definition_of(pipeline.revision))}
    if source_id not in waiting:
        has = ", ".join(sorted(waiting)) or "none"
        raise Invalid(
            f"{pipeline.slug} has no code source “{source_id[:64]}” with triggerEvents. With them "
            f"it has: {has}."
        )
    secret, now = secrets.token_urlsafe(SECRET_BYTES), timezone.now()
    try:
        with transaction.atomic():
            hook = PushHook.objects.create(
                pipeline=pipeline,
                source=source_id,
                sealed=sealing.seal({"secret": secret}),
                created_by=by,
                created_at=now,
                changed_at=now,
                holder=by,
            )
    except IntegrityError as error:
        raise NameTaken(
            f"{pipeline.slug} has a hook for {source_id} already. Rotate its secret instead."
        ) from error
    return hook, secret


def rotate(hook: PushHook, *, by: User) -> str:
    """Give the hook a new secret; deliveries that prove the old one are refused from now on."""
    rules.require(by, "pipeline.write")
    secret = secrets.token_urlsafe(SECRET_BYTES)
    hook.sealed, hook.changed_at = sealing.seal({"secret": secret}), timezone.now()
    hook.holder = by
    hook.save(update_fields=["sealed", "changed_at", "holder"])
    return secret


def remove(hook: PushHook, *, by: User) -> None:
    rules.require(by, "pipeline.write")
    hook.delete()


def rotate_keys() -> int:
    """Encrypt every hook's secret anew with the first key; how many there were."""
    return sealing.reseal_all(PushHook.objects.all())


def listening_sources(definition: Definition) -> list[Source]:
    """The code sources of which something that is pushed may start a run."""
    known = catalog().sources
    return [
        source
        for source in definition.sources.values()
        if source.type in known and known[source.type].kind == "code" and source.trigger_events
    ]


def address(pipeline: Pipeline, source_id: str) -> str:
    """Where a code server delivers to."""
    return links.absolute(reverse("api:push-hook", args=[pipeline.slug, source_id]))


# ---- Receive -----------------------------------------------------------------------------------
def receive(slug: str, source_id: str, headers: pushes.Headers, body: bytes) -> Received:
    """Start at most one run for a delivery, however often it comes.

    NotGenuine when it does not prove the secret, and in the same words when there is no such hook:
    a stranger learns no names here.
    """
    hook = (
        PushHook.objects.select_related("pipeline__revision", "holder")
        .filter(pipeline__slug=slug, source=source_id)
        .first()
    )
    secret = sealing.unseal(hook.sealed)["secret"] if hook else NOBODYS
    if not pushes.is_genuine(headers, body, secret, now=time.time()) or hook is None:
        raise NotGenuine(
            "There is no such hook, or the delivery is not signed with its secret. Set the secret "
            "that Sluice showed when the hook was made; if it is lost, rotate it."
        )
    found = pushes.read(headers, body)
    if isinstance(found, pushes.Nothing):
        received = Received(None, found.why)
    else:
        received = _received(hook, found)
    PushHook.objects.filter(pk=hook.pk).update(
        last_at=timezone.now(),
        last_delivery=found.delivery if isinstance(found, pushes.Push) else "",
        last_why=received.why,
        last_run=received.run,
    )
    return received


def _received(hook: PushHook, push: pushes.Push) -> Received:
    pipeline = hook.pipeline
    revision = pipeline.revision
    assert revision is not None, "a pipeline is created with its first revision"
    source = definition_of(revision).sources.get(hook.source)
    if source is None:
        return Received(None, f"The definition has no source {hook.source} any more.")
    once = f"push:{hook.source}:{push.once}"
    if before := pipeline.runs.filter(once=once).first():
        return Received(before, f"This was delivered before, and started {before}.")
    decision = pushes.decide(push, source)
    if not decision.starts:
        return Received(None, decision.why)
    run = runs.start_by_event(
        pipeline,
        by=hook.holder,
        trigger=Trigger.PUSH,
        once=once,
        asked={source.id: {"branch": push.name, "commit": push.commit}},
        comment=f"{push.sender}: {push.title}" if push.sender and push.title else push.title,
    )
    return Received(run, f"{decision.why} {run.error}".strip())
