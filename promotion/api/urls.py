"""The addresses of the calls on promotion, below /api/v1/."""

from django.urls import path

from promotion.api import (
    acts,
    contents,
    environments,
    evidence,
    history,
    notices,
    policies,
    promotions,
    recalls,
    repositories,
    retention,
)

PACKAGE = "repositories/<str:repository>/packages/<str:package>"
VERSION = f"{PACKAGE}/versions/<str:version>"
PROMOTION = "promotions/<int:promotion>"

urlpatterns = [
    # Repositories and packages
    path("repositories/", repositories.RepositoriesView.as_view(), name="repositories"),
    path(
        "repositories/<str:repository>/",
        repositories.RepositoryView.as_view(),
        name="repository",
    ),
    path(
        "repositories/<str:repository>/registry/",
        repositories.RegistryView.as_view(),
        name="repository-registry",
    ),
    path(
        "repositories/<str:repository>/packages/",
        repositories.PackagesView.as_view(),
        name="packages",
    ),
    path(
        "repositories/<str:repository>/retention/",
        retention.RetentionView.as_view(),
        name="repository-retention",
    ),
    path(
        "repositories/<str:repository>/retention/preview/",
        retention.PreviewView.as_view(),
        name="repository-retention-preview",
    ),
    path(f"{PACKAGE}/", repositories.PackageView.as_view(), name="package"),
    path(f"{PACKAGE}/resolve/", repositories.ResolveView.as_view(), name="package-resolve"),
    # Versions
    path(f"{PACKAGE}/versions/", repositories.VersionsView.as_view(), name="versions"),
    path(f"{VERSION}/", repositories.VersionView.as_view(), name="version"),
    path(
        f"{VERSION}/download/", repositories.VersionDownloadView.as_view(), name="version-download"
    ),
    path(
        f"{VERSION}/download/<str:name>",
        repositories.VersionDownloadView.as_view(),
        name="version-download-named",
    ),
    path(
        f"{VERSION}/files/<path:path>", repositories.VersionFileView.as_view(), name="version-file"
    ),
    path(f"{VERSION}/contents/", contents.VersionContentsView.as_view(), name="version-contents"),
    path(f"{VERSION}/image/look/", repositories.ImageLookView.as_view(), name="version-look"),
    path(f"{VERSION}/evidence/", evidence.EvidenceView.as_view(), name="version-evidence"),
    path(
        f"{VERSION}/evidence/<int:evidence>/raw/",
        evidence.EvidenceRawView.as_view(),
        name="evidence-raw",
    ),
    path(f"{VERSION}/vsa/", evidence.SummaryView.as_view(), name="version-vsa"),
    path(f"{VERSION}/recall/", recalls.RecallView.as_view(), name="version-recall"),
    path(f"{VERSION}/affected/", recalls.AffectedView.as_view(), name="version-affected"),
    path(
        f"{VERSION}/affected/<int:affected>/acknowledge/",
        recalls.AcknowledgeView.as_view(),
        name="version-affected-acknowledge",
    ),
    # Evidence on artifacts, and the keys it is checked with
    path(
        "artifacts/<int:artifact>/evidence/",
        evidence.ArtifactEvidenceView.as_view(),
        name="artifact-evidence",
    ),
    path("evidence-keys/", evidence.KeysView.as_view(), name="evidence-keys"),
    path("evidence-keys/<str:key>/", evidence.KeyView.as_view(), name="evidence-key"),
    path(
        "evidence-keys/<str:key>/revoke/",
        evidence.KeyRevokeView.as_view(),
        name="evidence-key-revoke",
    ),
    # Selections
    path("selections/", repositories.SelectionsView.as_view(), name="selections"),
    path("selections/<int:selection>/", repositories.SelectionView.as_view(), name="selection"),
    # Environments
    path("environments/", environments.EnvironmentsView.as_view(), name="environments"),
    path(
        "environments/<str:environment>/",
        environments.EnvironmentView.as_view(),
        name="environment",
    ),
    path(
        "environments/<str:environment>/placements/",
        environments.PlacementsView.as_view(),
        name="environment-placements",
    ),
    path(
        "environments/<str:environment>/policy/",
        policies.PolicyView.as_view(),
        name="environment-policy",
    ),
    path(
        "environments/<str:environment>/policy/revisions/",
        policies.PolicyRevisionsView.as_view(),
        name="environment-policy-revisions",
    ),
    path(
        "environments/<str:environment>/policy/replay/",
        policies.ReplayView.as_view(),
        name="environment-policy-replay",
    ),
    path(
        "environments/<str:environment>/target/",
        environments.TargetView.as_view(),
        name="environment-target",
    ),
    path(
        "environments/<str:environment>/holds/",
        acts.HoldsView.as_view(),
        name="environment-holds",
    ),
    path(
        "environments/<str:environment>/holds/<int:hold>/lift/",
        acts.LiftView.as_view(),
        name="hold-lift",
    ),
    # Promotions
    path("promotions/", promotions.PromotionsView.as_view(), name="promotions"),
    path("promotions/plan/", promotions.PlanView.as_view(), name="promotion-plan"),
    path("promotions/rollback/", promotions.RollbackView.as_view(), name="promotion-rollback"),
    path(f"{PROMOTION}/", promotions.PromotionView.as_view(), name="promotion"),
    path(f"{PROMOTION}/approve/", promotions.ApproveView.as_view(), name="promotion-approve"),
    path(
        f"{PROMOTION}/approve/challenge/",
        promotions.ChallengeView.as_view(),
        name="promotion-challenge",
    ),
    path(f"{PROMOTION}/reject/", promotions.RejectView.as_view(), name="promotion-reject"),
    path(f"{PROMOTION}/withdraw/", promotions.WithdrawView.as_view(), name="promotion-withdraw"),
    path(
        f"{PROMOTION}/attestation/",
        evidence.AttestationView.as_view(),
        name="promotion-attestation",
    ),
    path(f"{PROMOTION}/retry/", promotions.RetryView.as_view(), name="promotion-retry"),
    path(f"{PROMOTION}/override/", acts.OverrideView.as_view(), name="promotion-override"),
    path(f"{PROMOTION}/review/", acts.ReviewView.as_view(), name="promotion-review"),
    # Notices
    path("notices/", notices.NoticesView.as_view(), name="notices"),
    path("notices/read/", notices.ReadAllView.as_view(), name="notices-read"),
    path("notices/<int:notice>/read/", notices.ReadView.as_view(), name="notice-read"),
    # Audit
    path("history/", history.HistoryView.as_view(), name="history"),
]
