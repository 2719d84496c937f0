"""The difference that a plan makes, in a few words for each package."""

from dataclasses import dataclass
from datetime import datetime

from pipelines.templatetags.sluice import file_size
from promotion import diffs
from promotion.comparing import contents
from promotion.diffs import Difference
from promotion.plans import Plan


@dataclass(frozen=True, slots=True)
class Shown:
    """As promotion/_difference.html draws it."""

    found: Difference
    #: What differs, shortly; empty where nothing does.
    summary: str
    #: A sentence where the whole needs one: it is the first, or nothing but its name changes.
    sentence: str


def differences(planned: Plan, as_of: datetime | None = None) -> list[Shown]:
    place = planned.environment.name
    found = diffs.diff(planned, most=diffs.MOST_SHOWN, as_of=as_of)
    return [Shown(each, _summary(each), _sentence(each, place)) for each in found]


def _sentence(found: Difference, place: str) -> str:
    if found.replaced is None:
        return f"First time in {place}: there is nothing to compare it with."
    old, new = found.replaced.name, found.version.name
    if found.replaced.pk == found.version.pk:
        return f"{new} is in {place} already."
    if found.has_same_bytes:
        return (
            f"Nothing but metadata changes: {new} holds the very same bytes as {old}, under "
            "another name."
        )
    if found.is_back:
        return f"This goes back from {old} to {new}."
    return ""


def _summary(found: Difference) -> str:
    parts = [*_files(found.files), *_image(found.image)]
    if found.commits and not found.is_first:
        parts.append(_many(len(found.commits), "source at another commit", "sources at others"))
    for count, one, several in (
        (found.variables.total, "variable", "variables"),
        (found.evidence.total, "kind of evidence", "kinds of evidence"),
        (found.components.total if found.components else 0, "component", "components"),
    ):
        if count:
            parts.append(_many(count, one, several))
    return " · ".join(parts)


def _files(files: contents.FileChanges) -> list[str]:
    counts = {"added": files.added, "changed": files.changed, "removed": files.removed}
    return [f"{_many(count, 'file', 'files')} {how}" for how, count in counts.items() if count]


def _image(image: contents.ImageChange | None) -> list[str]:
    if image is None or image.digest_before == image.digest_after:
        return []
    if image.platforms is None:
        return ["another image"] if image.digest_before else ["an image"]
    size = sum(each.added_size for each in image.platforms.first)
    return [f"image with {file_size(size)} of new layers"]


def _many(count: int, one: str, several: str) -> str:
    return f"1 {one}" if count == 1 else f"{count} {several}"
