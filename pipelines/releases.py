"""What `ArtifactUpload` with `uploadType: packages` needs of repositories, which others own.

`promotion` registers itself here: it refuses early what it could not publish, and publishes what a
run left for it once the run has succeeded.
"""

from collections.abc import Sequence
from typing import Protocol

from pipelines.artifacts import NamedBlob, Release
from pipelines.errors import Invalid
from pipelines.models import Run


class Check(Protocol):
    def __call__(self, run: Run, name: str, release: Release, files: Sequence[NamedBlob]) -> None:
        """Refuse files that could not be published when the run has succeeded."""


_checks: list[Check] = []


def register(check: Check) -> None:
    _checks.append(check)


def check(run: Run, name: str, release: Release, files: Sequence[NamedBlob]) -> None:
    if not _checks:
        raise Invalid("This site has no repositories to publish into.")
    for each in _checks:
        each(run, name, release, files)
