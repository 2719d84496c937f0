"""Pipelines and their definitions: create, revise, check."""

import hashlib
from collections.abc import Callable
from functools import lru_cache

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from pipelines import rules, sources, steps
from pipelines.errors import Invalid, NameTaken, PreconditionFailed
from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import Report
from pipelines.flow.check import check as check_document
from pipelines.flow.document import Definition
from pipelines.flow.parser import parse
from pipelines.flow.schema import Catalog
from pipelines.models import Pipeline, Revision, Upstream
from pipelines.models.pipeline import check_slug


def catalog() -> Catalog:
    """The language, with what this site can run marked as available."""
    return LANGUAGE.with_available(steps=steps.available(), sources=sources.available())


def check(yaml: str | bytes, *, pipeline: str | None = None) -> Report:
    """All that can be said of a definition before it runs, against the pipelines of this site."""
    return check_document(yaml, catalog(), current_definition, pipeline)


def current_definition(slug: str) -> Definition | None:
    yaml = Pipeline.objects.filter(slug=slug).values_list("revision__yaml", flat=True).first()
    return parse(yaml).definition if yaml else None


def definition_of(revision: Revision) -> Definition:
    """The parsed text of a stored revision, which was checked before it was stored."""
    definition = _parsed(revision.yaml)
    if definition is None:
        raise Invalid(f"{revision} can no longer be read.")
    return definition


@lru_cache(maxsize=32)
def _parsed(yaml: str) -> Definition | None:
    """Kept, because a run's definition is asked for whenever one of its jobs moves."""
    return parse(yaml).definition


def create(slug: str, name: str, yaml: str, *, by: User) -> Pipeline:
    rules.require(by, "pipeline.write")
    try:
        check_slug(slug)
    except ValidationError as error:
        raise Invalid(f"“{slug[:80]}” cannot be a pipeline's id. {error.message}") from error
    report = _checked(yaml, slug)
    now = timezone.now()
    try:
        with transaction.atomic():
            pipeline = Pipeline.objects.create(
                slug=slug,
                name=name.strip() or (report.definition.name if report.definition else "") or slug,
                created_by=by,
                created_at=now,
            )
            _add_revision(pipeline, 1, yaml, by)
    except IntegrityError as error:
        raise NameTaken(f"There is a pipeline “{slug}” already. Choose another id.") from error
    return pipeline


def revise(
    pipeline: Pipeline,
    yaml: str,
    *,
    by: User,
    expected: int | None = None,
    object_to: Callable[[], None] = lambda: None,
) -> Revision:
    """Make `yaml` the current revision; the same text again changes nothing.

    `expected` is the revision that the writer saw: when another came in between, nothing is saved.
    `object_to` is called once nothing else speaks against saving, and may refuse it too. People
    save through impact.revise, which asks what other pipelines have against it.
    """
    rules.require(by, "pipeline.write")
    _checked(yaml, pipeline.slug)
    _expected(Pipeline.objects.select_related("revision").get(pk=pipeline.pk), expected)
    # Before the lock: reading the definitions of others takes time, in which runs must go on.
    object_to()
    with transaction.atomic():
        locked = Pipeline.objects.select_for_update().get(pk=pipeline.pk)
        current = _expected(locked, expected)
        if current.yaml == yaml:
            return current
        revision = _add_revision(locked, current.number + 1, yaml, by)
    pipeline.refresh_from_db()
    return revision


def _expected(pipeline: Pipeline, number: int | None) -> Revision:
    """The current revision, which must be the one that the writer saw if that is known."""
    current = pipeline.revision
    assert current is not None, "a pipeline is created with its first revision"
    if number is not None and number != current.number:
        raise PreconditionFailed(
            f"{pipeline.slug} is at revision {current.number} now, not {number}. "
            "Load it again and redo your change.",
            current=current.number,
        )
    return current


def _checked(yaml: str, slug: str) -> Report:
    report = check(yaml, pipeline=slug)
    if not report.valid:
        errors = [problem for problem in report.problems if problem.severity == "error"]
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise Invalid(f"The definition has {count}.", problems=report.problems)
    return report


def _add_revision(pipeline: Pipeline, number: int, yaml: str, by: User) -> Revision:
    revision = Revision.objects.create(
        pipeline=pipeline,
        number=number,
        yaml=yaml,
        digest=hashlib.sha256(yaml.encode()).hexdigest(),
        created_by=by,
        created_at=timezone.now(),
    )
    pipeline.revision = revision
    pipeline.save(update_fields=["revision"])
    Upstream.objects.filter(pipeline=pipeline).delete()
    Upstream.objects.bulk_create(
        Upstream(pipeline=pipeline, source=source.id, slug=slug)
        for source in definition_of(revision).sources.values()
        if source.type == "flowPipeline"
        and (slug := str(source.fields.get("flowPipeline") or "")[:200])
    )
    return revision
