"""The steps, components and source types of the language, as data.

Which of them can run is for the runner to say: `LANGUAGE.with_available(steps=…, sources=…)`.
"""

from __future__ import annotations

from typing import Final

from pipelines.flow.schema import Catalog, Field, SourceSchema, StepSchema

_VARIABLE_PAIRS: Final = "A list of `key` and `value` pairs put into the manifests."
_CONNECTION: Final = Field(
    "serviceConnection", "string", help="The id of the stored credentials to use."
)
_REGISTRY_FIELDS: Final = (
    Field("dockerfilePath", "string", default="Dockerfile", help="The Dockerfile to build."),
    Field("contextPath", "string", default=".", help="The folder that the build may read."),
    Field("cacheType", "string", default="none", help="Where layers are kept between builds."),
)

_STEPS: Final = (
    StepSchema(
        name="Command",
        kind="step",
        title="Run commands",
        help="Runs a shell script in the workspace. Lines that it appends to `$FLOW_ENV` as "
        "`KEY=VALUE` become variables of the steps after it.",
        fields=(Field("run", "text", required=True, help="The script."),),
        example="step: Command\nwith:\n  run: |\n    make test\n",
    ),
    StepSchema(
        name="SetupJava",
        kind="step",
        title="Set up Java",
        help="Puts a JDK and Maven on the path of the steps after it.",
        fields=(
            Field("jdkVersion", "string", default="1.8", help="The version of the JDK."),
            Field("mavenVersion", "string", default="3.5.2", help="The version of Maven."),
        ),
        example='step: SetupJava\nwith:\n  jdkVersion: "1.8"\n  mavenVersion: "3.5.2"\n',
    ),
    StepSchema(
        name="ArtifactUpload",
        kind="step",
        title="Upload files as an artifact",
        help="Keeps files of the workspace as an artifact that later jobs, stages and pipelines "
        "refer to; with `uploadType: packages`, as a version in a repository.",
        fields=(
            Field(
                "uploadType",
                "string",
                default="flowPublic",
                help="Where to: the storage of runs, or a repository of packages.",
                choices=("flowPublic", "packages"),
                aliases=("type",),
            ),
            Field(
                "artifact",
                "string",
                default="Artifacts_${PIPELINE_ID}",
                help="The name of the artifact.",
            ),
            Field(
                "filePath",
                "string_or_list",
                required=True,
                help="The files and folders to keep, relative to the workspace.",
                aliases=("path",),
            ),
            Field(
                "includePathInArtifact",
                "boolean",
                default=False,
                help="Whether the folders of the given paths are kept inside the artifact.",
            ),
            _CONNECTION,
            Field(
                "repo",
                "string",
                default="flow_generic_repo",
                help="The repository, for `packages`.",
            ),
            Field("version", "string", help="The version to publish, for `packages`."),
        ),
        makes="flowPublic",
        artifact_default="Artifacts_${PIPELINE_ID}",
        makes_field="uploadType",
        example="step: ArtifactUpload\nwith:\n  uploadType: flowPublic\n  artifact: app\n"
        "  filePath:\n    - target/\n",
    ),
    StepSchema(
        name="ArtifactDownload",
        kind="step",
        title="Download an artifact",
        help="Brings the files of an artifact into the workspace, after checking their digest.",
        fields=(
            Field("artifact", "artifact", required=True, help="What to download."),
            Field("path", "string", default=".", help="The folder to put it in."),
            Field("extract", "boolean", default=False, help="Whether to extract a tar archive."),
        ),
        example="step: ArtifactDownload\nwith:\n"
        "  artifact: $[stages.build.compile.upload.artifacts.default]\n  path: downloads\n",
    ),
    StepSchema(
        name="DockerLogin",
        kind="step",
        title="Log in to a registry",
        help="Lets the steps after it push to and pull from a registry of images.",
        fields=(
            Field("dockerRepository", "string", required=True, help="The registry's host."),
            _CONNECTION,
        ),
        example="step: DockerLogin\nwith:\n  dockerRepository: registry.example.com\n"
        "  serviceConnection: my-registry\n",
    ),
    StepSchema(
        name="DockerBuildPush",
        kind="step",
        title="Build and push an image",
        help="Builds an image from a Dockerfile, pushes it, and keeps its address and digest as "
        "an artifact.",
        fields=(
            Field("artifact", "string", default="image", help="The name of the artifact."),
            Field("image", "string", required=True, help="The image with its tag."),
            *_REGISTRY_FIELDS,
        ),
        makes="dockerImage",
        artifact_default="image",
        example="step: DockerBuildPush\nwith:\n  artifact: my_image\n"
        "  image: registry.example.com/team/app:1.0\n  dockerfilePath: Dockerfile\n",
    ),
    StepSchema(
        name="DockerBuildPushACR",
        kind="step",
        title="Build and push an image to ACR",
        help="Builds an image and pushes it to Alibaba Cloud Container Registry.",
        fields=(
            Field("artifact", "string", default="image", help="The name of the artifact."),
            Field("region", "string", help="The registry's region."),
            Field("dockerRegistry", "string", required=True, help="The repository of the image."),
            Field("dockerTag", "string", default="${DATETIME}", help="The tag to push."),
            *_REGISTRY_FIELDS,
            _CONNECTION,
        ),
        makes="dockerImage",
        artifact_default="image",
        example="step: DockerBuildPushACR\nwith:\n  artifact: my_image\n  region: cn-hangzhou\n"
        "  dockerRegistry: registry.example.com/team/app\n  dockerTag: ${BUILD_NUMBER}\n",
    ),
    StepSchema(
        name="KubectlApply",
        kind="step",
        title="Apply manifests to a cluster",
        help="Replaces variables in manifests and applies them with kubectl.",
        fields=(
            Field("kubernetesCluster", "string", required=True, help="The id of the cluster."),
            Field("kubectlVersion", "string", help="The version of kubectl."),
            Field("namespace", "string", default="default", help="The namespace."),
            Field("yamlPath", "string_or_list", required=True, help="Manifests or their folder."),
            Field("skipTlsVerify", "boolean", default=False, help="Trust any certificate."),
            Field("useReplace", "boolean", default=False, help="Replace instead of apply."),
            Field("variables", "list", help=_VARIABLE_PAIRS),
        ),
        example="step: KubectlApply\nwith:\n  kubernetesCluster: my-cluster\n"
        "  namespace: default\n  yamlPath: deploy/\n  variables:\n    - key: image\n"
        "      value: $[jobs.build.push.artifacts.my_image]\n",
    ),
    StepSchema(
        name="KubectlSetImage",
        kind="step",
        title="Set the image of a workload",
        help="Points one container of a workload at an image.",
        fields=(
            Field("artifact", "artifact", required=True, help="The image to run."),
            Field("kubernetesCluster", "string", help="The id of the cluster."),
            Field("kubectlVersion", "string", help="The version of kubectl."),
            Field("namespace", "string", default="default", help="The namespace."),
            Field("workloadKind", "string", default="Deployment", help="The kind of workload."),
            Field("workload", "string", required=True, help="The name of the workload."),
            Field("container", "string", required=True, help="The container in it."),
            Field("skipTlsVerify", "boolean", default=False, help="Trust any certificate."),
        ),
        example="step: KubectlSetImage\nwith:\n"
        "  artifact: $[jobs.build.push.artifacts.my_image]\n  workload: app\n"
        "  container: app\n",
    ),
    StepSchema(
        name="VMDeploy",
        kind="component",
        title="Deploy to a group of machines",
        help="Brings an artifact to every machine of a group and runs a script there, in batches.",
        fields=(
            Field("artifact", "artifact", required=True, help="What to deploy."),
            Field("machineGroup", "string", required=True, help="The id of the machine group."),
            Field(
                "artifactDownloadPath",
                "string",
                required=True,
                help="Where each machine puts the artifact.",
            ),
            Field("executeUser", "string", default="root", help="Who runs the script."),
            Field("run", "text", required=True, help="The script, under `/bin/sh`."),
            Field(
                "pauseStrategy",
                "string",
                default="noPause",
                help="After which batches to wait for a person.",
                choices=("firstBatchPause", "noPause", "eachBatchPause"),
            ),
            Field("batchNumber", "integer", default=1, help="Into how many batches to divide."),
        ),
        example="component: VMDeploy\nwith:\n"
        "  artifact: $[stages.build.compile.upload.artifacts.default]\n"
        "  machineGroup: my-machines\n  artifactDownloadPath: /srv/app/package.tgz\n"
        "  executeUser: deploy\n  run: |\n    tar zxf /srv/app/package.tgz -C /srv/app\n",
    ),
    StepSchema(
        name="ManualValidate",
        kind="component",
        title="Wait for people",
        help="Holds the run until the named people pass or refuse it.",
        fields=(
            Field("validatorType", "string", default="users", choices=("users",), help="By whom."),
            Field(
                "validateMethod",
                "string",
                default="or",
                help="Whether one of them is enough or all are needed.",
                choices=("and", "or"),
            ),
            Field("validatorUsers", "string_or_list", required=True, help="Their user names."),
            Field("message", "string", help="What they are to look at."),
        ),
        example="component: ManualValidate\nwith:\n  validatorType: users\n"
        "  validateMethod: or\n  validatorUsers:\n    - ada\n    - ben\n",
    ),
)

_NAME: Final = Field("name", "string", help="What to call it on screen.")
_CODE_FIELDS: Final = (
    _NAME,
    Field("endpoint", "string", required=True, help="The address to clone from."),
    Field("branch", "string", default="master", help="The branch when a run names none."),
    Field("branchesFilter", "string", pattern=True, help="Which branches start a run."),
    Field("pathFilter", "string_or_list", help="Which changed paths start a run."),
    Field("cloneDepth", "integer", help="How many commits to fetch; all where absent."),
    Field("submodule", "boolean", default=False, help="Whether to fetch submodules too."),
    Field(
        "triggerEvents",
        "string_or_list",
        help="What starts a run.",
        choices=("push", "tagPush", "mergeRequestMerged", "mergeRequestOpenedOrUpdate"),
    ),
    Field("certificate", "mapping", help="The credentials: `type` and `serviceConnection`."),
)


def _code(type_: str, title: str) -> SourceSchema:
    return SourceSchema(
        type=type_,
        kind="code",
        title=title,
        help="Checks out a branch or commit into the workspace of the jobs that use it.",
        fields=_CODE_FIELDS,
        example=f"type: {type_}\nendpoint: https://git.example.com/team/app.git\nbranch: main\n",
    )


_SOURCES: Final = (
    _code("git", "Git repository"),
    _code("gitSample", "Sample repository"),
    _code("codeup", "Codeup repository"),
    _code("github", "GitHub repository"),
    _code("githubApp", "GitHub repository, through an app"),
    _code("gitlab", "GitLab repository"),
    _code("gitlabAPI", "GitLab repository, through its API"),
    _code("customGitlab", "GitLab of one's own"),
    _code("bitbucket", "Bitbucket repository"),
    _code("gitee", "Gitee repository"),
    _code("svn", "Subversion repository"),
    SourceSchema(
        type="flowPipeline",
        kind="pipeline",
        title="Run of another pipeline",
        help="Gives access to what another pipeline's run made. The run is chosen once, when a "
        "run starts, and stays the same until its end.",
        fields=(
            _NAME,
            Field("flowPipeline", "string", required=True, help="The id of the other pipeline."),
            Field(
                "build",
                "string",
                default="lastSuccessfulBuild",
                help="Which run, where the caller names none.",
            ),
            Field(
                "triggerEvents",
                "string_or_list",
                help="What starts a run.",
                choices=("buildSuccess",),
            ),
        ),
        example="type: flowPipeline\nflowPipeline: n86bexample\nbuild: lastSuccessfulBuild\n",
    ),
    SourceSchema(
        type="packages",
        kind="artifact",
        title="Version of a package",
        help="One version from a repository: named by the caller, or the one placed in an "
        "environment, or the newest in a range, or the default version.",
        fields=(
            _NAME,
            Field(
                "repoType",
                "string",
                default="generic",
                help="The type of repository.",
                choices=("generic", "docker"),
            ),
            Field("repo", "string", required=True, help="The repository."),
            Field("artifact", "string", required=True, help="The package."),
            Field(
                "version",
                "string",
                help="The version when a run names none.",
                aliases=("defaultVersion",),
            ),
            Field("environment", "string", help="Take what is placed in this environment."),
            Field("range", "string", help="Take the newest version in this range."),
            Field("triggerEvents", "string_or_list", help="What starts a run."),
            _CONNECTION,
        ),
        gives="packages",
        example="type: packages\nrepoType: generic\nrepo: releases\nartifact: app\n"
        "environment: staging\n",
    ),
    SourceSchema(
        type="acr",
        kind="artifact",
        title="Image in ACR",
        help="One image of a repository in Alibaba Cloud Container Registry.",
        fields=(
            _NAME,
            Field("region", "string", help="The registry's region."),
            Field("instance", "string", help="The registry's instance."),
            Field("namespace", "string", help="The namespace of the repository."),
            Field("imageRepo", "string", required=True, help="The repository of the image."),
            Field("imageTag", "string", help="The tag when a run names none."),
            Field("versionFilter", "string", pattern=True, help="Which tags start a run."),
            Field(
                "triggerEvents",
                "string_or_list",
                help="What starts a run.",
                choices=("pushCompleted", "scanCompleted"),
            ),
            _CONNECTION,
        ),
        gives="dockerImage",
        example="type: acr\nregion: cn-hangzhou\nnamespace: team\nimageRepo: app\n"
        'imageTag: "1.0"\n',
    ),
    SourceSchema(
        type="jenkins",
        kind="artifact",
        title="Build of a Jenkins job",
        help="What a build of a Jenkins job left behind.",
        fields=(
            _NAME,
            Field("endpoint", "string", help="The address of the server."),
            Field("job", "string", help="The name of the job."),
            Field("build", "string", help="Which build, where a run names none."),
            Field("triggerEvents", "string_or_list", help="What starts a run."),
            _CONNECTION,
        ),
        gives="flowPublic",
        example="type: jenkins\nendpoint: https://ci.example.com\njob: app\n",
    ),
)

LANGUAGE: Final = Catalog(
    steps={each.name: each for each in _STEPS},
    sources={each.type: each for each in _SOURCES},
)
