"""Pages of service connections: find, make, share, replace the secret, remove."""

from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from pipelines import connections, rules, usage
from pipelines.errors import Forbidden, Invalid, NotFound, SluiceError
from pipelines.models import ConnectionKind, ServiceConnection
from pipelines.web.connection_forms import (
    PURPOSES,
    SETTING_WORDS,
    NewConnectionForm,
    SecretsForm,
    SharingForm,
)
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.paging import in_order

SHOWN_PIPELINES = 50


@page("GET")
def connection_list(request: PageRequest) -> HttpResponse:
    rows = connections.visible_to(request.user).prefetch_related("shared_with")
    context = {
        "page": in_order(request, rows),
        "may_write": rules.may(request.user, "connection.write"),
        "has_team": connections.teams_of(request.user).exists(),
        "purposes": [(kind.label, PURPOSES[kind]) for kind in ConnectionKind],
    }
    return render(request, "pipelines/connection_list.html", context)


@page("GET")
def connection_new(request: PageRequest) -> HttpResponse:
    """Choose what it is for; the fields differ."""
    _require_a_team(request)
    kinds = [(kind.value, kind.label, PURPOSES[kind]) for kind in ConnectionKind]
    return render(request, "pipelines/connection_kinds.html", {"kinds": kinds})


@sensitive_post_parameters()
@page("GET", "POST")
@sensitive_variables()
def connection_new_of(request: PageRequest, kind: str) -> HttpResponse:
    _require_a_team(request)
    if kind not in ConnectionKind.values:
        raise NotFound(f"There is no kind of connection “{kind[:40]}”.")
    teams = connections.teams_of(request.user)
    form = NewConnectionForm(kind, teams, request.POST if request.method == "POST" else None)
    refused = None
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            made = connections.create(
                data["name"],
                kind,
                by=request.user,
                team=data["team"],
                host=data.get("host", ""),
                settings=form.settings,
                secrets=form.secrets,
                description=data["description"],
            )
        except SluiceError as error:
            refused = error
        else:
            said = f"{made.name} can be used by the pipelines of {made.team.name}."
            return done(request, said, "pipelines:connection", made.name)
    context = {"form": form, "kind": ConnectionKind(kind), "purpose": PURPOSES[kind]}
    return shown(request, "pipelines/connection_new.html", context, refused)


def _require_a_team(request: PageRequest) -> None:
    rules.require(request.user, "connection.write")
    if not connections.teams_of(request.user).exists():
        raise Forbidden(
            f"{request.user.username} is in no team, and a connection belongs to one. An operator "
            "makes teams, as groups, and puts people into them in the admin."
        )


@page("GET")
def connection(request: PageRequest, name: str) -> HttpResponse:
    return _shown_connection(request, _connection(request, name))


@sensitive_post_parameters()
@page("POST")
@sensitive_variables()
def connection_secrets(request: PageRequest, name: str) -> HttpResponse:
    found = _connection(request, name)
    form = SecretsForm(found.kind, request.POST)
    if not form.is_valid():
        return _shown_connection(request, found, form=form)
    try:
        connections.replace_secrets(found, form.secrets, by=request.user)
    except SluiceError as error:
        return _shown_connection(request, found, error, form=form)
    said = f"The secret of {name} was replaced. Runs use the new one from their next step on."
    return done(request, said, "pipelines:connection", name)


@page("POST")
def connection_sharing(request: PageRequest, name: str) -> HttpResponse:
    found = _connection(request, name)
    form = SharingForm(_others(found), request.POST)
    if not form.is_valid():
        gone = Invalid("One of the teams is no longer there. Nothing was changed.")
        return _shown_connection(request, found, gone, sharing=form)
    try:
        connections.share(
            found,
            form.cleaned_data["teams"],
            by=request.user,
            with_all=form.cleaned_data["everybody"],
        )
    except SluiceError as error:
        return _shown_connection(request, found, error, sharing=form)
    return done(request, f"Who may use {name} was changed.", "pipelines:connection", name)


@page("POST")
def connection_remove(request: PageRequest, name: str) -> HttpResponse:
    found = _connection(request, name)
    try:
        require_confirmed(request)
        connections.remove(found, by=request.user)
    except SluiceError as error:
        return _shown_connection(request, found, error)
    said = f"{name} was removed, and its secret with it."
    return done(request, said, "pipelines:connection_list")


def _connection(request: PageRequest, name: str) -> ServiceConnection:
    """To whoever may not use it, it is as if it did not exist."""
    return one(
        connections.visible_to(request.user).prefetch_related("shared_with"),
        f"There is no connection “{name[:64]}” that you may use.",
        name=name,
    )


def _others(connection: ServiceConnection) -> Any:
    return Group.objects.exclude(pk=connection.team_id).order_by("name")


def _shown_connection(
    request: PageRequest,
    connection: ServiceConnection,
    refused: SluiceError | None = None,
    *,
    form: SecretsForm | None = None,
    sharing: SharingForm | None = None,
) -> HttpResponse:
    may_change = connections.may_change(request.user, connection)
    others = _others(connection)
    naming = usage.pipelines_naming(connection.name)
    context: dict[str, Any] = {
        "connection": connection,
        "may_change": may_change,
        "settings": [
            (SETTING_WORDS[connection.kind, key].label, value)
            for key, value in connection.settings.items()
        ],
        "who_changes": _who_changes(connection),
        "pipelines": naming[:SHOWN_PIPELINES],
        "uses": usage.uses_of(connection),
        "more_pipelines": max(len(naming) - SHOWN_PIPELINES, 0),
        "breaks": _breaks([pipeline.slug for pipeline in naming]),
        "shared_with": sorted(team.name for team in connection.shared_with.all()),
    }
    if may_change:
        context["form"] = form or SecretsForm(connection.kind)
        context["has_others"] = others.exists()
        context["sharing"] = sharing or SharingForm(
            others,
            shared_with=connection.shared_with.all(),
            with_all=connection.is_shared_with_all,
        )
    return shown(request, "pipelines/connection.html", context, refused)


def _who_changes(connection: ServiceConnection) -> str:
    members = connection.team.user_set.filter(is_active=True).order_by("username")
    names = ", ".join(member.username for member in members[:20])
    return f"Members of {connection.team.name} can change it{f': {names}' if names else ''}."


def _breaks(slugs: list[str]) -> str:
    if not slugs:
        return "No pipeline names it."
    more = f" and {len(slugs) - 10} more" if len(slugs) > 10 else ""
    return f"These pipelines would break: {', '.join(slugs[:10])}{more}."
