"""Calls on recalls: a version is recalled, whom that concerns, and who knows."""

import json
from typing import TypedDict

from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import ApiView, StrictSerializer, page, query, read
from pipelines.api.schema import operation, page_of, shape
from pipelines.api.shapes import timestamp
from promotion import recalling
from promotion.api import lookups
from promotion.api.shapes import VersionAnswer, version_answer
from promotion.models import Affected

TAG = "Repositories"


class RecallBody(StrictSerializer):
    reason = serializers.CharField(max_length=2000)
    replacement = serializers.CharField(max_length=128, required=False)


class AcknowledgeBody(StrictSerializer):
    note = serializers.CharField(max_length=recalling.MAX_NOTE, default="", allow_blank=True)


class UseAnswer(TypedDict):
    """How somebody used a version: selected, downloaded, placed or requested. What does not apply
    is empty or null."""

    how: str
    at: str
    times: int
    consumer: str
    environment: str
    promotion: int | None


class AffectedAnswer(TypedDict):
    """Somebody who used a recalled version; `more` counts older uses that are not told."""

    id: int
    owner: str
    uses: list[UseAnswer]
    more: int
    listed_at: str | None
    acknowledged_by: str | None
    acknowledged_at: str | None
    note: str


def affected_answer(affected: Affected) -> AffectedAnswer:
    told = json.loads(affected.uses)
    known = affected.acknowledged_by
    return {
        "id": affected.pk,
        "owner": affected.owner.username,
        "uses": told["uses"],
        "more": told["more"],
        "listed_at": timestamp(affected.listed_at),
        "acknowledged_by": known.username if known else None,
        "acknowledged_at": timestamp(affected.acknowledged_at),
        "note": affected.note,
    }


class RecallView(ApiView):
    @operation(
        "Recall a version: it can no longer be promoted or selected",
        {200: shape(VersionAnswer)},
        refusals=(404, 409, 410, 415, 422),
        body=RecallBody,
        tag=TAG,
    )
    def post(self, request: Request, repository: str, package: str, version: str) -> Response:
        body = read(RecallBody, request)
        found = lookups.version(repository, package, version)
        replacement = None
        if name := body.get("replacement"):
            replacement = lookups.named_version(
                {"repository": repository, "package": package, "version": name}
            )
        recalling.recall(found, by=caller(request), reason=body["reason"], replacement=replacement)
        return Response(
            version_answer(lookups.version(repository, package, version), by=caller(request))
        )


class AffectedView(ApiView):
    @operation(
        "Whom the recall of a version concerns: who selected, downloaded, placed or requested it",
        {200: page_of(AffectedAnswer)},
        refusals=(404,),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, repository: str, package: str, version: str) -> Response:
        query(request)
        found = lookups.version(repository, package, version)
        rows = Affected.objects.with_names().filter(version=found)
        return page(self, request, rows, affected_answer)


class AcknowledgeView(ApiView):
    @operation(
        "Say that one knows of a recall, for oneself or on behalf of its owner",
        {200: shape(AffectedAnswer)},
        refusals=(404, 409, 415, 422),
        body=AcknowledgeBody,
        tag=TAG,
    )
    def post(
        self, request: Request, repository: str, package: str, version: str, affected: int
    ) -> Response:
        body = read(AcknowledgeBody, request)
        found = get_object_or_404(
            Affected.objects.with_names().filter(
                version__package__repository__name=repository,
                version__package__name=package,
                version__name=version,
            ),
            pk=affected,
        )
        known = recalling.acknowledge(found, by=caller(request), note=body["note"])
        return Response(affected_answer(known))
