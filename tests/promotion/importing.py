"""Run `manage.py import_packages` and hand back what it says; make trees for it."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.core.management.base import CommandError

from pipelines import blobs
from promotion.models import Version


def import_packages(
    source: object, *arguments: str, user: str = "ada", repository: str = "apps"
) -> tuple[int, str]:
    """The exit status of the command, and what it printed or was refused with."""
    out = StringIO()
    try:
        call_command(
            "import_packages",
            str(source),
            *arguments,
            *(["--as", user] if user else []),
            repository=repository,
            stdout=out,
        )
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def make_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def versions(package: str) -> list[str]:
    """In the order of their publication."""
    found = Version.objects.filter(package__repository__name="apps", package__name=package)
    return list(found.order_by("pk").values_list("name", flat=True))


def files_of(package: str, version: str) -> dict[str, bytes]:
    """What a version holds, read from the storage."""
    found = Version.objects.get(
        package__repository__name="apps", package__name=package, name=version
    )
    held = {}
    for file in found.files.select_related("blob"):
        with blobs.open_blob(file.blob) as stream:
            held[file.path] = stream.read()
    return held
