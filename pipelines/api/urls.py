"""The addresses of the calls on pipelines, below /api/v1/."""

from django.urls import path

from pipelines.api import (
    artifacts,
    connections,
    contents,
    hooks,
    machines,
    parts,
    pipelines,
    runners,
    runs,
)

RUN = "pipelines/<str:pipeline>/runs/<str:number>"
UPLOAD = f"{RUN}/uploads/<int:upload>"
JOB = f"{RUN}/jobs/<str:stage>/<str:job>"
CONNECTION = "connections/<str:connection>"

urlpatterns = [
    # Definitions and pipelines
    path("definitions/check/", pipelines.CheckView.as_view(), name="definition-check"),
    path("pipelines/", pipelines.PipelinesView.as_view(), name="pipelines"),
    path("pipelines/<str:pipeline>/", pipelines.PipelineView.as_view(), name="pipeline"),
    path(
        "pipelines/<str:pipeline>/definition/",
        pipelines.DefinitionView.as_view(),
        name="pipeline-definition",
    ),
    path(
        "pipelines/<str:pipeline>/revisions/",
        pipelines.RevisionsView.as_view(),
        name="pipeline-revisions",
    ),
    # Push hooks
    path("pipelines/<str:pipeline>/hooks/", hooks.HooksView.as_view(), name="push-hooks"),
    path(
        "pipelines/<str:pipeline>/hooks/<str:source>/rotate/",
        hooks.HookRotateView.as_view(),
        name="push-hook-rotate",
    ),
    path(
        "pipelines/<str:pipeline>/hooks/<str:source>/remove/",
        hooks.HookRemoveView.as_view(),
        name="push-hook-remove",
    ),
    path("hooks/<str:pipeline>/<str:source>/", hooks.DeliveryView.as_view(), name="push-hook"),
    # Runs
    path("pipelines/<str:pipeline>/runs/", runs.RunsView.as_view(), name="runs"),
    path(f"{RUN}/", runs.RunView.as_view(), name="run"),
    path(f"{RUN}/cancel/", runs.CancelView.as_view(), name="run-cancel"),
    path(f"{RUN}/retry/", runs.RetryView.as_view(), name="run-retry"),
    path(f"{RUN}/again/", runs.AgainView.as_view(), name="run-again"),
    path(f"{RUN}/finish/", runs.FinishView.as_view(), name="run-finish"),
    path(f"{RUN}/resolve/", artifacts.ResolveView.as_view(), name="run-resolve"),
    path(f"{RUN}/artifacts/", artifacts.RunArtifactsView.as_view(), name="run-artifacts"),
    # Uploads in parts
    path(f"{RUN}/uploads/", parts.UploadsView.as_view(), name="uploads"),
    path(f"{UPLOAD}/", parts.UploadView.as_view(), name="upload"),
    path(f"{UPLOAD}/parts/<int:file>/<int:part>/", parts.PartView.as_view(), name="upload-part"),
    path(f"{UPLOAD}/complete/", parts.CompleteView.as_view(), name="upload-complete"),
    path(f"{UPLOAD}/abort/", parts.AbortView.as_view(), name="upload-abort"),
    # Jobs
    path(f"{JOB}/pass/", runs.GateView.as_view(passes=True), name="job-pass"),
    path(f"{JOB}/refuse/", runs.GateView.as_view(passes=False), name="job-refuse"),
    path(f"{JOB}/log/", runs.LogView.as_view(), name="job-log"),
    # Artifacts
    path("artifacts/<int:artifact>/", artifacts.ArtifactView.as_view(), name="artifact"),
    path(
        "artifacts/<int:artifact>/download/",
        artifacts.ArtifactDownloadView.as_view(),
        name="artifact-download",
    ),
    path(
        "artifacts/<int:artifact>/download/<str:name>",
        artifacts.ArtifactDownloadView.as_view(),
        name="artifact-download-named",
    ),
    path(
        "artifacts/<int:artifact>/files/<path:path>",
        artifacts.ArtifactFileView.as_view(),
        name="artifact-file",
    ),
    path(
        "artifacts/<int:artifact>/contents/",
        contents.ArtifactContentsView.as_view(),
        name="artifact-contents",
    ),
    # Machines
    path("machine-groups/", machines.MachineGroupsView.as_view(), name="machine-groups"),
    path("machine-groups/<str:group>/", machines.MachineGroupView.as_view(), name="machine-group"),
    path(
        "machine-groups/<str:group>/remove/",
        machines.MachineGroupRemoveView.as_view(),
        name="machine-group-remove",
    ),
    path("machine-groups/<str:group>/machines/", machines.MachinesView.as_view(), name="machines"),
    path(
        "machine-groups/<str:group>/machines/<str:machine>/remove/",
        machines.MachineRemoveView.as_view(),
        name="machine-remove",
    ),
    # Service connections
    path("connections/", connections.ConnectionsView.as_view(), name="connections"),
    path(f"{CONNECTION}/", connections.ConnectionView.as_view(), name="connection"),
    path(f"{CONNECTION}/secrets/", connections.SecretsView.as_view(), name="connection-secrets"),
    path(f"{CONNECTION}/sharing/", connections.SharingView.as_view(), name="connection-sharing"),
    # Runners
    path("runners/", runners.RunnersView.as_view(), name="runners"),
]
