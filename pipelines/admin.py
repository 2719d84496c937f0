"""The admin of what was built: everything can be found and read; nothing is edited here, because
each state has one writer and history has none."""

from typing import Any, TypeVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from pipelines.models import (
    Artifact,
    ArtifactFile,
    Blob,
    Collection,
    GateDecision,
    IdempotencyKey,
    Job,
    Lease,
    LogChunk,
    Machine,
    MachineGroup,
    MachineResult,
    Pipeline,
    PushHook,
    Revision,
    Run,
    Runner,
    ServiceConnection,
    Step,
    Trial,
    Upload,
    UploadFile,
    UploadPart,
    Upstream,
)

Model = TypeVar("Model", bound=models.Model)


class ReadOnlyAdmin(admin.ModelAdmin[Model]):
    """Rows that only verbs write."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Pipeline)
class PipelineAdmin(ReadOnlyAdmin[Pipeline]):
    list_display = ("slug", "name", "revision", "last_run_number", "created_by", "created_at")
    list_filter = ("created_at",)
    list_select_related = ("revision__pipeline", "created_by")
    search_fields = ("slug", "name")


@admin.register(Revision)
class RevisionAdmin(ReadOnlyAdmin[Revision]):
    list_display = ("pipeline", "number", "digest", "created_by", "created_at")
    list_filter = ("pipeline", "created_at")
    list_select_related = ("pipeline", "created_by")
    search_fields = ("pipeline__slug", "digest", "yaml")


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin[Run]):
    list_display = ("pipeline", "number", "state", "trigger", "started_by", "created_at")
    list_filter = ("state", "trigger", "pipeline", "created_at")
    list_select_related = ("pipeline", "started_by")
    search_fields = ("pipeline__slug", "comment", "commit")


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin[Job]):
    list_display = ("run", "stage", "key", "state", "attempt", "started_at", "finished_at")
    list_filter = ("state", "is_manual", "run__pipeline")
    list_select_related = ("run__pipeline",)
    search_fields = ("run__pipeline__slug", "stage", "key", "error")


@admin.register(Step)
class StepAdmin(ReadOnlyAdmin[Step]):
    list_display = ("job", "key", "kind", "state", "exit_code", "started_at")
    list_filter = ("state", "kind")
    list_select_related = ("job__run__pipeline",)
    search_fields = ("job__run__pipeline__slug", "key", "kind", "error")


@admin.register(LogChunk)
class LogChunkAdmin(ReadOnlyAdmin[LogChunk]):
    list_display = ("job", "attempt", "sequence", "step", "characters", "lines", "written_at")
    list_filter = ("written_at",)
    list_select_related = ("job__run__pipeline",)
    search_fields = ("job__run__pipeline__slug", "job__key", "step")


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin[Artifact]):
    """`promotion` adds the action that publishes: this app may not know of versions."""

    list_display = ("name", "type", "run", "step", "digest", "created_by", "created_at")
    list_filter = ("type", "run__pipeline", "created_at")
    list_select_related = ("run__pipeline", "created_by")
    search_fields = ("name", "digest", "run__pipeline__slug", "image")


@admin.register(ArtifactFile)
class ArtifactFileAdmin(ReadOnlyAdmin[ArtifactFile]):
    list_display = ("path", "artifact", "blob", "executable")
    list_filter = ("executable",)
    list_select_related = ("artifact__run__pipeline", "blob")
    search_fields = ("path", "blob__sha256", "artifact__name")


@admin.register(Upload)
class UploadAdmin(ReadOnlyAdmin[Upload]):
    list_display = ("name", "run", "state", "created_by", "created_at", "expires_at")
    list_filter = ("state", "created_at")
    list_select_related = ("run__pipeline", "created_by")
    search_fields = ("name", "run__pipeline__slug", "created_by__username")


@admin.register(UploadFile)
class UploadFileAdmin(ReadOnlyAdmin[UploadFile]):
    list_display = ("path", "upload", "number", "size", "sha256")
    list_filter = ("executable",)
    list_select_related = ("upload__run__pipeline",)
    search_fields = ("path", "upload__name", "sha256")


@admin.register(UploadPart)
class UploadPartAdmin(ReadOnlyAdmin[UploadPart]):
    list_display = ("file", "number", "blob", "held_at")
    list_filter = ("held_at",)
    list_select_related = ("file", "blob")
    search_fields = ("file__path", "blob__sha256")


@admin.register(Blob)
class BlobAdmin(ReadOnlyAdmin[Blob]):
    list_display = ("sha256", "size", "state", "created_at")
    list_filter = ("state", "created_at")
    search_fields = ("sha256", "md5")


@admin.register(Collection)
class CollectionAdmin(ReadOnlyAdmin[Collection]):
    list_display = ("began_at", "ended_at", "condemned", "removed", "removed_bytes", "failed")
    list_filter = ("began_at",)


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin[IdempotencyKey]):
    list_display = ("key", "user", "status", "created_at")
    list_filter = ("status", "created_at")
    list_select_related = ("user",)
    search_fields = ("key", "user__username")


@admin.register(Upstream)
class UpstreamAdmin(ReadOnlyAdmin[Upstream]):
    list_display = ("pipeline", "source", "slug")
    list_filter = ("slug",)
    list_select_related = ("pipeline",)
    search_fields = ("pipeline__slug", "slug")


@admin.register(GateDecision)
class GateDecisionAdmin(ReadOnlyAdmin[GateDecision]):
    list_display = ("job", "gate", "by", "passed", "comment", "at")
    list_filter = ("passed", "at")
    list_select_related = ("job__run__pipeline", "by")
    search_fields = ("job__run__pipeline__slug", "by__username", "comment")


@admin.register(Runner)
class RunnerAdmin(ReadOnlyAdmin[Runner]):
    list_display = ("name", "groups", "builder", "engine", "is_isolating", "seen_at")
    search_fields = ("name",)


@admin.register(ServiceConnection)
class ServiceConnectionAdmin(ReadOnlyAdmin[ServiceConnection]):
    list_display = ("name", "kind", "team", "host", "changed_at", "last_used_at")
    list_filter = ("kind", "team")
    list_select_related = ("team",)
    search_fields = ("name", "host", "description")
    # What is encrypted is of no use to a reader.
    exclude = ("sealed",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # A filter in the address would give it away letter by letter.
        return not lookup.startswith("sealed") and super().lookup_allowed(lookup, value, request)


@admin.register(PushHook)
class PushHookAdmin(ReadOnlyAdmin[PushHook]):
    list_display = ("pipeline", "source", "created_by", "changed_at", "last_at", "last_run")
    list_filter = ("pipeline", "last_at")
    list_select_related = ("pipeline", "created_by", "last_run__pipeline")
    search_fields = ("pipeline__slug", "source", "last_why")
    exclude = ("sealed",)


@admin.register(MachineGroup)
class MachineGroupAdmin(ReadOnlyAdmin[MachineGroup]):
    list_display = ("name", "connection", "description", "created_by", "created_at")
    list_filter = ("created_at",)
    list_select_related = ("connection", "created_by")
    search_fields = ("name", "description", "connection__name")


@admin.register(Machine)
class MachineAdmin(ReadOnlyAdmin[Machine]):
    list_display = ("group", "name", "host", "port", "fingerprint")
    list_filter = ("group",)
    list_select_related = ("group",)
    search_fields = ("group__name", "name", "host")


@admin.register(MachineResult)
class MachineResultAdmin(ReadOnlyAdmin[MachineResult]):
    list_display = ("job", "machine", "batch", "state", "attempt", "started_at", "finished_at")
    list_filter = ("state",)
    list_select_related = ("job__run__pipeline",)
    search_fields = ("job__run__pipeline__slug", "machine", "host", "error")


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin[Lease]):
    list_display = ("name", "until")
    search_fields = ("name",)


@admin.register(Trial)
class TrialAdmin(ReadOnlyAdmin[Trial]):
    list_display = ("about", "place", "worked", "by", "at")
    list_filter = ("worked",)
    list_select_related = ("by",)
    search_fields = ("about", "place", "said")
