"""Calls on retention: which versions of a repository are kept, and what other rules would do."""

from typing import TypedDict

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import (
    ApiView,
    StrictSerializer,
    entity_tag,
    query,
    read,
    require_match,
)
from pipelines.api.schema import operation, shape
from promotion import keeping, retention, usage
from promotion.api import lookups
from promotion.keeping import Rules
from promotion.models import Repository

TAG = "Repositories"
#: How many versions a preview tells of; all are counted.
MAX_TOLD = 1000


def _days() -> serializers.IntegerField:
    return serializers.IntegerField(
        min_value=1, max_value=36_500, required=False, allow_null=True, default=None
    )


class RetentionBody(StrictSerializer):
    """What is left out or null keeps nothing; without any of the first three all is kept."""

    newest = serializers.IntegerField(
        min_value=1, max_value=1_000_000, required=False, allow_null=True, default=None
    )
    younger_days = _days()
    used_days = _days()
    placed_days = serializers.IntegerField(min_value=0, max_value=36_500, default=30)


class RulesAnswer(TypedDict):
    newest: int | None
    younger_days: int | None
    used_days: int | None
    placed_days: int


class RetentionAnswer(TypedDict):
    repository: str
    rules: RulesAnswer
    in_words: list[str]


class DecisionAnswer(TypedDict):
    package: str
    version: str
    keeps: bool
    why: str
    size: int | None


class PreviewAnswer(RetentionAnswer):
    """`versions`: those that would be pruned come first, at most 1,000 in all. `doubts` are
    sentences on what should make one think twice."""

    kept: int
    pruned: int
    bytes_freed: int
    doubts: list[str]
    versions: list[DecisionAnswer]


def _rules_answer(rules: Rules) -> RulesAnswer:
    return {
        "newest": rules.newest,
        "younger_days": rules.younger_days,
        "used_days": rules.used_days,
        "placed_days": rules.placed_days,
    }


def _retention_answer(repository: Repository, rules: Rules) -> RetentionAnswer:
    return {
        "repository": repository.name,
        "rules": _rules_answer(rules),
        "in_words": keeping.in_words(rules),
    }


class RetentionView(ApiView):
    @operation(
        "Which versions of a repository are kept",
        {200: shape(RetentionAnswer)},
        refusals=(404,),
        tag=TAG,
    )
    def get(self, request: Request, repository: str) -> Response:
        query(request, is_list=False)
        found = lookups.repository(repository)
        return Response(_retention_answer(found, retention.rules_of(found)))

    @operation(
        "Set which versions of a repository are kept; the bytes of others go, for ever",
        {200: shape(RetentionAnswer)},
        refusals=(404, 412, 415, 422),
        body=RetentionBody,
        headers={"If-Match": "The ETag of the present rules: refuse when they changed since."},
        tag=TAG,
    )
    def put(self, request: Request, repository: str) -> Response:
        body = read(RetentionBody, request)
        found = lookups.repository(repository)
        present = retention.rules_of(found)
        is_exact = require_match(
            request, entity_tag(_retention_answer(found, present)), f"The retention of {found}"
        )
        retention.set_rules(
            found, Rules(**body), by=caller(request), expected=present if is_exact else None
        )
        return Response(_retention_answer(found, retention.rules_of(found)))


class PreviewView(ApiView):
    @operation(
        "What retention rules would keep and prune now; nothing is changed",
        {200: shape(PreviewAnswer)},
        refusals=(404, 415, 422),
        body=RetentionBody,
        tag=TAG,
    )
    def post(self, request: Request, repository: str) -> Response:
        wanted = Rules(**read(RetentionBody, request))
        found = lookups.repository(repository)
        planned = retention.preview(found, wanted, by=caller(request))
        doomed = [each for each in planned if not each.decision.keeps]
        told = sorted(planned, key=lambda each: each.decision.keeps)[:MAX_TOLD]
        answer: PreviewAnswer = {
            "repository": found.name,
            "rules": _rules_answer(wanted),
            "in_words": keeping.in_words(wanted),
            "kept": len(planned) - len(doomed),
            "pruned": len(doomed),
            "bytes_freed": usage.bytes_freed([each.version for each in doomed]),
            "doubts": retention.doubts(wanted, planned),
            "versions": [_decision_answer(each) for each in told],
        }
        return Response(answer)


def _decision_answer(planned: retention.Planned) -> DecisionAnswer:
    version = planned.version
    return {
        "package": version.package.name,
        "version": version.name,
        "keeps": planned.decision.keeps,
        "why": planned.decision.why,
        "size": version.bundle.size if version.bundle else None,
    }
