"""Trains: which versions one environment has and another lacks. Reads only.

A train is no row of its own. It is a promotion of several items, and its list, while somebody puts
it together, is the address of a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from promotion.models import Environment, Placement, Version, VersionState
from promotion.plans import MOST_ITEMS
from promotion.policies import current_policy, rules_of
from promotion.ranges import is_newer


@dataclass(frozen=True, slots=True)
class Missing:
    """What `source` has and `environment` lacks, and what is not taken along, with the reasons."""

    environment: Environment
    source: Environment
    versions: tuple[Version, ...]
    left_out: tuple[str, ...]


def upstream_of(environment: Environment) -> Environment | None:
    """The environment that the policy wants versions to be placed in first."""
    name = rules_of(current_policy(environment)).upstream
    return Environment.objects.with_names().filter(name=name).first() if name else None


def missing(environment: Environment, source: Environment) -> Missing:
    """Every version of `source` that `environment` could be given to be as far as it.

    Nothing is taken back by the way: where the environment has a newer version, somebody wanted
    so, and to undo it is a rollback, which people ask for by name.
    """
    there, here = _placed(source), {each.package_id: each for each in _placed(environment)}
    taken: list[Version] = []
    left_out: list[str] = []
    for placement in there:
        version, present = placement.version, here.get(placement.package_id)
        if present is not None and present.version_id == version.pk:
            continue
        if why := _why_not(version, present.version if present else None, environment):
            left_out.append(why)
        elif len(taken) == MOST_ITEMS:
            left_out.append(f"{version}: a promotion places at most {MOST_ITEMS} versions.")
        else:
            taken.append(version)
    return Missing(environment, source, tuple(taken), tuple(left_out))


def _placed(environment: Environment) -> Sequence[Placement]:
    return list(
        Placement.objects.current()
        .filter(environment=environment)
        .select_related("version__package__repository", "version__replacement")
        .order_by("package__repository__name", "package__name")
    )


def _why_not(version: Version, present: Version | None, environment: Environment) -> str:
    if version.state == VersionState.RECALLED:
        return f"{version} was recalled: {version.recall_reason}"
    if version.pruned_at is not None:
        return f"{version} was pruned: {version.pruned_reason}"
    if present is not None and is_newer(present.name, version.name):
        return f"{version}: {environment.name} has {present.name}, which is newer."
    return ""
