"""Take in versions that exist elsewhere. Exit status 0: all in; 1: some are not; 2: could not."""

import re
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from accounts.models import User
from config import env
from pipelines import rules as pipeline_rules
from pipelines import unseen
from pipelines.errors import (
    Forbidden,
    SluiceError,
    StorageUnavailable,
    Unreachable,
)
from promotion import importing, rules
from promotion.errors import VersionExists
from promotion.importing import Fate, Outcome
from promotion.incoming import Incoming, Misfit, Source, oldest_first
from promotion.models import Repository
from promotion.trees import Tree
from promotion.yunxiao import Credentials, PackagesRepository

#: After so many versions in a row to which no answer came, the other side is taken to be gone.
PATIENCE = 3
LIVE_SECONDS = 0.2


class Command(BaseCommand):
    help = (
        "Publish an existing tree of versions: DIR/<package>/<version>/<files…>, or a Generic "
        "repository of Alibaba Cloud DevOps Packages by its address. Run it again to go on: what "
        "is there with the same bytes is left alone. Exit status: 0 all versions are in, 1 some "
        "were refused, 2 it could not be done. See docs/importing.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", metavar="DIR|URL")
        parser.add_argument("--repository", required=True, metavar="NAME", help="To import into.")
        parser.add_argument("--as", dest="user", metavar="USER", help="In whose name it is done.")
        parser.add_argument(
            "--package", action="append", default=[], help="Only this one; may be repeated."
        )
        parser.add_argument(
            "--rename",
            action="append",
            default=[],
            metavar="THERE=HERE",
            help="What a package is called here; may be repeated.",
        )
        parser.add_argument(
            "--flat", metavar="PACKAGE", default="", help="DIR holds the versions of this package."
        )
        parser.add_argument(
            "--pipeline", metavar="SLUG", help="That stands for the import: import-<repository>."
        )
        parser.add_argument("--api", metavar="URL", default="", help="Of Packages, if it moved.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            refused = self._import(options)
        except KeyboardInterrupt:
            self._live("")
            raise CommandError(
                "Stopped. Run it again to go on where it was.", returncode=2
            ) from None
        except SluiceError as error:
            raise CommandError(error.detail, returncode=2) from error
        except (OSError, DatabaseError) as error:
            raise CommandError(f"It could not be done: {error}", returncode=2) from error
        if refused:
            sys.exit(1)

    def _import(self, options: dict[str, Any]) -> int:
        """Do it, and answer how many versions were refused."""
        repository = Repository.objects.filter(name=options["repository"]).first()
        if repository is None:
            raise CommandError(
                f"There is no repository “{options['repository']}”. Make it first.", returncode=2
            )
        user = _importer(options["user"])
        importing.require_importer(repository, user)
        source = _source(options)
        listed = list(source.listing())
        versions = oldest_first(each for each in listed if isinstance(each, Incoming))
        for misfit in (each for each in listed if isinstance(each, Misfit)):
            self._say(f"refused  {misfit.place}: {misfit.why}")
        self._counts = dict.fromkeys(Fate, 0)
        self._counts[Fate.REFUSED] = len(listed) - len(versions)
        self._total, self._size = len(versions), 0
        self._published = "would be published" if options["dry_run"] else "published"
        if options["dry_run"]:
            for number, incoming in enumerate(versions, 1):
                self._one(number, incoming, lambda each: importing.foresee(each, repository))
        else:
            slug = options["pipeline"] or f"import-{repository.name}"[:64]
            pipeline = importing.pipeline_for(repository, slug, by=user)
            with importing.alone(pipeline):
                if settled := importing.settle(pipeline, by=user):
                    self._say(f"ended  {settled} unfinished run(s) of an import before")
                self._all(versions, repository, pipeline, user)
        self._sum_up()
        return self._counts[Fate.REFUSED] + self._counts[Fate.CONFLICT]

    def _all(
        self, versions: list[Incoming], repository: Repository, pipeline: Any, user: User
    ) -> None:
        silent = 0
        for number, incoming in enumerate(versions, 1):
            live = _Live(self, f"[{number}/{self._total}] {incoming.package} {incoming.version}")
            error = self._one(
                number,
                incoming,
                lambda each, live=live: importing.take_in(
                    each, repository, pipeline, by=user, moved=live.moved
                ),
            )
            silent = silent + 1 if isinstance(error, Unreachable) else 0
            if silent == PATIENCE:
                raise Unreachable(
                    f"{PATIENCE} versions in a row could not be had. Run it again when it answers."
                )

    def _one(self, number: int, incoming: Incoming, do: Any) -> SluiceError | None:
        """Deal with one version and say what became of it; the refusal, if it was refused."""
        refusal: SluiceError | None = None
        try:
            outcome: Outcome = do(incoming)
        except (StorageUnavailable, Forbidden):
            # The next version would fare no better.
            raise
        except VersionExists as error:
            outcome = Outcome(Fate.CONFLICT, error.detail)
        except SluiceError as error:
            refusal, outcome = error, Outcome(Fate.REFUSED, error.detail)
        except OSError as error:
            outcome = Outcome(Fate.REFUSED, f"It cannot be read: {error}")
        self._counts[outcome.fate] += 1
        self._size += outcome.size if outcome.fate == Fate.PUBLISHED else 0
        self._live("")
        counted, name = f"[{number}/{self._total}]", f"{incoming.package} {incoming.version}"
        if outcome.why:
            self._say(f"{counted} {outcome.fate}  {name} ({incoming.place}): {outcome.why}")
            return refusal
        files = f"{outcome.files} file{'' if outcome.files == 1 else 's'}"
        fate = self._published if outcome.fate == Fate.PUBLISHED else outcome.fate
        self._say(f"{counted} {fate}  {name}  {files}, {human(outcome.size)}")
        return refusal

    def _sum_up(self) -> None:
        counts = self._counts
        self._say(
            f"{counts[Fate.PUBLISHED]} {self._published} ({human(self._size)}), "
            f"{counts[Fate.PRESENT]} there already, {counts[Fate.CONFLICT]} in conflict, "
            f"{counts[Fate.REFUSED]} refused."
        )

    def _say(self, line: str) -> None:
        self.stdout.write(printable(line))
        # Whoever reads it through a pipe wants to see it go on, too.
        self.stdout.flush()

    def _live(self, text: str) -> None:
        """A line that the next one overwrites, where somebody watches."""
        if self.stdout.isatty():
            self.stdout.write(f"\r\x1b[K{printable(text)}", ending="")
            self.stdout.flush()


class _Live:
    """Shows how much of a version has come in."""

    def __init__(self, command: Command, name: str) -> None:
        self._command, self._name = command, name
        self._size, self._shown = 0, 0.0

    def moved(self, size: int) -> None:
        self._size += size
        if (now := time.monotonic()) - self._shown >= LIVE_SECONDS:
            self._shown = now
            self._command._live(f"{self._name}  {human(self._size)}")


def printable(line: str) -> str:
    """The line with what would steer a terminal spelt out: whoever named the folders, or answered
    for Packages, is not the operator."""
    return unseen.spelt(line.encode("utf-8", "backslashreplace").decode())


def human(size: int) -> str:
    """A number of bytes as people say it."""
    if size < 1024:
        return f"{size} B"
    scaled = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        scaled /= 1024
        if scaled < 1024 or unit == "TiB":
            return f"{scaled:.1f} {unit}"
    raise AssertionError


def _importer(name: str | None) -> User:
    able = [
        user.username
        for user in User.objects.filter(is_active=True).order_by("username")
        if pipeline_rules.may(user, "pipeline.write") and rules.may(user, "version.publish")
    ]
    shown = ", ".join(able[:10]) or "nobody yet: give a user the role developer"
    if not name:
        raise CommandError(
            f"Say with --as in whose name versions are published. Who may: {shown}.", returncode=2
        )
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise CommandError(
            f"There is no user “{name[:80]}”. Who may import: {shown}.", returncode=2
        )
    return user


def _source(options: dict[str, Any]) -> Source:
    names = dict(_renamed(each) for each in options["rename"])
    if not re.match(r"https?://", options["source"], re.IGNORECASE):
        return Tree(
            Path(options["source"]), only=options["package"], names=names, flat=options["flat"]
        )
    credentials = Credentials(
        user=env.text("SLUICE_IMPORT_USER", ""),
        password=env.secret("SLUICE_IMPORT_PASSWORD") or "",
        token=env.secret("SLUICE_IMPORT_TOKEN") or "",
    )
    if not (credentials.user and credentials.password and credentials.token):
        raise CommandError(
            "Set SLUICE_IMPORT_USER and SLUICE_IMPORT_PASSWORD, which Packages shows in the guide "
            "of the repository, and SLUICE_IMPORT_TOKEN, a personal access token that may read "
            "artifacts. Each of the secrets is also read from a file that …_FILE names.",
            returncode=2,
        )
    return PackagesRepository(
        options["source"],
        credentials,
        api=options["api"],
        only=options["package"],
        names=names,
    )


def _renamed(pair: str) -> tuple[str, str]:
    there, equals, here = pair.rpartition("=")
    if not equals or not there or not here:
        raise CommandError(f"--rename {pair!r} is not like Their/App.tgz=app.", returncode=2)
    return there, here
