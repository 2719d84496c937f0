"""The pages beside one another below Pipelines in the navigation."""

from django import template
from django.urls import reverse

register = template.Library()

#: URL names and labels, in the order in which they are shown.
TABS = (
    ("pipeline_list", "Pipelines"),
    ("connection_list", "Connections"),
    ("machine_group_list", "Machines"),
    ("runner_list", "Runners"),
)


@register.simple_tag
def build_tabs(current: str) -> list[dict[str, object]]:
    """What components/subnav.html takes; `current` is the URL name of the page that shows it."""
    return [
        {"url": reverse(f"pipelines:{name}"), "label": label, "current": name == current}
        for name, label in TABS
    ]
