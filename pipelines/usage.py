"""Where a service connection is used: the pipelines whose current revision names it, and what else
of the site it is bound to. Other apps register what they bind."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pipelines.flow.document import Definition, Value, walk_strings
from pipelines.flow.parser import parse
from pipelines.models import Pipeline, ServiceConnection

#: Fields that name a connection, in sources, steps and components alike.
FIELDS = frozenset({"serviceConnection", "kubernetesCluster"})


@dataclass(frozen=True, slots=True)
class Use:
    """What a connection is bound to: `noun` says what that is, `url` is the page of it."""

    noun: str
    name: str
    url: str


_finders: list[Callable[[ServiceConnection], Iterable[Use]]] = []


def register(find: Callable[[ServiceConnection], Iterable[Use]]) -> None:
    _finders.append(find)


def uses_of(connection: ServiceConnection) -> list[Use]:
    """What cannot do without the connection; as long as there is such, it cannot be removed."""
    return [use for find in _finders for use in find(connection)]


def pipelines_naming(connection: str) -> list[Pipeline]:
    """Those that would break without it, by id. A name out of a variable is not found."""
    # The text is looked through by the database first; a name in a comment is no use of it.
    holding = Pipeline.objects.filter(revision__yaml__contains=connection)
    return [
        pipeline
        for pipeline in holding.select_related("revision").order_by("slug")
        if connection in _named_in(pipeline)
    ]


def _named_in(pipeline: Pipeline) -> set[str]:
    assert pipeline.revision is not None, "a pipeline is created with its first revision"
    definition = parse(pipeline.revision.yaml).definition
    if definition is None:
        return set()
    return {
        text
        for value in _values(definition)
        for path, text in walk_strings(value, "")
        if path.rpartition(".")[2] in FIELDS
    }


def _values(definition: Definition) -> Iterator[Value]:
    for source in definition.sources.values():
        yield dict(source.fields)
    for stage in definition.stages:
        for job in stage.jobs:
            yield dict(job.with_)
            yield list(job.plugins)
            for step in job.steps:
                yield dict(step.with_)
