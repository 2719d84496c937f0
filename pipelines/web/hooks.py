"""Push hooks: what the page of a pipeline shows of them, and their secrets, each shown once."""

from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from pipelines import hooks, rules
from pipelines.flow.document import Definition, Source
from pipelines.models import Pipeline, PushHook
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed


@dataclass(frozen=True, slots=True)
class ShownHook:
    """A source that listens, and its hook; without the one or the other when it is missing."""

    id: str
    source: Source | None
    hook: PushHook | None
    address: str


def shown_hooks(pipeline: Pipeline, definition: Definition | None) -> list[ShownHook]:
    """Every source that waits for pushes and every hook there is, by source."""
    listening = hooks.listening_sources(definition) if definition else []
    sources = {source.id: source for source in listening}
    made = {
        hook.source: hook
        for hook in pipeline.push_hooks.select_related("last_run__pipeline", "created_by")
    }
    return [
        ShownHook(id_, sources.get(id_), made.get(id_), hooks.address(pipeline, id_))
        for id_ in dict.fromkeys([*sources, *made])
    ]


@page("POST")
@never_cache
def hook_make(request: PageRequest, slug: str, source: str) -> HttpResponse:
    pipeline = _pipeline(slug)
    hook, secret = hooks.make(pipeline, source, by=request.user)
    return _secret(request, pipeline, hook, secret)


@page("POST")
@never_cache
def hook_rotate(request: PageRequest, slug: str, source: str) -> HttpResponse:
    pipeline = _pipeline(slug)
    hook = _hook(pipeline, source)
    rules.require(request.user, "pipeline.write")
    require_confirmed(request)
    return _secret(request, pipeline, hook, hooks.rotate(hook, by=request.user))


@page("POST")
def hook_remove(request: PageRequest, slug: str, source: str) -> HttpResponse:
    pipeline = _pipeline(slug)
    hook = _hook(pipeline, source)
    rules.require(request.user, "pipeline.write")
    require_confirmed(request)
    hooks.remove(hook, by=request.user)
    said = f"The hook of {source} was removed. Deliveries to it are refused from now on."
    return done(request, said, "pipelines:pipeline", slug)


def _secret(request: PageRequest, pipeline: Pipeline, hook: PushHook, secret: str) -> HttpResponse:
    """Answers with the secret itself, on this page only: it is stored encrypted, to be compared."""
    context = {
        "pipeline": pipeline,
        "hook": hook,
        "secret": secret,
        "address": hooks.address(pipeline, hook.source),
    }
    return render(request, "pipelines/hook_secret.html", context)


def _pipeline(slug: str) -> Pipeline:
    return one(
        Pipeline.objects.select_related("revision"),
        f"There is no pipeline “{slug[:64]}”.",
        slug=slug,
    )


def _hook(pipeline: Pipeline, source: str) -> PushHook:
    return one(
        pipeline.push_hooks.all(),
        f"{pipeline.slug} has no hook for a source “{source[:64]}”.",
        source=source,
    )
