"""Steps, one a file. What a step takes is declared in pipelines/flow/catalog.py; how it is done
stands here."""

from pipelines.steps import (
    artifact_download,
    artifact_upload,
    command,
    docker_build_push,
    docker_login,
    kubectl,
    setup_java,
)
from pipelines.steps.base import StepContext, available, register, runner_of

__all__ = ["available", "register", "register_own", "runner_of"]


def register_own() -> None:
    register("Command", command.run)
    register("ArtifactUpload", artifact_upload.run)
    register("ArtifactDownload", artifact_download.run)
    register("SetupJava", setup_java.run)
    register("DockerLogin", docker_login.run)
    register("DockerBuildPush", docker_build_push.run)
    register("DockerBuildPushACR", docker_build_push.run_acr)
    register("KubectlApply", kubectl.apply)
    register("KubectlSetImage", kubectl.set_image)
    register("VMDeploy", _vm_deploy)


def _vm_deploy(context: StepContext) -> None:
    # SSH takes a second to import, which only workers that deploy should wait for.
    from pipelines.steps import vm_deploy

    vm_deploy.run(context)
