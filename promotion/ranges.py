"""Version ranges and their order. Pure: names in, answers out.

npm-style ranges (`^1.2`, `>=1 <2`) and VERS (`vers:npm/>=1.0.0|<2`) for semantic versions. A
pre-release answers a range only when the range itself names one, as npm has it.

Most names are plain, like 1.20.3, and a package may have very many of them. What the library says
of one of them it says of all between the same two versions that a range names: it is asked once.
"""

import re
from bisect import bisect_left, bisect_right

from univers.version_constraint import InvalidConstraintsError
from univers.version_range import NpmVersionRange, VersionRange
from univers.versions import InvalidVersion, SemverVersion

from pipelines.errors import Invalid

PLAIN = re.compile(r"^([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})\Z")

#: Major, minor, patch, and 1 for a release or 0 for what comes before it.
Key = tuple[int, int, int, int]


class Range:
    """A range as it was written, able to tell which versions it holds."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        try:
            if self.text.startswith("vers:"):
                self._range = VersionRange.from_string(self.text)  # type: ignore[no-untyped-call]
            else:
                self._range = NpmVersionRange.from_native(self.text)  # type: ignore[no-untyped-call]
        except (InvalidVersion, ValueError, TypeError, AttributeError, IndexError) as error:
            raise self._no_range() from error
        if not self._range.constraints:
            raise Invalid(
                f"“{self.text[:80]}” is an empty range. Name an exact version or a range."
            )
        self._wants_prerelease = any(
            constraint.version is not None and getattr(constraint.version.value, "prerelease", ())
            for constraint in self._range.constraints
        )
        self._bounds = _bounds([each.version for each in self._range.constraints])
        self._answers: dict[tuple[int, int], str] = {}

    def refusal(self, name: str) -> str:
        """Why the version `name` does not answer this range; empty when it does."""
        key = _plain(name)
        if key is None or self._bounds is None:
            return self._refusal(name)
        between = bisect_left(self._bounds, key), bisect_right(self._bounds, key)
        if between not in self._answers:
            self._answers[between] = self._refusal(name)
        return self._answers[between]

    def _refusal(self, name: str) -> str:
        version = semantic(name)
        if version is None:
            return "its name is not a semantic version"
        if version.value.prerelease and not self._wants_prerelease:
            return "it is a pre-release, which the range does not name"
        try:
            inside = version in self._range
        except (InvalidConstraintsError, TypeError) as error:
            # Contradictions, and versions of another scheme, are found only when a version is held
            # against them.
            raise self._no_range() from error
        return "" if inside else f"it is outside {self.text}"

    def _no_range(self) -> Invalid:
        return Invalid(
            f"“{self.text[:80]}” is not a version range. Write it like ^1.2, >=1.0.0 <2.0.0 or "
            "vers:npm/>=1.0.0|<2.0.0."
        )


def semantic(name: str) -> SemverVersion | None:
    """`name` as a semantic version, or None."""
    try:
        return SemverVersion(name)
    except (InvalidVersion, ValueError):
        return None


def is_newer(name: str, other: str) -> bool:
    """Whether `name` comes after `other`; of names that are no semantic versions, nobody knows."""
    one, two = semantic(name), semantic(other)
    return one is not None and two is not None and one > two


def newest(names: list[str]) -> str:
    """The highest of at least one semantic version names."""
    plain = max(names, key=lambda name: _plain(name) or (-1, 0, 0, 0))
    return max((name for name in names if name == plain or not _plain(name)), key=SemverVersion)


def _plain(name: str) -> Key | None:
    match = PLAIN.match(name)
    return (int(match[1]), int(match[2]), int(match[3]), 1) if match else None


def _bounds(versions: list[object]) -> list[Key] | None:
    """Where between plain names a range may change its answer; None where that is not known."""
    found: list[Key] = []
    for version in versions:
        if version is None:
            continue
        if not isinstance(version, SemverVersion) or version.value.build:
            return None
        value = version.value
        found.append((value.major, value.minor, value.patch, 0 if value.prerelease else 1))
    return sorted(found)
