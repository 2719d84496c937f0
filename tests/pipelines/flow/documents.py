"""Definitions that several tests read, and small helpers around them."""

from __future__ import annotations

from textwrap import dedent

from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import Report, check
from pipelines.flow.document import Definition
from pipelines.flow.parser import parse
from pipelines.flow.problems import Problem

SAME_STAGE = dedent(
    """\
    sources:
      shop:
        type: codeup
        endpoint: https://code.example.com/shop.git
    stages:
      ship:
        name: Ship the shop
        jobs:
          image_job:
            name: Image
            runsOn:
              group: public/eu-central
              container: registry.example.com/steps/linux:latest
            steps:
              login:
                name: Log in
                step: DockerLogin
                with:
                  dockerRepository: registry.example.com
                  serviceConnection: <connection>
              build_image:              # makes the image
                name: Build
                step: DockerBuildPush
                with:
                  artifact: shop-image
                  image: registry.example.com/team/shop:1.0
                  dockerfilePath: Dockerfile
                  cacheType: remote
          roll_out:
            steps:
              apply:
                step: KubectlApply
                with:
                  kubernetesCluster: <cluster>
                  kubectlVersion: "1.16.4"
                  namespace: default
                  yamlPath: manifests
                  variables:
                    - key: image
                      value: $[jobs.image_job.build_image.artifacts.shop-image]
    """
)

ACROSS_STAGES = dedent(
    """\
    sources:
      shop:
        type: git
        endpoint: https://code.example.com/shop.git
    stages:
      build_stage:
        jobs:
          build_job:
            steps:
              java:
                step: SetupJava
                with: {jdkVersion: "1.8", mavenVersion: "3.5.2"}
              compile:
                step: Command
                with:
                  run: |
                    mvn -B package
              upload_step:
                step: ArtifactUpload
                with:
                  uploadType: flowPublic
                  artifact: "Artifacts_${PIPELINE_ID}"
                  filePath:
                    - target/
      deploy_stage:
        jobs:
          deploy_job:
            component: VMDeploy
            with:
              artifact: $[stages.build_stage.build_job.upload_step.artifacts.default]
              machineGroup: <group>
              artifactDownloadPath: /home/shop/package.tgz
              executeUser: root
              run: |
                mkdir -p /home/shop/app
                tar zxf /home/shop/package.tgz -C /home/shop/app
    """
)

ACROSS_PIPELINES = dedent(
    """\
    sources:
      up:
        type: flowPipeline
        name: The builder
        flowPipeline: builder01
        build: lastSuccessfulBuild
        triggerEvents: buildSuccess
    stages:
      production:
        jobs:
          deploy:
            name: "Roll out"
            steps:
              apply:
                step: "KubectlApply"
                with:
                  kubernetesCluster: <cluster>
                  kubectlVersion: "1.27.9"
                  yamlPath: manifests
                  variables:
                    - key: image
                      value: $[sources.up.stages.ship.image_job.build_image.artifacts.shop-image]
    """
)


def builder(pipeline_id: str) -> Definition | None:
    """The other pipelines there are: one, `builder01`."""
    return parse(SAME_STAGE).definition if pipeline_id == "builder01" else None


def checked(text: str, pipeline_id: str | None = None) -> Report:
    return check(dedent(text), LANGUAGE, builder, pipeline_id)


def errors(report: Report) -> list[Problem]:
    return [each for each in report.problems if each.severity == "error"]


def codes(report: Report) -> list[str]:
    return [each.code for each in report.problems]
