"""What still blocks a promotion. Pure decisions: values in, values out, nothing read or written.

A policy is a set of rules; a gate is one rule evaluated for one promotion. `gathering.py` collects
the facts, `promoting.py` asks here and keeps the answer with the promotion.
"""

from promotion.gates.comparing import lowered
from promotion.gates.deciding import (
    APPROVALS,
    UNBREAKABLE,
    GateResult,
    Involved,
    closed,
    counts,
    evaluate,
    overriding,
    refused,
    unfit,
)
from promotion.gates.facts import (
    CustomAnswer,
    Facts,
    GivenApproval,
    ItemFacts,
    KnownEvidence,
    Requester,
)
from promotion.gates.language import Rules
from promotion.gates.reading import Fault, Reading

__all__ = [
    "APPROVALS",
    "UNBREAKABLE",
    "CustomAnswer",
    "Facts",
    "Fault",
    "GateResult",
    "GivenApproval",
    "Involved",
    "ItemFacts",
    "KnownEvidence",
    "Reading",
    "Requester",
    "Rules",
    "closed",
    "counts",
    "evaluate",
    "lowered",
    "overriding",
    "refused",
    "unfit",
]
