"""The admin of what may go where. Rows are read here; the two actions call the same verbs as the
browser and the API."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User
from pipelines.admin import ArtifactAdmin, ReadOnlyAdmin
from pipelines.errors import SluiceError
from pipelines.models import Artifact
from promotion import promoting, publishing
from promotion.models import (
    Affected,
    Approval,
    ArtifactEvidence,
    CheckedSignature,
    Delivery,
    Download,
    Environment,
    Evidence,
    EvidenceKey,
    Hold,
    ImageDetails,
    ImageLook,
    LedgerEntry,
    LedgerHead,
    Letter,
    Notice,
    Override,
    Package,
    Placement,
    PolicyRevision,
    Promotion,
    PromotionItem,
    Repository,
    Review,
    Selection,
    Told,
    UploadOutcome,
    Version,
    VersionFile,
    Webhook,
)


def _each(
    request: HttpRequest, rows: QuerySet[Any], verb: Callable[[Any, User], object], done: str
) -> None:
    """Call `verb` on each row for the signed-in user, and say of each what became of it."""
    assert isinstance(request.user, User)
    for row in rows:
        try:
            verb(row, request.user)
        except SluiceError as error:
            messages.error(request, f"{row}: {error.detail}")
        else:
            messages.success(request, f"{row}: {done}.")


# ---- Publish -----------------------------------------------------------------------------------
class PublishForm(ActionForm):
    """What the action needs besides the artifact; empty for other actions."""

    repository = forms.ModelChoiceField(Repository.objects.all(), required=False)
    package = forms.CharField(required=False)
    version = forms.CharField(required=False)


class PublishableArtifactAdmin(ArtifactAdmin):
    action_form = PublishForm
    actions = ("publish",)

    @admin.action(description="Publish as a version")
    def publish(self, request: HttpRequest, rows: QuerySet[Artifact]) -> None:
        repository = Repository.objects.filter(pk=request.POST.get("repository") or 0).first()
        if repository is None or rows.count() != 1:
            messages.error(request, "Choose one artifact and the repository it goes to.")
            return

        def verb(artifact: Artifact, by: User) -> object:
            package = request.POST.get("package", "")
            version = request.POST.get("version", "")
            return publishing.publish(repository, package, version, artifact, by=by)

        whole = rows.select_related("run__pipeline", "run__revision", "bundle")
        _each(request, whole, verb, "published")


admin.site.unregister(Artifact)
admin.site.register(Artifact, PublishableArtifactAdmin)


# ---- Approve -----------------------------------------------------------------------------------
@admin.register(Promotion)
class PromotionAdmin(ReadOnlyAdmin[Promotion]):
    list_display = ("id", "environment", "kind", "state", "plan_digest", "requested_by")
    list_filter = ("state", "environment", "kind", "requested_at")
    list_select_related = ("environment", "requested_by")
    search_fields = ("plan_digest", "comment", "requested_by__username")
    actions = ("approve",)

    @admin.action(description="Approve the plan as requested")
    def approve(self, request: HttpRequest, rows: QuerySet[Promotion]) -> None:
        def verb(promotion: Promotion, by: User) -> object:
            return promoting.approve(promotion, by=by, plan=promotion.plan_digest)

        _each(request, rows, verb, "approved")


# ---- Read --------------------------------------------------------------------------------------
@admin.register(Repository)
class RepositoryAdmin(ReadOnlyAdmin[Repository]):
    list_display = ("name", "kind", "description", "registry", "created_by", "created_at")
    list_filter = ("kind",)
    list_select_related = ("created_by",)
    search_fields = ("name", "description", "registry")


@admin.register(Package)
class PackageAdmin(ReadOnlyAdmin[Package]):
    list_display = ("name", "repository", "created_at")
    list_filter = ("repository",)
    list_select_related = ("repository",)
    search_fields = ("name", "repository__name")


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin[Version]):
    list_display = ("name", "package", "state", "manifest_digest", "published_by", "published_at")
    list_filter = ("state", "package__repository", "published_at")
    list_select_related = ("package__repository", "published_by")
    search_fields = ("name", "package__name", "manifest_digest")


@admin.register(VersionFile)
class VersionFileAdmin(ReadOnlyAdmin[VersionFile]):
    list_display = ("path", "version", "blob", "executable")
    list_filter = ("executable",)
    list_select_related = ("version__package__repository", "blob")
    search_fields = ("path", "blob__sha256", "version__name")


@admin.register(ImageDetails)
class ImageDetailsAdmin(ReadOnlyAdmin[ImageDetails]):
    list_display = ("version", "digest", "at")
    list_filter = ("at",)
    list_select_related = ("version__package__repository",)
    search_fields = ("digest", "version__name", "version__package__name")


@admin.register(ImageLook)
class ImageLookAdmin(ReadOnlyAdmin[ImageLook]):
    list_display = ("version", "state", "tag_digest", "looked_at")
    list_filter = ("state", "looked_at")
    list_select_related = ("version__package__repository",)
    search_fields = ("tag_digest", "version__name", "version__package__name")


@admin.register(Evidence)
class EvidenceAdmin(ReadOnlyAdmin[Evidence]):
    list_display = ("version", "kind", "predicate_type", "result", "added_by", "added_at")
    list_filter = ("kind", "result", "added_at")
    list_select_related = ("version__package__repository", "added_by")
    search_fields = ("predicate_type", "digest", "version__name", "version__package__name")


@admin.register(ArtifactEvidence)
class ArtifactEvidenceAdmin(ReadOnlyAdmin[ArtifactEvidence]):
    list_display = ("artifact", "kind", "predicate_type", "result", "added_by", "added_at")
    list_filter = ("kind", "result", "added_at")
    list_select_related = ("artifact__run__pipeline", "added_by")
    search_fields = ("predicate_type", "digest", "artifact__name")


@admin.register(EvidenceKey)
class EvidenceKeyAdmin(ReadOnlyAdmin[EvidenceKey]):
    list_display = ("name", "algorithm", "fingerprint", "added_by", "added_at", "revoked_at")
    list_filter = ("algorithm", "revoked_at")
    list_select_related = ("added_by",)
    search_fields = ("name", "fingerprint")


@admin.register(CheckedSignature)
class CheckedSignatureAdmin(ReadOnlyAdmin[CheckedSignature]):
    list_display = ("evidence", "key", "checked_at")
    list_filter = ("key", "checked_at")
    list_select_related = ("evidence__version__package__repository", "key")
    search_fields = ("key__name", "evidence__digest")


@admin.register(Environment)
class EnvironmentAdmin(ReadOnlyAdmin[Environment]):
    list_display = ("name", "rank", "policy", "created_by", "created_at")
    list_filter = ("created_at",)
    list_select_related = ("policy__environment", "created_by")
    search_fields = ("name", "description")


@admin.register(PolicyRevision)
class PolicyRevisionAdmin(ReadOnlyAdmin[PolicyRevision]):
    list_display = ("environment", "number", "digest", "created_by", "created_at")
    list_filter = ("environment",)
    list_select_related = ("environment", "created_by")
    search_fields = ("environment__name", "digest")


@admin.register(PromotionItem)
class PromotionItemAdmin(ReadOnlyAdmin[PromotionItem]):
    list_display = ("promotion", "version", "replaces")
    list_filter = ("promotion__environment",)
    list_select_related = (
        "promotion__environment",
        "version__package__repository",
        "replaces__package__repository",
    )
    search_fields = ("version__name", "package__name")


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin[Approval]):
    list_display = ("promotion", "by", "decision", "plan_digest", "at")
    list_filter = ("decision", "at")
    list_select_related = ("promotion__environment", "by")
    search_fields = ("by__username", "plan_digest", "comment")


@admin.register(Override)
class OverrideAdmin(ReadOnlyAdmin[Override]):
    list_display = ("promotion", "by", "gates", "reviews_required", "review_due", "at")
    list_filter = ("at", "review_due")
    list_select_related = ("promotion__environment", "by")
    search_fields = ("by__username", "reason", "plan_digest")


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin[Review]):
    list_display = ("override", "by", "verdict", "at")
    list_filter = ("verdict", "at")
    list_select_related = ("override__promotion__environment", "by")
    search_fields = ("by__username", "comment")


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin[Hold]):
    list_display = ("version", "environment", "by", "at", "lifted_by", "lifted_at")
    list_filter = ("environment", "at")
    list_select_related = ("version__package__repository", "environment", "by", "lifted_by")
    search_fields = ("version__name", "version__package__name", "reason", "by__username")


@admin.register(Placement)
class PlacementAdmin(ReadOnlyAdmin[Placement]):
    list_display = ("version", "environment", "promotion", "since", "until")
    list_filter = ("environment", "since")
    list_select_related = (
        "version__package__repository",
        "environment",
        "promotion__environment",
    )
    search_fields = ("package__name", "version__name")


@admin.register(Selection)
class SelectionAdmin(ReadOnlyAdmin[Selection]):
    list_display = ("id", "version", "environment", "by", "consumer", "ledger_size", "at")
    list_filter = ("environment", "at")
    list_select_related = ("version__package__repository", "environment", "by")
    search_fields = ("consumer", "by__username", "version__name", "version__package__name")


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin[LedgerEntry]):
    list_display = ("sequence", "type", "actor", "repository", "package", "environment", "at")
    list_filter = ("type", "environment", "at")
    list_select_related = ("actor",)
    search_fields = ("type", "actor__username", "package", "repository")


@admin.register(LedgerHead)
class LedgerHeadAdmin(ReadOnlyAdmin[LedgerHead]):
    list_display = ("size", "root")
    list_filter = ("size",)
    search_fields = ("root",)


@admin.register(UploadOutcome)
class UploadOutcomeAdmin(ReadOnlyAdmin[UploadOutcome]):
    list_display = ("artifact", "version", "refused", "at")
    list_filter = ("at",)
    list_select_related = ("artifact__run__pipeline", "version__package__repository")
    search_fields = ("artifact__name", "refused")


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin[Notice]):
    list_display = ("id", "recipient", "type", "subject", "asks", "created_at", "read_at")
    list_filter = ("type", "asks", "created_at")
    list_select_related = ("recipient",)
    search_fields = ("recipient__username", "subject")


@admin.register(Letter)
class LetterAdmin(ReadOnlyAdmin[Letter]):
    list_display = ("notice", "state", "attempt", "due_at", "sent_at", "error")
    list_filter = ("state", "due_at")
    list_select_related = ("notice__recipient",)
    search_fields = ("notice__recipient__username", "error")


@admin.register(Told)
class ToldAdmin(ReadOnlyAdmin[Told]):
    list_display = ("position", "attempt", "lease_until")
    list_filter = ("lease_until",)
    search_fields = ("position",)


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin[Webhook]):
    list_display = ("name", "url", "created_by", "failing_since", "disabled_at")
    list_filter = ("disabled_at",)
    list_select_related = ("created_by",)
    search_fields = ("name", "url")
    exclude = ("sealed",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # A filter in the address would give it away letter by letter.
        return not lookup.startswith("sealed") and super().lookup_allowed(lookup, value, request)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    list_display = ("webhook", "type", "line", "state", "attempt", "status", "created_at")
    list_filter = ("state", "webhook", "type")
    list_select_related = ("webhook",)
    search_fields = ("event", "line", "error")


@admin.register(Download)
class DownloadAdmin(ReadOnlyAdmin[Download]):
    list_display = ("version", "by", "count", "first_at", "last_at")
    list_select_related = ("version__package__repository", "by")
    search_fields = ("version__name", "by__username")


@admin.register(Affected)
class AffectedAdmin(ReadOnlyAdmin[Affected]):
    list_display = ("version", "owner", "listed_at", "acknowledged_by", "acknowledged_at")
    list_select_related = ("version__package__repository", "owner", "acknowledged_by")
    search_fields = ("version__name", "owner__username")
