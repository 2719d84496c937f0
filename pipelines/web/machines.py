"""Pages of machine groups: which machines there are, by which keys they are known."""

from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render

from pipelines import machines, rules
from pipelines.errors import SluiceError
from pipelines.models import Machine, MachineGroup
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.machine_forms import MachineForm, NewMachineGroupForm
from pipelines.web.paging import in_order


@page("GET")
def machine_group_list(request: PageRequest) -> HttpResponse:
    groups = MachineGroup.objects.select_related("connection__team").annotate(
        machine_count=Count("machines")
    )
    context = {
        "page": in_order(request, groups),
        "may_write": rules.may(request.user, "connection.write"),
    }
    return render(request, "pipelines/machine_group_list.html", context)


@page("GET", "POST")
def machine_group_new(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "connection.write")
    form = NewMachineGroupForm(request.user, request.POST or None)
    refused = None
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        try:
            made = machines.create_group(
                written["name"],
                written["connection"],
                by=request.user,
                description=written["description"],
            )
        except SluiceError as error:
            refused = error
        else:
            said = f"The machine group {made.name} is there. Add its machines."
            return done(request, said, "pipelines:machine_group", made.name)
    return shown(request, "pipelines/machine_group_new.html", {"form": form}, refused)


@page("GET")
def machine_group(request: PageRequest, group: str) -> HttpResponse:
    return _shown_group(request, _group(group))


@page("GET", "POST")
def machine_add(request: PageRequest, group: str) -> HttpResponse:
    found = _group(group)
    rules.require(request.user, "connection.write")
    form = MachineForm(request.POST or None)
    refused = None
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        try:
            made = machines.add_machine(
                found,
                written["name"],
                written["host"],
                by=request.user,
                port=written["port"],
                host_key=written["host_key"],
            )
        except SluiceError as error:
            refused = error
        else:
            return done(
                request, _said(made, written["host_key"]), "pipelines:machine_group", found.name
            )
    context = {"form": form, "group": found}
    return shown(request, "pipelines/machine_add.html", context, refused)


@page("POST")
def machine_remove(request: PageRequest, group: str, machine: str) -> HttpResponse:
    found = _group(group)
    removed = one(
        Machine.objects.select_related("group__connection__team"),
        f"There is no machine “{machine[:64]}” in {found}.",
        group=found,
        name=machine,
    )
    try:
        require_confirmed(request)
        machines.remove_machine(removed, by=request.user)
    except SluiceError as error:
        return _shown_group(request, found, error)
    return done(
        request, f"{machine} is no longer in the group.", "pipelines:machine_group", found.name
    )


@page("POST")
def machine_group_remove(request: PageRequest, group: str) -> HttpResponse:
    found = _group(group)
    try:
        require_confirmed(request)
        machines.remove_group(found, by=request.user)
    except SluiceError as error:
        return _shown_group(request, found, error)
    return done(request, f"The machine group {group} is gone.", "pipelines:machine_group_list")


def _group(name: str) -> MachineGroup:
    return one(
        MachineGroup.objects.select_related("connection__team", "created_by"),
        f"There is no machine group “{name[:64]}”.",
        name=name,
    )


def _shown_group(
    request: PageRequest, group: MachineGroup, refused: SluiceError | None = None
) -> HttpResponse:
    context = {
        "group": group,
        "machines": group.machines.all(),
        "may_change": machines.may_change(request.user, group),
    }
    return shown(request, "pipelines/machine_group.html", context, refused)


def _said(machine: Machine, given: str) -> str:
    if given.strip():
        return f"{machine.name} is in the group, known by the key {machine.fingerprint}."
    return (
        f"{machine.name} showed the key {machine.fingerprint} and is trusted by it from now on. "
        "Compare it with what ssh-keygen -l -f says on the machine itself."
    )
