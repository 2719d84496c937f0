"""How the ledger names a version, and by what its entries are found."""

from promotion.ledger.append import About
from promotion.models import Version


def about(version: Version) -> About:
    """By what the ledger entries on a version are found."""
    return About(repository=version.package.repository.name, package=version.package.name)


def named(version: Version) -> dict[str, str]:
    """How ledger entries name a version and its bytes."""
    return {
        "repository": version.package.repository.name,
        "package": version.package.name,
        "version": version.name,
        "manifest_digest": version.manifest_digest,
    }
