"""The nouns of what was built, one a file."""

from pipelines.models.artifact import Artifact, ArtifactFile
from pipelines.models.blob import Blob, BlobState, Collection
from pipelines.models.connection import ConnectionKind, ServiceConnection
from pipelines.models.gate import GateDecision
from pipelines.models.hook import PushHook
from pipelines.models.idempotency import IdempotencyKey
from pipelines.models.lease import Lease
from pipelines.models.log import LogChunk
from pipelines.models.machine import Machine, MachineGroup, MachineResult, MachineState
from pipelines.models.pipeline import Pipeline, Revision
from pipelines.models.run import ExecutionState, Job, Run, Step, Trigger, stage_state
from pipelines.models.runner import Runner
from pipelines.models.trial import Trial
from pipelines.models.upload import Upload, UploadFile, UploadPart, UploadState
from pipelines.models.upstream import Upstream

__all__ = [
    "Artifact",
    "ArtifactFile",
    "Blob",
    "BlobState",
    "Collection",
    "ConnectionKind",
    "ExecutionState",
    "GateDecision",
    "IdempotencyKey",
    "Job",
    "Lease",
    "LogChunk",
    "Machine",
    "MachineGroup",
    "MachineResult",
    "MachineState",
    "Pipeline",
    "PushHook",
    "Revision",
    "Run",
    "Runner",
    "ServiceConnection",
    "Step",
    "Trial",
    "Trigger",
    "Upload",
    "UploadFile",
    "UploadPart",
    "UploadState",
    "Upstream",
    "stage_state",
]
