"""Check definitions in files, in the way of a compiler. Exit status 1 when one has an error."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pipelines import definitions
from pipelines.api.shapes import check_answer
from pipelines.flow.check import Report
from pipelines.flow.check import check as check_document
from pipelines.flow.document import Definition
from pipelines.flow.parser import parse


class Command(BaseCommand):
    help = (
        "Check Flow definitions before they run. A file's name without its ending is the id by "
        "which the other files refer to it. With --site, the pipelines of this site are known too."
    )
    # A hook runs this where no database may exist; it is only asked with --site.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--site", action="store_true", help="Know this site's pipelines.")
        parser.add_argument("--json", action="store_true", help="Print the reports as JSON.")
        parser.add_argument("--strict", action="store_true", help="Let warnings fail as well.")

    def handle(self, *args: Any, **options: Any) -> None:
        texts = {file: _read(file) for file in options["files"]}
        look_up = _look_up(texts, site=options["site"])
        reports = {
            file: check_document(text, definitions.catalog(), look_up, file.stem)
            for file, text in texts.items()
        }
        if options["json"]:
            answers = {str(file): check_answer(report) for file, report in reports.items()}
            self.stdout.write(json.dumps(answers, indent=2))
        else:
            self._print(reports)
        failing = {"error", "warning"} if options["strict"] else {"error"}
        if any(each.severity in failing for report in reports.values() for each in report.problems):
            sys.exit(1)

    def _print(self, reports: dict[Path, Report]) -> None:
        for file, report in reports.items():
            for each in report.problems:
                place = f"{file}:{each.line}:{each.column}"
                self.stdout.write(f"{place}: {each.severity}: {each.message} [{each.code}]")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error


def _look_up(texts: dict[Path, bytes], *, site: bool) -> Callable[[str], Definition | None]:
    """How references to other pipelines are followed: the files at hand first, then the site."""
    by_id = {file.stem: parse(text).definition for file, text in texts.items()}

    def look_up(pipeline: str) -> Definition | None:
        if pipeline in by_id or not site:
            return by_id.get(pipeline)
        return definitions.current_definition(pipeline)

    return look_up
