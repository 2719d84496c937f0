"""The step `ArtifactDownload`: an artifact's files come into the workspace, checked."""

import tarfile
from pathlib import Path

from django.conf import settings

from pipelines import blobs
from pipelines.errors import SluiceError
from pipelines.models import Blob
from pipelines.steps.base import StepContext, StepFailed


def run(context: StepContext) -> None:
    described = context.with_["artifact"]
    if not isinstance(described, dict):
        raise StepFailed("artifact is a reference like $[jobs.build.upload.artifacts.default].")
    blob = Blob.objects.filter(pk=str(described.get("sha256", ""))).first()
    if blob is None:
        raise StepFailed(f"“{described.get('artifact', '')}” holds no files to download.")
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
        _check_archive(target, folder)
        # As the job's own user: what a cunning archive gets past the check, a step could do too.
        options = ["--extract", "--no-same-owner", "--file", str(target), "--directory"]
        context.must_call(["tar", *options, str(folder)])
        target.unlink()
        context.log.say(f"extracted into {context.text('path')}")


def _check_archive(archive: Path, folder: Path) -> None:
    """Refuse a tar that leads out of the folder, or is more than a job may write, unextracted."""
    left = settings.MAX_WORKSPACE_BYTES
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                left -= member.size
                if left < 0:
                    raise StepFailed(
                        f"Extracted, it would be more than the {settings.MAX_WORKSPACE_BYTES} "
                        "bytes that a job may write (SLUICE_MAX_WORKSPACE_BYTES)."
                    )
                tarfile.data_filter(member, str(folder))
    except tarfile.FilterError as error:
        raise StepFailed(f"The archive leads out of its folder: {error}.") from error
    except (tarfile.TarError, EOFError) as error:
        raise StepFailed(
            f"{archive.name} cannot be extracted: {error}. Only tar archives can."
        ) from error
