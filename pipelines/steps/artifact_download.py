"""The step `ArtifactDownload`: an artifact's files come into the workspace, checked."""

import time
from dataclasses import replace
from pathlib import Path

from django.conf import settings

from pipelines import archives, blobs
from pipelines.errors import Invalid, SluiceError
from pipelines.models import Blob, BlobState
from pipelines.steps.base import StepContext, StepFailed

#: More members than this are refused before the first is unpacked: each takes a place on the disk.
MAX_MEMBERS = 500_000


def run(context: StepContext) -> None:
    described = context.with_["artifact"]
    if not isinstance(described, dict):
        raise StepFailed("artifact is a reference like $[jobs.build.upload.artifacts.default].")
    blob = Blob.objects.filter(pk=str(described.get("sha256", ""))).first()
    if blob is None:
        raise StepFailed(f"“{described.get('artifact', '')}” holds no files to download.")
    if blob.state == BlobState.REMOVED:
        raise StepFailed(
            f"The bytes of “{described.get('artifact', '')}” are no longer kept: retention removed "
            "them. Build it anew."
        )
    folder = context.inside(context.text("path"), "path")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = str(described.get("file") or described.get("artifact"))
        target = folder / Path(name).name
        target.unlink(missing_ok=True)
        blobs.copy_to(blob, target)
        context.log.say(f"{target.name}: {blob.size} bytes, sha256 {blob.sha256} checked")
        for each in (folder, target):
            context.place.give(each)
    except SluiceError as error:
        raise StepFailed(error.detail) from error
    except OSError as error:
        raise StepFailed(f"“{context.text('path')}” cannot be written: {error}.") from error
    if context.with_.get("extract"):
        _check_archive(target, context.deadline)
        # As the job's own user: what a cunning archive gets past the check, a step could do too.
        options = ["--extract", "--no-same-owner", "--file", str(target), "--directory"]
        context.must_call(["tar", *options, str(folder)])
        target.unlink()
        context.log.say(f"extracted into {context.text('path')}")


def _check_archive(path: Path, deadline: float) -> None:
    """Refuse a tar that leads out of its folder, or is more than a job may write, unextracted."""
    left = settings.MAX_WORKSPACE_BYTES
    bounds = replace(
        archives.BOUNDS,
        counted=MAX_MEMBERS,
        # What is packed besides files, like headers, may not be without end either.
        unpacked=2 * left,
        small=left,
        seconds=max(deadline - time.monotonic(), 0),
    )
    try:
        with path.open("rb") as file:
            archive = archives.Archive(file, path.stat().st_size)
            for member in archives.members_of_tar(archive, bounds):
                left -= member.size or 0
                if left < 0:
                    raise StepFailed(
                        f"Extracted, it would be more than the {settings.MAX_WORKSPACE_BYTES} "
                        "bytes that a job may write (SLUICE_MAX_WORKSPACE_BYTES)."
                    )
                if member.danger in archives.LEADING_OUT:
                    raise StepFailed(
                        f"The archive leads out of its folder: “{member.path[:120]}” "
                        f"{_why(member)}. Nothing of it was extracted."
                    )
    except Invalid as error:
        raise StepFailed(f"{path.name} cannot be extracted: {error.detail}") from error


def _why(member: archives.Member) -> str:
    if member.danger == archives.Danger.DEVICE:
        return "is a device"
    if member.link_target and member.danger == archives.Danger.OUTSIDE:
        return f"leads outside, to {member.link_target[:120]}"
    return str(member.danger)
