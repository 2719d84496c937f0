"""The page of an artifact: what it is, what is in it, where it comes from."""

import json

from django.http import HttpResponse
from django.shortcuts import render

from pipelines import artifacts
from pipelines.models import Artifact, ExecutionState
from pipelines.web.doors import PageRequest, one, page
from pipelines.web.files import address_in, download_of, files_shown


@page("GET")
def artifact(request: PageRequest, artifact_id: int) -> HttpResponse:
    found = one(
        Artifact.objects.select_related("run__pipeline", "run__revision", "bundle", "created_by"),
        f"There is no artifact {artifact_id}.",
        pk=artifact_id,
    )
    context = {
        "artifact": found,
        "run": found.run,
        "pipeline": found.run.pipeline,
        "shown": files_shown(
            request,
            found.files.all(),
            address_in(found),
            download_of(found),
            has_bytes=found.pruned_at is None,
        ),
        "descriptor": json.dumps(artifacts.descriptor(found), indent=2, ensure_ascii=False),
        "has_succeeded": found.run.state == ExecutionState.SUCCEEDED,
    }
    return render(request, "pipelines/artifact.html", context)
