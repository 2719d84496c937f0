"""The page on which operators set a policy, as a form and as YAML: first what it would change and
what it would have stopped, then, if meant, the revision."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.models import User
from pipelines.errors import Invalid, SluiceError
from pipelines.flow.difference import Difference, compare_texts
from pipelines.web.doors import PageRequest, done, page, require_confirmed, shown
from pipelines.web.forms import unix_lines
from promotion import documents, gates, policies, replaying, rules
from promotion.gates import Rules
from promotion.gates.reading import zones
from promotion.models import Environment, PolicyRevision, Promotion
from promotion.replaying import Replay, Replayed
from promotion.web import shapes
from promotion.web.environments import find_environment
from promotion.web.policy_forms import PolicyEditor
from promotion.web.policy_words import in_words

#: How many of the last promotions the page replays.
REPLAYED = 50


@dataclass(frozen=True, slots=True)
class Tried:
    """What a policy would do, before it is set. `yaml` is exactly what would be saved."""

    yaml: str
    difference: Difference
    lowered: tuple[str, ...]
    in_words: list[str]
    replay: Replay
    open_requests: int


@page("GET", "POST")
def policy(request: PageRequest, environment: str) -> HttpResponse:
    found = _managed(request, environment)
    current = policies.current_policy(found)
    if request.method != "POST":
        editor = PolicyEditor.of_rules(found.name, policies.rules_of(current))
        return _show_form(request, found, editor)
    editor = PolicyEditor.of_post(found.name, request.POST)
    if editor.change_rows(request.POST.get("act", "")):
        return _show_form(request, found, editor)
    try:
        read = policies.check_rules(editor.plain, found.name)
    except Invalid as invalid:
        editor.tell(invalid.problems)
        return _show_form(request, found, editor, refused=invalid)
    return _show_form(request, found, editor, tried=_try(found, current, read, request.user))


@page("GET", "POST")
def policy_yaml(request: PageRequest, environment: str) -> HttpResponse:
    found = _managed(request, environment)
    current = policies.current_policy(found)
    if request.method != "POST":
        return _show_yaml(request, found, policies.written(current))
    text = unix_lines(request.POST.get("yaml", ""))
    tried: Tried | None = None
    try:
        read = policies.read_text(text, found.name)
        tried = _try(found, current, read, request.user)
        if request.POST.get("act") == "save":
            return _save(request, found, text, tried)
    except SluiceError as refused:
        return _show_yaml(request, found, text, refused=refused, tried=tried)
    return _show_yaml(request, found, text, tried=tried)


@page("POST")
def policy_check(request: PageRequest, environment: str) -> HttpResponse:
    """What is wrong with the text as it stands in the editor. Nothing is kept."""
    found = _managed(request, environment)
    problems = _problems(unix_lines(request.POST.get("yaml", "")), found)
    return render(
        request, "promotion/_policy_check.html", {"problems": problems, "is_answer": True}
    )


def _managed(request: PageRequest, environment: str) -> Environment:
    found = find_environment(environment)
    rules.require(request.user, "environment.manage")
    return found


def _problems(text: str, environment: Environment) -> list[Any]:
    try:
        policies.read_text(text, environment.name)
    except Invalid as invalid:
        return list(invalid.problems)
    return []


# ---- Trying and saving -------------------------------------------------------------------------
def _try(environment: Environment, current: PolicyRevision, read: Rules, by: User) -> Tried:
    after = documents.write_mapping(read.as_json())
    told = replaying.replay(environment, read, by=by, last=REPLAYED)
    return Tried(
        after,
        compare_texts(policies.text_of(current), after),
        gates.lowered(policies.rules_of(current), read),
        in_words(read),
        replace(told, stopped=_named(told.stopped), unknown=_named(told.unknown)),
        Promotion.objects.open().filter(environment=environment).count(),
    )


def _named(replayed: Iterable[Replayed]) -> tuple[Replayed, ...]:
    """The same, with their gates by the names that people call them."""
    return tuple(
        replace(
            each,
            gates=tuple(replace(gate, name=shapes.gate_name(gate.name)) for gate in each.gates),
        )
        for each in replayed
    )


def _save(request: PageRequest, environment: Environment, text: str, tried: Tried) -> HttpResponse:
    seen = request.POST.get("expected", "")
    if not seen.isascii() or not seen.isdigit() or len(seen) > 9:
        raise Invalid("Look at what changes first: the revision that you saw is missing.")
    if tried.lowered:
        require_confirmed(request)
    before = environment.policy_id
    revision = policies.set_policy(environment, text, by=request.user, expected=int(seen))
    said = (
        "The policy is the same: nothing was saved."
        if revision.pk == before
        else f"Policy revision {revision.number} holds from now on."
    )
    return done(request, said, "promotion:environment", environment.name)


# ---- Showing -----------------------------------------------------------------------------------
def _show_form(
    request: PageRequest,
    environment: Environment,
    editor: PolicyEditor,
    *,
    refused: SluiceError | None = None,
    tried: Tried | None = None,
) -> HttpResponse:
    context = {
        "fieldsets": list(editor.fieldsets),
        "zones": sorted(zones()) if editor.rows["freezes"] else (),
        "tabs": _tabs(environment, "form"),
        "has_groups": Group.objects.exists(),
        "environment": environment,
        "policy": environment.policy,
        "tried": tried,
    }
    return shown(request, "promotion/policy.html", context, refused)


def _show_yaml(
    request: PageRequest,
    environment: Environment,
    text: str,
    *,
    refused: SluiceError | None = None,
    tried: Tried | None = None,
) -> HttpResponse:
    problems = list(refused.problems) if isinstance(refused, Invalid) else []
    context = {
        "field": TextForm(environment, text)["yaml"],
        "problems": problems,
        "text": text,
        "tabs": _tabs(environment, "yaml"),
        "environment": environment,
        "policy": policies.current_policy(find_environment(environment.name)),
        "tried": tried,
    }
    return shown(request, "promotion/policy_yaml.html", context, refused)


class TextForm(forms.Form):
    """A policy's text, checked as one types where scripts run."""

    yaml = forms.CharField(
        label="Policy",
        required=False,
        strip=False,
        help_text="A revision keeps the rules, not comments and not the order of keys.",
    )

    def __init__(self, environment: Environment, text: str) -> None:
        super().__init__(initial={"yaml": text})
        self.fields["yaml"].widget = forms.Textarea(
            attrs={
                "rows": 28,
                "wrap": "off",
                "spellcheck": "false",
                "autocapitalize": "off",
                "autocomplete": "off",
                "data-editor-text": "",
                "hx-post": reverse("promotion:policy_check", args=[environment.name]),
                "hx-trigger": "input changed delay:400ms",
                "hx-target": "#check",
                "hx-swap": "innerHTML",
                "hx-sync": "this:replace",
                "hx-encoding": "multipart/form-data",
            }
        )


def _tabs(environment: Environment, current: str) -> list[dict[str, Any]]:
    return [
        {
            "url": reverse(f"promotion:{name}", args=[environment.name]),
            "label": label,
            "current": key == current,
        }
        for key, name, label in (
            ("form", "policy", "Form"),
            ("yaml", "policy_yaml", "YAML"),
            ("revisions", "policy_revision_list", "Revisions"),
        )
    ]


def tabs_for(request: HttpRequest, environment: Environment) -> list[dict[str, Any]]:
    """The tabs of whoever only reads: without those on which one writes."""
    assert isinstance(request.user, User), "pages are for people who are signed in"
    tabs = _tabs(environment, "revisions")
    return tabs if rules.may(request.user, "environment.manage") else tabs[-1:]
