"""The nouns of what may go where, one a file."""

from promotion.models.environment import Environment
from promotion.models.evidence import ArtifactEvidence, CheckedSignature, Evidence, EvidenceKey
from promotion.models.hold import Hold
from promotion.models.image import ImageDetails, ImageLook, LookState
from promotion.models.ledger import LedgerEntry, LedgerHead
from promotion.models.notice import Letter, LetterState, Notice, Told
from promotion.models.override import Override, Review, Verdict
from promotion.models.placement import Placement
from promotion.models.policy import PolicyRevision
from promotion.models.promotion import (
    Approval,
    Decision,
    Promotion,
    PromotionItem,
    PromotionKind,
    PromotionQuerySet,
    PromotionState,
)
from promotion.models.recall import Affected, Download
from promotion.models.repository import Package, Repository, RepositoryKind
from promotion.models.selection import Selection
from promotion.models.upload import UploadOutcome
from promotion.models.version import Version, VersionFile, VersionState
from promotion.models.webhook import Delivery, DeliveryState, Webhook

__all__ = [
    "Affected",
    "Approval",
    "ArtifactEvidence",
    "CheckedSignature",
    "Decision",
    "Delivery",
    "DeliveryState",
    "Download",
    "Environment",
    "Evidence",
    "EvidenceKey",
    "Hold",
    "ImageDetails",
    "ImageLook",
    "LedgerEntry",
    "LedgerHead",
    "Letter",
    "LetterState",
    "LookState",
    "Notice",
    "Override",
    "Package",
    "Placement",
    "PolicyRevision",
    "Promotion",
    "PromotionItem",
    "PromotionKind",
    "PromotionQuerySet",
    "PromotionState",
    "Repository",
    "RepositoryKind",
    "Review",
    "Selection",
    "Told",
    "UploadOutcome",
    "Verdict",
    "Version",
    "VersionFile",
    "VersionState",
    "Webhook",
]
