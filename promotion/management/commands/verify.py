"""Check the promises that Sluice makes. Exit status 0: all hold; 1: one is broken; 2: could not."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from promotion.ledger.verify import Verification

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Check the ledger, the rows and the bytes against each other. "
        "Exit status: 0 all promises hold, 1 one is broken, 2 one could not be checked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--scrub", action="store_true", help="Re-read every stored byte.")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="With --scrub: put damaged or lost bytes right out of the second copy, or back.",
        )
        parser.add_argument("--json", action="store_true", help="Print the results as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["repair"] and not options["scrub"]:
            raise CommandError("--repair goes with --scrub: what is to be put right must be read.")
        verification = Verification(scrub=options["scrub"], repair=options["repair"])
        results = list(verification.run())
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(result) for result in results], indent=2))
        else:
            for result in results:
                self._say(result)
            for repaired in verification.repaired:
                self.stdout.write(f"repaired         {repaired}")
        if any(result.findings for result in results):
            sys.exit(1)
        if any(result.could_not for result in results):
            sys.exit(2)

    def _say(self, result: Any) -> None:
        if result.could_not:
            self.stdout.write(f"could not check  {result.promise}: {result.could_not}")
        if result.findings:
            self.stdout.write(f"BROKEN           {result.promise}")
            for finding in result.findings[:SHOWN]:
                self.stdout.write(f"                 - {finding}")
            if len(result.findings) > SHOWN:
                more = len(result.findings) - SHOWN
                self.stdout.write(f"                 … and {more} more (--json shows all)")
        if result.holds:
            self.stdout.write(f"holds            {result.promise} ({result.looked_at})")


def _as_json(result: Any) -> dict[str, Any]:
    return {
        "promise": result.promise,
        "holds": result.holds,
        "looked_at": result.looked_at,
        "findings": result.findings,
        "could_not": result.could_not,
    }
