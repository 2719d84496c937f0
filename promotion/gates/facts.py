"""What is known of a promotion when its gates are asked. Values only: gathering.py fills them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class GivenApproval:
    """One person's approval, and whether that person may still give it."""

    username: str
    plan_digest: str
    may_decide: bool
    at: datetime
    groups: frozenset[str] = frozenset()
    is_machine: bool = False
    second_factor: bool = False


@dataclass(frozen=True, slots=True)
class KnownEvidence:
    """A statement about a version: its kind and predicate type, what it says, and which keys
    verified it. Without keys it is a claim."""

    digest: str
    kind: str
    predicate_type: str
    result: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What is known of one version that is to be placed. `overrides` says what people did by hand
    in its run; `hold` why automation is kept from placing it here."""

    name: str
    version: str
    is_recalled: bool
    upstream_since: datetime | None
    is_pruned: bool = False
    publisher: str = ""
    run_starter: str = ""
    branches: tuple[str, ...] = ()
    pipeline: str = ""
    overrides: tuple[str, ...] = ()
    evidence: tuple[KnownEvidence, ...] = ()
    hold: str = ""
    #: Why the version is outside the policy's range; empty where it is inside, or none is named.
    outside_range: str = ""
    is_pre_release: bool = False


@dataclass(frozen=True, slots=True)
class Requester:
    username: str
    may_request: bool = True
    groups: frozenset[str] = frozenset()
    is_machine: bool = False
    open_requests: int = 0


@dataclass(frozen=True, slots=True)
class CustomAnswer:
    """What a policy's own expression came to: `fault` says why it came to nothing."""

    holds: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    environment: str
    now: datetime
    requester: Requester
    plan_digest: str
    approvals: tuple[GivenApproval, ...]
    items: tuple[ItemFacts, ...]
    is_rollback: bool = False
    #: Reviews of overrides here that nobody gave in time.
    overdue_reviews: tuple[str, ...] = ()
    custom: Mapping[str, CustomAnswer] = field(default_factory=dict)
