"""The commands on definitions, as a developer runs them."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

GOOD = """\
stages:
  s:
    jobs:
      j:
        steps:
          c: {step: Command, with: {run: ls}}
"""
BAD = GOOD.replace("Command", "Comand")


def check(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("check_definition", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_a_good_file_is_answered_with_silence_and_status_0(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    assert check(str(file)) == (0, "")


def test_a_bad_file_is_answered_with_place_code_and_status_1(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    status, said = check(str(file))
    assert status == 1
    assert said.startswith(f"{file}:6:21: error: ")
    assert "did you mean `Command`?" in said
    assert said.rstrip().endswith("[unknown_step]")


def test_files_that_are_checked_together_may_refer_to_each_other(tmp_path: Path) -> None:
    upstream, follower = tmp_path / "first.yaml", tmp_path / "second.yaml"
    upstream.write_text(GOOD)
    follower.write_text("sources:\n  up: {type: flowPipeline, flowPipeline: first}\n" + GOOD)
    assert check(str(upstream), str(follower))[0] == 0
    assert check(str(follower))[0] == 1


def test_the_report_can_be_read_by_programs(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    status, said = check("--json", str(file))
    assert status == 1
    assert json.loads(said)[str(file)]["valid"] is False


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.yaml: No such file"):
        check(str(tmp_path / "nowhere.yaml"))


def test_the_examples_of_the_project_have_no_error() -> None:
    examples = sorted(str(each) for each in (settings.BASE_DIR / "examples").glob("*.yaml"))
    assert len(examples) >= 2
    assert check(*examples)[0] == 0


def test_the_language_reference_is_what_the_command_prints() -> None:
    out = StringIO()
    call_command("describe_language", stdout=out)
    written = (settings.BASE_DIR / "docs" / "language.md").read_text(encoding="utf-8")
    assert written == out.getvalue(), "run: manage.py describe_language > docs/language.md"
