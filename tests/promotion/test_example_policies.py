"""The policies that newcomers take over: each can be set as it is, and the guide names it."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import Group

from promotion import documents, expressions, policies
from promotion.gates import Facts, Reading, Requester, evaluate
from promotion.gates.language import ENTRIES, PARTS
from promotion.web.policy_forms import every_key
from tests.cast import Site

EXAMPLES = sorted((Path(settings.BASE_DIR) / "examples" / "policies").glob("*.yaml"))
GUIDE = (Path(settings.BASE_DIR) / "docs" / "policies.md").read_text()


FACTS = {"items": [], "approvers": ["ben"], "now": "2026-11-25T10:00:00+00:00"}


def told_of(text: str, what: str) -> list[str]:
    """The names that an example's head says it needs."""
    found = re.search(rf"^# .*{what}: ([^.]*)\.", text, re.M)
    assert found, f"the head names no {what}"
    return [] if found[1] == "none" else found[1].split(", ")


def test_there_are_three() -> None:
    assert [each.stem for each in EXAMPLES] == ["automatic-dev", "regulated", "small-team"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_be_set_as_it_is(path: Path, site: Site) -> None:
    text = path.read_text()
    for name in told_of(text, "Groups"):
        Group.objects.create(name=name)
    for name in told_of(text, "Environments"):
        if name != "staging":
            policies.create_environment(name, rank=0, by=site.cast.admin)
    revision = policies.set_policy(site.production, text, by=site.cast.admin)
    rules = policies.rules_of(revision)
    # What is written leaves nothing as it would be anyway.
    written = documents.read_mapping(text, what="a policy")
    assert {*written} <= {*rules.as_json()}
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    gates = evaluate(rules, Facts("production", at, Requester("ada"), "", (), ()))
    assert all(each.open for each in gates if each.name == "freeze")
    assert f"examples/policies/{path.name}" in GUIDE


def test_the_guide_tells_of_every_key() -> None:
    entries = {f"{key}[].{each}" for key, kind in ENTRIES.items() for each in kind.__slots__}
    missing = [
        key
        for key in sorted({*every_key(), *ENTRIES, *entries})
        if f"`{key.partition('[].')[2] or key}`" not in GUIDE
    ]
    assert missing == []


def test_the_examples_of_the_guide_are_policies() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)
    assert len(blocks) >= 8
    for block in blocks:
        value = documents.read_mapping(block, what="a policy")
        assert {*value} <= {*every_key(), *PARTS, *ENTRIES}
        rules = Reading(value).rules
        assert rules is not None
        told = expressions.answers(rules.custom, FACTS)
        assert {each.fault for each in told.values()} <= {""}
