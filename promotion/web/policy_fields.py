"""The fields of a policy's form, in the groups in which people think of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib.auth.models import Group

from promotion.gates.freezes import STEPS
from promotion.gates.reading import RESULTS
from promotion.models import Environment

Made = Callable[[], forms.Field]


class LinesWidget(forms.Textarea):
    """A list of texts, one on each line."""

    def format_value(self, value: Any) -> str:
        return "\n".join(value) if isinstance(value, list) else str(value or "")


class Lines(forms.CharField):
    widget = LinesWidget


@dataclass(frozen=True, slots=True)
class Fieldset:
    """`fields` by the path of their key; `rows`: the key of a list with a row for each entry."""

    id: str
    title: str
    said: str
    fields: Mapping[str, Made] = field(default_factory=dict)
    rows: str = ""
    entry: str = ""


def name_of(path: str) -> str:
    return path.replace(".", "_")


def _number(
    label: str, most: int, said: str = "", *, least: int = 0, required: bool = True
) -> Made:
    return lambda: forms.IntegerField(
        label=label, min_value=least, max_value=most, required=required, help_text=said
    )


def _flag(label: str, said: str = "") -> Made:
    return lambda: forms.BooleanField(label=label, required=False, help_text=said)


def _text(label: str, said: str = "", *, required: bool = False, **attrs: Any) -> Made:
    return lambda: forms.CharField(
        label=label, required=required, help_text=said, widget=forms.TextInput(attrs=attrs)
    )


def _length(label: str, said: str) -> Made:
    return _text(label, f"{said} Like 30m, 24h or 7d.", maxlength=6)


def _lines(label: str, said: str) -> Made:
    return lambda: Lines(
        label=label, required=False, help_text=said, widget=LinesWidget(attrs={"rows": 2})
    )


def _groups(label: str, said: str) -> Made:
    return lambda: forms.MultipleChoiceField(
        label=label, required=False, help_text=said, widget=forms.CheckboxSelectMultiple
    )


def _upstream() -> forms.Field:
    return forms.ChoiceField(
        label="Placed first in",
        required=False,
        help_text="Every version must be in that environment before it may come here.",
    )


def _not_by() -> forms.Field:
    return forms.MultipleChoiceField(
        label="Who may not approve besides",
        required=False,
        choices=[
            ("publisher", "Whoever published the version"),
            ("run_starter", "Whoever started the run that made it"),
        ],
        widget=forms.CheckboxSelectMultiple,
    )


def upstream_choices(besides: str) -> list[tuple[str, str]]:
    names = Environment.objects.exclude(name=besides).values_list("name", flat=True)
    return [("", "Nowhere"), *((name, name) for name in names)]


def group_choices(named: set[str]) -> list[tuple[str, str]]:
    """The groups that there are, and those that a policy still names."""
    there = list(Group.objects.order_by("name").values_list("name", flat=True))
    gone = sorted(named.difference(there))
    return [
        *((name, name) for name in there),
        *((name, f"{name} (no longer there)") for name in gone),
    ]


FIELDSETS = (
    Fieldset(
        "approvals",
        "Approvals",
        "How many people must approve the exact plan, and which.",
        {
            "approvals": _number("Approvals", 20, "With 0 nobody is asked."),
            "approvers.groups": _groups(
                "Only from these groups", "None chosen: anybody who may decide."
            ),
            "approvers.one_from_each": _groups(
                "At least one from each of", "They count besides the groups above."
            ),
            "self_approval": _flag(
                "The requester may approve", "Leave it empty so that four eyes see every promotion."
            ),
            "not_by": _not_by,
            "second_factor": _flag("Each approval is signed with a passkey"),
            "approvals_expire_after": _length(
                "An approval counts for", "Empty: until the request expires."
            ),
        },
    ),
    Fieldset(
        "requests",
        "Requests",
        "Who may ask, and for how long a request waits.",
        {
            "may_request": _groups(
                "Only these groups request", "None chosen: anybody with the role."
            ),
            "expires_after_days": _number("Requests expire after", 365, "In days.", least=1),
        },
    ),
    Fieldset(
        "way",
        "The way here",
        "Where versions come from, and how long they stay there.",
        {
            "upstream": _upstream,
            "soak": _length("For at least", "How long they must have been there; empty: no time."),
        },
    ),
    Fieldset(
        "evidence",
        "Evidence",
        "What must be known of every version.",
        rows="evidence",
        entry="statement",
    ),
    Fieldset(
        "run",
        "The run that made it",
        "Patterns, one on each line, like main or release/*. Empty: any.",
        {
            "run.branches": _lines("Branches", "Of all its git sources."),
            "run.pipelines": _lines("Pipelines", "By their ids."),
            "run.no_manual_override": _flag(
                "Nobody gave it variables by hand", "What a person typed in is in no repository."
            ),
        },
    ),
    Fieldset(
        "versions",
        "Versions",
        "Which names may come here.",
        {
            "versions.range": _text("In the range", "Like ^1.2 or >=1.0.0 <2.0.0. Empty: any."),
            "versions.pre_releases": _flag("Pre-releases may come here"),
        },
    ),
    Fieldset(
        "freezes",
        "Freezes",
        "Windows in which nothing is placed. What is requested meanwhile waits until they end.",
        rows="freezes",
        entry="window",
    ),
    Fieldset(
        "machines",
        "Machines",
        "What machine users may do here.",
        {
            "machines.request": _flag("Machines may request"),
            "machines.approve": _flag("Machines may approve"),
            "machines.open_requests": _number("Open requests of one machine", 1000, "At most."),
        },
    ),
    Fieldset(
        "rollback",
        "Rollback",
        "What was here before is asked neither for upstream and soak nor for its run and version.",
        {
            "rollback.approvals": _number(
                "Approvals", 20, "Empty: as many as a promotion.", required=False
            ),
            "may_roll_back": _groups(
                "Only these groups roll back", "None chosen: anybody with the role."
            ),
            "rollback.evidence": _flag("Evidence is asked"),
            "rollback.freezes": _flag("Freezes hold"),
        },
    ),
    Fieldset(
        "override",
        "Break-glass",
        "Who may place in an emergency what gates refuse, and who looks at it afterwards.",
        {
            "override.groups": _groups("Only these groups", "None chosen: nobody."),
            "override.reviews": _number("Reviews owed", 20, "By as many others."),
            "override.review_within": _length("Within", "Later, normal promotions stop."),
        },
    ),
    Fieldset(
        "automatic",
        "By itself",
        "Sluice requests what is upstream as soon as every gate is open.",
        {"automatic": _flag("Promote automatically", "Needs 0 approvals and an upstream.")},
    ),
    Fieldset(
        "custom",
        "Own gates",
        "CEL expressions over the promotion's facts that must be true.",
        rows="custom",
        entry="gate",
    ),
)

#: The fields in which groups are chosen.
GROUPS = (
    "approvers_groups", "approvers_one_from_each", "may_request", "may_roll_back",
    "override_groups",
)  # fmt: skip


def _choice(label: str, choices: list[tuple[str, str]]) -> forms.Field:
    return forms.ChoiceField(label=label, required=False, choices=choices)


def _moment(label: str) -> forms.Field:
    return forms.CharField(
        label=label, widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "any"})
    )


def _evidence() -> dict[str, forms.Field]:
    return {
        "type": _text("Type", "A kind like junit, or a predicate type.", required=True)(),
        "result": _choice("Says", [("", "Anything"), *((each, each) for each in RESULTS)]),
        "signed_by": _lines(
            "Signed by one of", "Names of keys, one on each line. Empty: a claim is enough."
        )(),
    }


def _freeze() -> dict[str, forms.Field]:
    return {
        "name": _text("Name", required=True)(),
        "starts": _moment("Begins"),
        "ends": _moment("Ends"),
        "time_zone": _text("Time zone", "Like Europe/Berlin.", required=True, list="time-zones")(),
        "repeats": _choice("Repeats", [("", "Never"), *((each, each) for each in STEPS)]),
    }


def _custom() -> dict[str, forms.Field]:
    return {
        "name": _text("Name", required=True)(),
        "expression": forms.CharField(
            label="Expression",
            strip=False,
            help_text="Like items.all(i, i.pipeline == 'shop').",
            widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "class": "mono"}),
        ),
        "message": _text("Says when it does not hold")(),
        "waits": _flag("May become true while a request waits")(),
    }


ROWS: Mapping[str, Callable[[], dict[str, forms.Field]]] = {
    "evidence": _evidence,
    "freezes": _freeze,
    "custom": _custom,
}
