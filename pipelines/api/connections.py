"""Calls on service connections. No answer holds a secret in any form."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group
from django.http import Http404
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines import connections, rules
from pipelines.api.base import (
    ApiView,
    NoBody,
    StrictSerializer,
    entity_tag,
    idempotent,
    page,
    query,
    read,
    require_match,
)
from pipelines.api.schema import IDEMPOTENCY, operation, page_of, shape
from pipelines.api.shapes_of_places import ConnectionAnswer, connection_answer
from pipelines.credentials import LONGEST_SECRET
from pipelines.errors import NotFound
from pipelines.models import ConnectionKind, ServiceConnection

TAG = "Connections"
IF_MATCH = {"If-Match": "The connection's ETag: refuse when it was changed since."}


class Secrets(serializers.DictField):
    """Secrets by name. What is wrong with one is said without repeating it, or its name."""

    def __init__(self) -> None:
        kept_as_sent = serializers.CharField(
            trim_whitespace=False, allow_blank=True, max_length=LONGEST_SECRET
        )
        super().__init__(child=kept_as_sent, allow_empty=False)

    def run_child_validation(self, data: Any) -> Any:
        if not all(isinstance(value, str) for value in data.values()):
            raise serializers.ValidationError("Each secret is a text.")
        return data


class ConnectionBody(StrictSerializer):
    name = serializers.CharField(max_length=64)
    kind = serializers.ChoiceField(ConnectionKind.values)
    team = serializers.CharField(max_length=150, help_text="The team that will own it.")
    host = serializers.CharField(
        max_length=255,
        default="",
        allow_blank=True,
        help_text="The only host that gets the secret, with its port unless it is the usual one.",
    )
    settings = serializers.DictField(child=serializers.CharField(allow_blank=True), default=dict)
    secrets = Secrets()
    description = serializers.CharField(max_length=200, default="", allow_blank=True)


class SecretsBody(StrictSerializer):
    secrets = Secrets()


class SharingBody(StrictSerializer):
    """Replaces what was shared before."""

    teams = serializers.ListField(child=serializers.CharField(max_length=150), max_length=200)
    all = serializers.BooleanField(default=False)


def find_connection(request: Request, name: str) -> ServiceConnection:
    """The connection, if the caller may know of it."""
    rows = connections.visible_to(caller(request)).prefetch_related("shared_with")
    found = rows.filter(name=name).first()
    if found is None:
        raise Http404
    return found


def _team(name: str) -> Group:
    found = Group.objects.filter(name=name).first()
    if found is None:
        raise NotFound(f"There is no team “{name[:64]}”. An operator makes teams, as groups.")
    return found


def _teams(names: Iterable[str]) -> list[Group]:
    return [_team(name) for name in names]


class ConnectionsView(ApiView):
    @operation(
        "List the service connections that you may use",
        {200: page_of(ConnectionAnswer)},
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        query(request)
        rows = connections.visible_to(caller(request)).prefetch_related("shared_with")
        return page(self, request, rows, connection_answer)

    @operation(
        "Create a service connection",
        {201: shape(ConnectionAnswer)},
        refusals=(404, 409, 415, 422),
        body=ConnectionBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @sensitive_variables()
    @idempotent
    def post(self, request: Request) -> Response:
        rules.require(caller(request), "connection.write")
        body = read(ConnectionBody, request)
        made = connections.create(
            body["name"],
            body["kind"],
            by=caller(request),
            team=_team(body["team"]),
            host=body["host"],
            settings=body["settings"],
            secrets=body["secrets"],
            description=body["description"],
        )
        return Response(connection_answer(made), status=201)


class ConnectionView(ApiView):
    @operation("One service connection", {200: shape(ConnectionAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, connection: str) -> Response:
        query(request, is_list=False)
        return Response(connection_answer(find_connection(request, connection)))

    @operation(
        "Remove a service connection; pipelines that name it break",
        {204: None},
        refusals=(404, 409, 413, 415),
        tag=TAG,
    )
    def delete(self, request: Request, connection: str) -> Response:
        read(NoBody, request)
        connections.remove(find_connection(request, connection), by=caller(request))
        return Response(status=204)


class SecretsView(ApiView):
    @operation(
        "Put new secrets in the place of the old ones",
        {200: shape(ConnectionAnswer)},
        refusals=(404, 412, 415, 422),
        body=SecretsBody,
        headers=IF_MATCH,
        tag=TAG,
    )
    @sensitive_variables()
    def put(self, request: Request, connection: str) -> Response:
        body = read(SecretsBody, request)
        found = find_connection(request, connection)
        require_match(request, entity_tag(connection_answer(found)), found.name)
        changed = connections.replace_secrets(found, body["secrets"], by=caller(request))
        return Response(connection_answer(changed))


class SharingView(ApiView):
    @operation(
        "Say which teams may use a service connection besides its own",
        {200: shape(ConnectionAnswer)},
        refusals=(404, 412, 415, 422),
        body=SharingBody,
        headers=IF_MATCH,
        tag=TAG,
    )
    def put(self, request: Request, connection: str) -> Response:
        body = read(SharingBody, request)
        found = find_connection(request, connection)
        require_match(request, entity_tag(connection_answer(found)), found.name)
        changed = connections.share(
            found, _teams(body["teams"]), by=caller(request), with_all=body["all"]
        )
        return Response(connection_answer(changed))
