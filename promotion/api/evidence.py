"""Calls on evidence, on the keys that it is checked with, and on what Sluice vouches for."""

import io
import json
from typing import Any, TypedDict

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import (
    ApiView,
    StrictSerializer,
    has_already,
    idempotent,
    page,
    query,
    read,
)
from pipelines.api.parsers import JsonParser, whole_body
from pipelines.api.schema import IDEMPOTENCY, operation, page_of, shape
from pipelines.errors import Invalid
from pipelines.models import Artifact
from promotion.api import lookups
from promotion.api.evidence_shapes import (
    ArtifactStatementAnswer,
    KeyAnswer,
    StatementAnswer,
    artifact_statement_answer,
    key_answer,
    statement_answer,
)
from promotion.evidence import keeping, keys, reading, vouching
from promotion.models import EvidenceKey

TAG = "Evidence"
PROMOTION = "Promotion"


class EvidenceBody(StrictSerializer):
    """A plain result; or, in its place, an envelope, statement, report or bill of materials."""

    predicate_type = serializers.CharField(max_length=255)
    result = serializers.CharField(max_length=40, default="", allow_blank=True)
    payload = serializers.DictField(default=dict)


class KeyBody(StrictSerializer):
    name = serializers.CharField(max_length=64)
    public_key = serializers.CharField(max_length=10_000)


class RevokeBody(StrictSerializer):
    reason = serializers.CharField(max_length=5000)


# ---- What comes in -----------------------------------------------------------------------------
class Sent(dict[str, Any]):
    """A body with the very text that it was: what is signed is kept byte for byte."""

    text: str = ""


class ExactJsonParser(JsonParser):
    """JSON, by its general name or that of a format."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        content = whole_body(stream, parser_context)
        # Of the copy, the length that was announced is checked again, and fits.
        data = super().parse(io.BytesIO(content), media_type, parser_context)
        if not isinstance(data, dict):
            return data
        sent = Sent(data)
        sent.text = content.decode()
        return sent


class InTotoParser(ExactJsonParser):
    media_type = "application/vnd.in-toto+json"


class DsseParser(ExactJsonParser):
    media_type = "application/vnd.dsse.envelope.v1+json"


class SarifParser(ExactJsonParser):
    media_type = "application/sarif+json"


class CycloneDxParser(ExactJsonParser):
    media_type = "application/vnd.cyclonedx+json"


class SpdxParser(ExactJsonParser):
    media_type = "application/spdx+json"


class ReportParser(BaseParser):
    """A JUnit report as the whole body."""

    media_type = "text/xml"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            text = whole_body(stream, parser_context).decode()
        except UnicodeDecodeError as error:
            raise ParseError("The report is not UTF-8.") from error
        sent = Sent({"report": text})
        sent.text = text if text.lstrip("\ufeff \t\r\n").startswith("<") else f"<{text}"
        return sent


PARSERS = [
    ExactJsonParser,
    InTotoParser,
    DsseParser,
    SarifParser,
    CycloneDxParser,
    SpdxParser,
    ReportParser,
]


def _document(request: Request) -> str:
    """The text of a body that is of a format of its own; empty for a plain result."""
    sent = request.data
    if not isinstance(sent, Sent):
        return ""
    is_report = sent.text.lstrip("\ufeff \t\r\n").startswith("<")
    return sent.text if is_report or reading.is_known(sent) else ""


# ---- Evidence on versions ----------------------------------------------------------------------
class EvidenceView(ApiView):
    parser_classes = PARSERS

    @operation(
        "The evidence on a version, each statement whole",
        {200: page_of(StatementAnswer)},
        refusals=(404, 422),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, repository: str, package: str, version: str) -> Response:
        query(request)
        found = lookups.version(repository, package, version)
        return page(self, request, found.evidence.whole(), statement_answer)

    @operation(
        "Add evidence on a version: DSSE, in-toto, JUnit, SARIF, CycloneDX, SPDX or a plain result",
        {
            200: shape(StatementAnswer, "This statement was there already."),
            201: shape(StatementAnswer),
        },
        refusals=(404, 415, 422),
        body=EvidenceBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, repository: str, package: str, version: str) -> Response:
        found = lookups.version(repository, package, version)
        if text := _document(request):
            added = keeping.add_document(found, text, by=caller(request))
        else:
            body = read(EvidenceBody, request)
            added = keeping.add_evidence(found, by=caller(request), **body)
        row = found.evidence.whole().get(pk=added.evidence.pk)
        return Response(statement_answer(row), status=201 if added.is_new else 200)


class EvidenceRawView(ApiView):
    @operation(
        "The bytes of one statement, exactly as they came",
        {(200, "application/octet-stream"): bytes},
        refusals=(404,),
        tag=TAG,
    )
    def get(
        self, request: Request, repository: str, package: str, version: str, evidence: int
    ) -> HttpResponseBase:
        query(request, is_list=False)
        found = lookups.version(repository, package, version)
        row = get_object_or_404(found.evidence, pk=evidence)
        tag = f'"{row.digest}"'
        if has_already(request, tag):
            response = HttpResponse(status=304)
        else:
            response = HttpResponse(row.payload.encode(), content_type="application/octet-stream")
            ending = "xml" if row.kind == reading.JUNIT else "json"
            response["Content-Disposition"] = f'attachment; filename="evidence-{row.pk}.{ending}"'
            response["X-Content-Type-Options"] = "nosniff"
        response["ETag"] = tag
        response["Cache-Control"] = "private, no-cache"
        return response


# ---- Evidence on artifacts ---------------------------------------------------------------------
class ArtifactEvidenceView(ApiView):
    parser_classes = PARSERS

    @operation(
        "The evidence on an artifact, which comes along to its versions",
        {200: page_of(ArtifactStatementAnswer)},
        refusals=(404, 422),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, artifact: int) -> Response:
        query(request)
        found = get_object_or_404(Artifact, pk=artifact)
        trusted = keys.trusted()
        rows = found.evidence.select_related("added_by")
        return page(self, request, rows, lambda row: artifact_statement_answer(row, trusted))

    @operation(
        "Add evidence on an artifact, in the forms that versions take",
        {
            200: shape(ArtifactStatementAnswer, "This statement was there already."),
            201: shape(ArtifactStatementAnswer),
        },
        refusals=(404, 415, 422),
        body=EvidenceBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, artifact: int) -> Response:
        found = get_object_or_404(Artifact, pk=artifact)
        if text := _document(request):
            added = keeping.add_document_to_artifact(found, text, by=caller(request))
        else:
            body = read(EvidenceBody, request)
            added = keeping.add_evidence_to_artifact(found, by=caller(request), **body)
        answer = artifact_statement_answer(added.evidence, keys.trusted())
        return Response(answer, status=201 if added.is_new else 200)


# ---- Keys --------------------------------------------------------------------------------------
class KeysView(ApiView):
    @operation(
        "The keys that evidence is checked with, also those that were revoked",
        {200: page_of(KeyAnswer)},
        refusals=(422,),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        query(request)
        rows = EvidenceKey.objects.select_related("added_by", "revoked_by")
        return page(self, request, rows, key_answer)

    @operation(
        "Trust a public key: Ed25519, ECDSA on P-256, or RSA (PSS)",
        {201: shape(KeyAnswer)},
        refusals=(409, 415, 422),
        body=KeyBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = read(KeyBody, request)
        added = keys.add_key(body["name"], body["public_key"], by=caller(request))
        return Response(key_answer(added), status=201)


class KeyView(ApiView):
    @operation(
        "A key that evidence is checked with", {200: shape(KeyAnswer)}, refusals=(404,), tag=TAG
    )
    def get(self, request: Request, key: str) -> Response:
        query(request, is_list=False)
        return Response(key_answer(lookups.evidence_key(key)))


class KeyRevokeView(ApiView):
    @operation(
        "Trust a key no longer: what it alone has signed is a claim again",
        {200: shape(KeyAnswer)},
        refusals=(404, 409, 415, 422),
        body=RevokeBody,
        tag=TAG,
    )
    def post(self, request: Request, key: str) -> Response:
        body = read(RevokeBody, request)
        found = lookups.evidence_key(key)
        return Response(key_answer(keys.revoke_key(found, by=caller(request), **body)))


# ---- What Sluice vouches for -------------------------------------------------------------------
class SignatureShape(TypedDict):
    keyid: str
    sig: str


class EnvelopeAnswer(TypedDict):
    """A DSSE envelope; its payload is an in-toto Statement in base64."""

    payload: str
    payloadType: str  # the specification's own name
    signatures: list[SignatureShape]


class AttestationView(ApiView):
    @operation(
        "Sluice's signed statement that the promotion was carried out as approved",
        {200: shape(EnvelopeAnswer)},
        refusals=(404, 409),
        tag=PROMOTION,
    )
    def get(self, request: Request, promotion: int) -> Response:
        query(request, is_list=False)
        found = get_object_or_404(lookups.promotions(), pk=promotion)
        return Response(json.loads(vouching.promotion_statement(found)))


class SummaryView(ApiView):
    @operation(
        "The SLSA verification summary of what an environment has of a version",
        {200: shape(EnvelopeAnswer)},
        refusals=(404, 409, 410, 422),
        query={"environment": "Where it is placed. Must be named."},
        tag=TAG,
    )
    def get(self, request: Request, repository: str, package: str, version: str) -> Response:
        asked = query(request, "environment", is_list=False)
        found = lookups.version(repository, package, version)
        if "environment" not in asked:
            raise Invalid("Name the environment: ?environment=…")
        environment = lookups.named_environment(asked["environment"])
        return Response(json.loads(vouching.summary(found, environment)))
