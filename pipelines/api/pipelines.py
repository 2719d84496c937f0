"""Calls on definitions and pipelines."""

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines import definitions, impact
from pipelines.api.base import (
    ApiView,
    StrictSerializer,
    entity_tag,
    idempotent,
    page,
    query,
    read,
    require_match,
)
from pipelines.api.parsers import JsonParser, PlainYamlParser, YamlParser
from pipelines.api.schema import IDEMPOTENCY, operation, page_of, shape
from pipelines.api.shapes import (
    CheckAnswer,
    PipelineAnswer,
    RevisionAnswer,
    check_answer,
    pipeline_answer,
    revision_answer,
)
from pipelines.errors import BadRequest, Invalid
from pipelines.models import Pipeline, Run
from pipelines.rules import require

TAG = "Pipelines"


YAML_OR_JSON = [JsonParser, YamlParser, PlainYamlParser]


class YamlBody(StrictSerializer):
    yaml = serializers.CharField(trim_whitespace=False, max_length=2_000_000)


class AnyText(serializers.CharField):
    """Whatever was written: the check itself says what is wrong with it."""

    def __init__(self) -> None:
        super().__init__(trim_whitespace=False, allow_blank=True)
        self.validators = []


class CheckBody(StrictSerializer):
    yaml = AnyText()
    pipeline = serializers.CharField(
        max_length=64,
        required=False,
        default="",
        allow_blank=True,
        help_text="The id of the pipeline that it is meant for: `breaks` then says whom it breaks.",
    )


class PipelineBody(YamlBody):
    id = serializers.CharField(max_length=64)
    name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


def pipelines() -> QuerySet[Pipeline]:
    newest = Run.objects.order_by("-number")
    return Pipeline.objects.select_related("revision", "created_by").prefetch_related(
        Prefetch("runs", queryset=newest[:1], to_attr="newest_runs")
    )


def find_pipeline(slug: str) -> Pipeline:
    found = pipelines().filter(slug=slug).first()
    if found is None:
        raise Http404
    return found


class CheckView(ApiView):
    parser_classes = YAML_OR_JSON

    @operation(
        "Check a definition without saving it",
        {200: shape(CheckAnswer)},
        refusals=(415, 422),
        body={"application/json": CheckBody, "text/yaml": str},
        tag=TAG,
    )
    def post(self, request: Request) -> Response:
        require(caller(request), "view")
        if not request.data and "yaml" in request.content_type:
            # An empty body reaches no parser; it is an empty definition.
            return Response(check_answer(definitions.check("")))
        body = read(CheckBody, request)
        slug = body["pipeline"] or None
        report = definitions.check(body["yaml"], pipeline=slug)
        return Response(check_answer(report, impact.broken_by(slug, body["yaml"]) if slug else ()))


class PipelinesView(ApiView):
    @operation("List pipelines", {200: page_of(PipelineAnswer)}, tag=TAG, is_list=True)
    def get(self, request: Request) -> Response:
        query(request)
        return page(self, request, pipelines(), pipeline_answer)

    @operation(
        "Create a pipeline",
        {201: shape(PipelineAnswer)},
        refusals=(409, 415, 422),
        body=PipelineBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = read(PipelineBody, request)
        made = definitions.create(body["id"], body["name"], body["yaml"], by=caller(request))
        return Response(pipeline_answer(find_pipeline(made.slug)), status=201)


class PipelineView(ApiView):
    @operation("One pipeline", {200: shape(PipelineAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, pipeline: str) -> Response:
        query(request, is_list=False)
        return Response(pipeline_answer(find_pipeline(pipeline)))


class DefinitionView(ApiView):
    parser_classes = YAML_OR_JSON

    @operation(
        "Make a new revision of a pipeline's definition",
        {200: shape(RevisionAnswer)},
        refusals=(404, 409, 412, 415, 422),
        body={"application/json": YamlBody, "text/yaml": str},
        query={"accept_broken": "1: save it though other pipelines' references would break."},
        headers={"If-Match": "The pipeline's ETag: refuse when it was changed since."},
        tag=TAG,
    )
    def put(self, request: Request, pipeline: str) -> Response:
        accept_broken = query(request, "accept_broken", is_list=False).get("accept_broken", "0")
        if accept_broken not in {"0", "1"}:
            raise Invalid("accept_broken is 1 or 0.")
        found = find_pipeline(pipeline)
        yaml = read(YamlBody, request)["yaml"]
        expected = None
        if require_match(request, entity_tag(pipeline_answer(found)), found.slug):
            expected = found.revision.number if found.revision else None
        revision = impact.revise(
            found,
            yaml,
            by=caller(request),
            expected=expected,
            accept_broken=accept_broken == "1",
        )
        return Response(revision_answer(revision))


class RevisionsView(ApiView):
    @operation(
        "List the revisions of a pipeline",
        {200: page_of(RevisionAnswer)},
        refusals=(404,),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, pipeline: str) -> Response:
        query(request)
        rows = get_object_or_404(Pipeline, slug=pipeline).revisions.select_related(
            "pipeline", "created_by"
        )
        return page(self, request, rows, revision_answer)


def as_number(text: str, noun: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadRequest(f"“{text[:20]}” is not the number of {noun}.")
    return int(text)
