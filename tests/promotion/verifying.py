"""Run `manage.py verify` and hand back what it says."""

import json
from io import StringIO

from django.core.management import call_command

from tests.world import nothing_changes


def verify(*arguments: str) -> tuple[int, str]:
    """The exit status of the command and what it printed. It changes nothing."""
    out, status = StringIO(), 0
    with nothing_changes():
        try:
            call_command("verify", *arguments, stdout=out)
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue()


def broken(*arguments: str) -> dict[str, list[str]]:
    """The findings by promise, after making sure that the status and the text say the same."""
    status, text = verify(*arguments)
    results = json.loads(verify("--json", *arguments)[1])
    found = {each["promise"]: each["findings"] for each in results if each["findings"]}
    assert status == (1 if found else 0)
    for findings in found.values():
        for finding in findings[:20]:
            assert f"- {finding}" in text
    return found
