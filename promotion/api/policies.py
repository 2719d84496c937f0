"""Calls on an environment's policy: read it, set it, its revisions, and a replay of another."""

from typing import Any, TypedDict

from django.http import HttpResponse, HttpResponseBase
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import (
    ApiView,
    StrictSerializer,
    entity_tag,
    has_already,
    page,
    query,
    read,
    require_match,
)
from pipelines.api.parsers import JsonParser, PlainYamlParser, YamlParser
from pipelines.api.schema import operation, page_of, shape
from pipelines.errors import Invalid
from promotion import policies, replaying
from promotion.api import lookups
from promotion.api.shapes import PolicyAnswer, environment_answer, policy_answer
from promotion.models import PolicyRevision
from promotion.replaying import MOST, Replayed
from promotion.rules import require

TAG = "Promotion"


class YamlRenderer(BaseRenderer):
    """Chosen by `Accept: text/yaml`; the view writes by itself."""

    media_type = "text/yaml"
    format = "yaml"


class PlainYamlRenderer(YamlRenderer):
    media_type = "application/yaml"


class ReplayBody(StrictSerializer):
    """One of `policy` and `yaml`."""

    policy = serializers.DictField(required=False)
    yaml = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    last = serializers.IntegerField(
        min_value=1,
        max_value=MOST,
        default=50,
        help_text="How many of the last promotions that were carried out are looked at.",
    )


class ReplayedAnswer(TypedDict):
    promotion: int
    gates: list[dict[str, Any]]


class ReplayAnswer(TypedDict):
    """`stopped`: with the gates that would have been closed. `unknown`: with those for which a fact
    of then is not kept that makes a difference."""

    environment: str
    checked: int
    stopped: list[ReplayedAnswer]
    unknown: list[ReplayedAnswer]


class PolicyView(ApiView):
    parser_classes = [JsonParser, YamlParser, PlainYamlParser]
    renderer_classes = [JSONRenderer, YamlRenderer, PlainYamlRenderer]

    @operation(
        "An environment's policy",
        {
            200: shape(PolicyAnswer),
            (200, "text/yaml"): str,
            (200, "application/yaml"): str,
        },
        refusals=(404,),
        tag=TAG,
    )
    def get(self, request: Request, environment: str) -> HttpResponseBase:
        query(request, is_list=False)
        policy = policies.current_policy(lookups.environment(environment))
        chosen = request.accepted_renderer
        if isinstance(chosen, YamlRenderer):
            return _in_yaml(request, policy, chosen.media_type)
        return Response(policy_answer(policy))

    @operation(
        "Make a new revision of an environment's policy",
        {200: shape(PolicyAnswer)},
        refusals=(404, 412, 415, 422),
        body={"application/json": dict[str, Any], "text/yaml": str, "application/yaml": str},
        headers={
            "If-Match": "The ETag of the policy or of its environment: refuse when it was "
            "changed since."
        },
        tag=TAG,
    )
    def put(self, request: Request, environment: str) -> Response:
        if not isinstance(request.data, dict):
            raise Invalid("A policy is a JSON object.")
        is_yaml = "yaml" in request.content_type
        # An empty body reaches no parser; as YAML it is a policy that says nothing.
        written = request.data.get("yaml", "") if is_yaml else request.data
        found = lookups.environment(environment)
        present = policies.current_policy(found)
        tags = (entity_tag(policy_answer(present)), _tag_of_yaml(present))
        is_exact = require_match(request, entity_tag(environment_answer(found)), found.name, *tags)
        revision = policies.set_policy(
            found, written, by=caller(request), expected=present.number if is_exact else None
        )
        return Response(policy_answer(revision))


def _in_yaml(request: Request, policy: PolicyRevision, media_type: str) -> HttpResponse:
    tag = _tag_of_yaml(policy)
    known = has_already(request, tag)
    answer = HttpResponse(
        b"" if known else policies.written(policy),
        status=304 if known else 200,
        content_type=f"{media_type}; charset=utf-8",
    )
    answer["ETag"] = tag
    answer["Cache-Control"] = "private, no-cache"
    return answer


def _tag_of_yaml(policy: PolicyRevision) -> str:
    return f'"{policy.number}-{policy.digest.removeprefix("sha256:")[:32]}"'


class PolicyRevisionsView(ApiView):
    @operation(
        "List the revisions of an environment's policy",
        {200: page_of(PolicyAnswer)},
        refusals=(404,),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, environment: str) -> Response:
        query(request)
        rows = PolicyRevision.objects.filter(environment=lookups.environment(environment))
        return page(self, request, rows.select_related("environment", "created_by"), policy_answer)


class ReplayView(ApiView):
    @operation(
        "Which of the last promotions another policy would have stopped; nothing is changed",
        {200: shape(ReplayAnswer)},
        refusals=(404, 415, 422),
        body=ReplayBody,
        tag=TAG,
    )
    def post(self, request: Request, environment: str) -> Response:
        body, by = read(ReplayBody, request), caller(request)
        require(by, "environment.manage")
        found = lookups.environment(environment)
        if ("policy" in body) == ("yaml" in body):
            raise Invalid("Send the policy either as “policy” or as “yaml”.")
        if "yaml" in body:
            rules = policies.read_text(body["yaml"], found.name)
        else:
            rules = policies.check_rules(body["policy"], found.name)
        told = replaying.replay(found, rules, by=by, last=body["last"])
        answer: ReplayAnswer = {
            "environment": found.name,
            "checked": told.checked,
            "stopped": [_replayed_answer(each) for each in told.stopped],
            "unknown": [_replayed_answer(each) for each in told.unknown],
        }
        return Response(answer)


def _replayed_answer(told: Replayed) -> ReplayedAnswer:
    return {"promotion": told.promotion.pk, "gates": [gate.as_json() for gate in told.gates]}
