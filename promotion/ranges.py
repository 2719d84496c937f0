"""Version ranges and their order. Pure: names in, answers out.

npm-style ranges (`^1.2`, `>=1 <2`) and VERS (`vers:npm/>=1.0.0|<2`) for semantic versions. A
pre-release answers a range only when the range itself names one, as npm has it.
"""

from univers.version_constraint import InvalidConstraintsError
from univers.version_range import NpmVersionRange, VersionRange
from univers.versions import InvalidVersion, SemverVersion

from pipelines.errors import Invalid


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

    def refusal(self, name: str) -> str:
        """Why the version `name` does not answer this range; empty when it does."""
        version = semantic(name)
        if version is None:
            return "its name is not a semantic version"
        if version.value.prerelease and not self._wants_prerelease:
            return "it is a pre-release, which the range does not name"
        try:
            inside = version in self._range
        except InvalidConstraintsError as error:
            # Contradictions are found only when a version is held against them.
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
    return max(names, key=SemverVersion)
