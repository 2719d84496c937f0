"""Calls on machine groups. No answer shows a secret: a host key is none."""

from typing import TypedDict

from django.db.models import QuerySet
from django.http import Http404
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines import links, machines
from pipelines.api.base import ApiView, NoBody, StrictSerializer, idempotent, page, query, read
from pipelines.api.schema import IDEMPOTENCY, operation, page_of, shape
from pipelines.api.shapes import timestamp
from pipelines.errors import NotFound
from pipelines.models import Machine, MachineGroup, ServiceConnection

TAG = "Machine groups"


class MachineAnswer(TypedDict):
    name: str
    host: str
    port: int
    host_key: str
    fingerprint: str


class MachineGroupAnswer(TypedDict):
    name: str
    connection: str
    description: str
    machines: list[MachineAnswer]
    created_by: str
    created_at: str | None
    url: str


class GroupBody(StrictSerializer):
    name = serializers.CharField(max_length=64)
    connection = serializers.CharField(max_length=64, help_text="A connection of kind ssh.")
    description = serializers.CharField(
        max_length=200, required=False, default="", allow_blank=True
    )


class MachineBody(StrictSerializer):
    name = serializers.CharField(max_length=64)
    host = serializers.CharField(max_length=255)
    port = serializers.IntegerField(min_value=1, max_value=65_535, required=False, default=22)
    host_key = serializers.CharField(
        max_length=10_000,
        required=False,
        default="",
        allow_blank=True,
        help_text="A public key as OpenSSH writes it. Without it the machine is asked for it now.",
    )


def machine_answer(machine: Machine) -> MachineAnswer:
    return {
        "name": machine.name,
        "host": machine.host,
        "port": machine.port,
        "host_key": machine.host_key,
        "fingerprint": machine.fingerprint,
    }


def group_answer(group: MachineGroup) -> MachineGroupAnswer:
    return {
        "name": group.name,
        "connection": group.connection.name,
        "description": group.description,
        "machines": [machine_answer(each) for each in group.machines.all()],
        "created_by": group.created_by.username,
        "created_at": timestamp(group.created_at),
        "url": links.absolute(reverse("pipelines:machine_group", args=[group.name])),
    }


def groups() -> QuerySet[MachineGroup]:
    return MachineGroup.objects.select_related("connection__team", "created_by").prefetch_related(
        "machines"
    )


def find_group(name: str) -> MachineGroup:
    found = groups().filter(name=name).first()
    if found is None:
        raise Http404
    return found


class MachineGroupsView(ApiView):
    @operation("List machine groups", {200: page_of(MachineGroupAnswer)}, tag=TAG, is_list=True)
    def get(self, request: Request) -> Response:
        query(request)
        return page(self, request, groups(), group_answer)

    @operation(
        "Create a machine group",
        {201: shape(MachineGroupAnswer)},
        refusals=(404, 409, 415, 422),
        body=GroupBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = read(GroupBody, request)
        connection = ServiceConnection.objects.filter(name=body["connection"]).first()
        if connection is None:
            raise NotFound(f"There is no service connection “{body['connection']}”.")
        made = machines.create_group(
            body["name"], connection, by=caller(request), description=body["description"]
        )
        return Response(group_answer(made), status=201)


class MachineGroupView(ApiView):
    @operation("One machine group", {200: shape(MachineGroupAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, group: str) -> Response:
        query(request, is_list=False)
        return Response(group_answer(find_group(group)))


class MachineGroupRemoveView(ApiView):
    @operation(
        "Remove a machine group, and answer with it as it was",
        {200: shape(MachineGroupAnswer)},
        refusals=(404, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, group: str) -> Response:
        read(NoBody, request)
        found = find_group(group)
        answer = group_answer(found)
        machines.remove_group(found, by=caller(request))
        return Response(answer)


class MachinesView(ApiView):
    @operation(
        "Add a machine to a group",
        {201: shape(MachineAnswer)},
        refusals=(404, 409, 415, 422, 502),
        body=MachineBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, group: str) -> Response:
        found = find_group(group)
        body = read(MachineBody, request)
        made = machines.add_machine(
            found,
            body["name"],
            body["host"],
            by=caller(request),
            port=body["port"],
            host_key=body["host_key"],
        )
        return Response(machine_answer(made), status=201)


class MachineRemoveView(ApiView):
    @operation(
        "Remove a machine from a group, and answer with it as it was",
        {200: shape(MachineAnswer)},
        refusals=(404, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, group: str, machine: str) -> Response:
        read(NoBody, request)
        found = find_group(group).machines.filter(name=machine).first()
        if found is None:
            raise Http404
        answer = machine_answer(found)
        machines.remove_machine(found, by=caller(request))
        return Response(answer)
