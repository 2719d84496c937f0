"""The addresses of the pages about what is built, and of what it is built with.

No pipeline's id and no connection's name begins with a hyphen, so /-/ is free for pages of the list
itself.
"""

from django.urls import include, path

from pipelines.web import (
    artifacts,
    connections,
    editor,
    files,
    hooks,
    jobs,
    language,
    machines,
    pipelines,
    reporting,
    revisions,
    runners,
    runs,
)

app_name = "pipelines"

PIPELINE = "<str:slug>"
RUN = f"{PIPELINE}/runs/<int:number>"
JOB = f"{RUN}/jobs/<str:stage>/<str:job>"
MACHINES = "<str:group>"
CONNECTION = "<str:name>"

of_pipelines = [
    # Pipelines
    path("", pipelines.pipeline_list, name="pipeline_list"),
    path("-/new/", editor.pipeline_new, name="pipeline_new"),
    path("-/check/", editor.definition_check, name="definition_check"),
    path("-/language/", language.language, name="language"),
    path(f"{PIPELINE}/", pipelines.pipeline, name="pipeline"),
    path(f"{PIPELINE}/definition/", editor.definition, name="definition"),
    # Revisions
    path(f"{PIPELINE}/revisions/diff/", revisions.revision_choose, name="revision_choose"),
    path(f"{PIPELINE}/revisions/<int:number>/", revisions.revision, name="revision"),
    path(
        f"{PIPELINE}/revisions/<int:old>/diff/<int:new>/",
        revisions.revision_diff,
        name="revision_diff",
    ),
    # Push hooks
    path(f"{PIPELINE}/hooks/<str:source>/make/", hooks.hook_make, name="hook_make"),
    path(f"{PIPELINE}/hooks/<str:source>/rotate/", hooks.hook_rotate, name="hook_rotate"),
    path(f"{PIPELINE}/hooks/<str:source>/remove/", hooks.hook_remove, name="hook_remove"),
    # Runs
    path(f"{PIPELINE}/runs/start/", runs.run_start, name="run_start"),
    path(f"{RUN}/", runs.run, name="run"),
    path(f"{RUN}/progress/", runs.run_progress, name="run_progress"),
    path(f"{RUN}/cancel/", runs.run_cancel, name="run_cancel"),
    path(f"{RUN}/retry/", runs.run_retry, name="run_retry"),
    path(f"{RUN}/again/", runs.run_again, name="run_again"),
    # Runs that are reported by hand
    path(f"{PIPELINE}/runs/report/", reporting.run_report, name="run_report"),
    path(f"{RUN}/finish/", reporting.run_finish, name="run_finish"),
    path(f"{RUN}/artifacts/add/", reporting.artifact_add, name="artifact_add"),
    path(f"{RUN}/uploads/<int:upload>/abort/", reporting.upload_abort, name="upload_abort"),
    # Jobs
    path(f"{JOB}/", jobs.job, name="job"),
    path(f"{JOB}/log/", jobs.job_log, name="job_log"),
    path(f"{JOB}/stream/", jobs.job_stream, name="job_stream"),
    path(f"{JOB}/download/", jobs.job_download, name="job_download"),
    path(f"{JOB}/pass/", jobs.job_pass, name="job_pass"),
    path(f"{JOB}/refuse/", jobs.job_refuse, name="job_refuse"),
    # Artifacts
    path("-/artifacts/<int:artifact_id>/", artifacts.artifact, name="artifact"),
    path(
        "-/artifacts/<int:artifact_id>/files/<path:path>",
        files.artifact_file,
        name="artifact_file",
    ),
]

of_connections = [
    path("", connections.connection_list, name="connection_list"),
    path("-/new/", connections.connection_new, name="connection_new"),
    path("-/new/<str:kind>/", connections.connection_new_of, name="connection_new_of"),
    path(f"{CONNECTION}/", connections.connection, name="connection"),
    path(f"{CONNECTION}/secrets/", connections.connection_secrets, name="connection_secrets"),
    path(f"{CONNECTION}/sharing/", connections.connection_sharing, name="connection_sharing"),
    path(f"{CONNECTION}/remove/", connections.connection_remove, name="connection_remove"),
]

of_machines = [
    path("", machines.machine_group_list, name="machine_group_list"),
    path("-/new/", machines.machine_group_new, name="machine_group_new"),
    path(f"{MACHINES}/", machines.machine_group, name="machine_group"),
    path(f"{MACHINES}/add/", machines.machine_add, name="machine_add"),
    path(f"{MACHINES}/remove/", machines.machine_group_remove, name="machine_group_remove"),
    path(f"{MACHINES}/<str:machine>/remove/", machines.machine_remove, name="machine_remove"),
]

urlpatterns = [
    path("pipelines/", include(of_pipelines)),
    path("connections/", include(of_connections)),
    path("machines/", include(of_machines)),
    path("runners/", runners.runner_list, name="runner_list"),
]
