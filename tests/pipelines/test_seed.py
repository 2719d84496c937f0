"""The documented examples, run whole: a real registry, a real git server, the real kubectl.

The cluster is a stub (tests/parts/kubernetes.py), and so are the JDK and Maven.
"""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.test import override_settings

from pipelines import artifacts, blobs, builders, containers, runs
from pipelines.models import Artifact, ExecutionState, Run
from tests.cast import Site, make_pipeline, work_off
from tests.parts import buildah, git_server, java, kubectl, kubernetes, registry
from tests.parts.git_server import GitServer
from tests.parts.kubernetes import Cluster
from tests.parts.registry import PASSWORD, USER
from tests.parts.ssh_server import USER as MACHINE_USER
from tests.pipelines.connected import connect
from tests.pipelines.deploying import prepared
from tests.pipelines.test_setup_java import open_to_all
from tests.pipelines.working import job_of, log_of

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo}
spec:
  selector: {matchLabels: {app: demo}}
  template:
    metadata: {labels: {app: demo}}
    spec:
      containers: [{name: demo, image: "${image}"}]
"""
FILES = {
    "Dockerfile": "FROM scratch\nCOPY app.txt /app.txt\n",
    "app.txt": "the application\n",
    "app-configs/manifest-app": MANIFEST,
    "deploy.sh": "echo deployed $1\n",
}
IMAGE_STEPS = """
          private_registry_docker_setup:
            name: Login Docker Registry
            step: DockerLogin
            with:
              dockerRepository: {registry}
              serviceConnection: my-registry
          docker_build_push_step:
            name: Image Build and Push
            step: DockerBuildPush
            with:
              artifact: my_image
              image: {registry}/ns/demo:1.0
              dockerfilePath: Dockerfile
              cacheType: remote
"""
KUBECTL = """
          kubectl_apply:
            step: KubectlApply
            name: Kubectl Deploy
            with:
              kubernetesCluster: my-cluster
              kubectlVersion: "1.27.9"
              namespace: default
              yamlPath: app-configs/manifest-app
              variables:
                - key: image
                  value: {reference}
"""
SOURCE = """
sources:
  my_repo:
    type: gitSample
    name: Java Sample Code Source
    endpoint: {endpoint}
    branch: master
"""
ON = """
        runsOn:
          group: public/ap-southeast-1
          container: registry.example.com/build-steps/alinux3:latest
"""
SAME_PIPELINE = f"""{SOURCE}
stages:
  my_stage:
    name: Build And Deploy
    jobs:
      build_job:
        name: Image Build Job{ON}
        steps:{IMAGE_STEPS}
      deploy_job:
        name: Kubernetes Deploy Job
        steps:{KUBECTL}
"""
PIPELINE_A = f"""{SOURCE}
stages:
  build_stage:
    name: Build Stage
    jobs:
      build_job:
        name: Java Image Build Job
        steps:{IMAGE_STEPS}
"""
PIPELINE_B = f"""
sources:
  pipeline_a:
    type: flowPipeline
    name: Source Pipeline A
    flowPipeline: n86bmctmphs84icj
    build: lastSuccessfulBuild
    triggerEvents: buildSuccess
  my_repo:
    type: gitSample
    endpoint: {{endpoint}}
    branch: master
stages:
  kubectl_apply_stage:
    name: Deploy Stage
    jobs:
      deploy_job:
        name: "Kubectl Apply"{ON}
        steps:{KUBECTL}
"""

ACROSS_STAGES = f"""{SOURCE}
stages:
  build_stage:
    name: Build Stage
    jobs:
      build_job:
        name: Build Job{ON}
        steps:
          setup_java_step:
            name: Setup Java SDK
            step: SetupJava
            with:
              jdkVersion: "1.8"
              mavenVersion: "3.5.2"
          command_step:
            name: Execute Command
            step: Command
            with:
              run: |
                mvn -B clean package -Dmaven.test.skip=true -Dautoconfig.skip
          upload_artifact_step:
            name: Artifact Upload
            step: ArtifactUpload
            with:
              uploadType: flowPublic
              artifact: "Artifacts_${{PIPELINE_ID}}"
              filePath:
                - target/
  deploy_stage:
    name: Deploy Stage
    jobs:
      deploy_job:
        name: VM Deploy Job
        component: VMDeploy
        with:
          artifact: $[stages.build_stage.build_job.upload_artifact_step.artifacts.default]
          machineGroup: web
          artifactDownloadPath: /home/admin/app/package.tgz
          executeUser: {MACHINE_USER}
          run: |
            mkdir -p /home/admin/application/
            tar zxvf /home/admin/app/package.tgz -C /home/admin/application/
            sh /home/admin/application/deploy.sh restart
"""


@pytest.fixture
def worker(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A worker that has buildah, kubectl, Java and Maven, and lets jobs for containers in.

    It has no engine for containers: the documented image is to be had in one network only.
    """
    monkeypatch.setattr(containers, "engine", lambda: None)
    tools = open_to_all(tmp_path_factory.mktemp("java"))
    with override_settings(
        ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),),
        BUILDERS=(buildah.path(),),
        KUBECTL=kubectl.path(),
        CONTAINERS_ON_HOST=True,
        JDKS={"1.8": str(java.jdk(tools))},
        MAVENS={"3.5.2": str(java.maven(tools))},
    ):
        builders.current.cache_clear()
        yield
    builders.current.cache_clear()


@pytest.fixture
def code(worker: None, tmp_path: Path) -> Iterator[GitServer]:
    with git_server.server(tmp_path) as server:
        repository = server.make("spring-boot")
        repository.git("checkout", "--quiet", "-B", "master")
        repository.commit(FILES, "The application")
        yield server


@pytest.fixture
def images(site: Site) -> Iterator[str]:
    with registry.server(password=True) as address:
        connect(
            site, "my-registry", "registry", {"password": PASSWORD}, host=address, username=USER
        )
        yield address


@pytest.fixture
def cluster(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with kubernetes.server(tmp_path_factory.mktemp("cluster")) as stub:
        connect(site, "my-cluster", "kubernetes", {"kubeconfig": stub.kubeconfig()})
        yield stub


def deployed(cluster: Cluster) -> str:
    (container,) = cluster.get("Deployment", "demo")["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def filled(definition: str, code: GitServer, images: str, reference: str = "") -> str:
    return (
        definition.replace("{endpoint}", code.url_of("spring-boot"))
        .replace("{registry}", images)
        .replace("{reference}", reference)
    )


def whole_log(run: Run) -> str:
    return run.error + "".join(log_of(run, job.key) for job in run.jobs.all())


def test_an_image_goes_from_job_to_job_of_one_stage(
    site: Site, code: GitServer, images: str, cluster: Cluster
) -> None:
    reference = "$[jobs.build_job.docker_build_push_step.artifacts.my_image]"
    definition = filled(SAME_PIPELINE, code, images, reference)
    run = work_off(runs.start(make_pipeline(site.cast.ada, "one", definition), by=site.cast.ada))
    assert run.state == S.SUCCEEDED, whole_log(run)
    assert job_of(run, "deploy_job").needs == ["build_job"]
    made = Artifact.objects.get(run=run)
    described = artifacts.descriptor(made)
    assert list(described) == ["artifact", "type", "dockerUrl", "dockerTag"]
    assert (described["artifact"], described["type"], described["dockerTag"]) == (
        "my_image",
        "dockerImage",
        "1.0",
    )
    assert deployed(cluster) == described["dockerUrl"] == made.image
    assert made.image.startswith(f"{images}/ns/demo:1.0@sha256:")
    assert PASSWORD not in whole_log(run)


def test_an_image_goes_from_one_pipeline_to_the_other_that_its_success_starts(
    site: Site, code: GitServer, images: str, cluster: Cluster
) -> None:
    reference = (
        "$[sources.pipeline_a.stages.build_stage.build_job.docker_build_push_step.artifacts"
        ".my_image]"
    )
    a = make_pipeline(site.cast.ada, "n86bmctmphs84icj", filled(PIPELINE_A, code, images))
    b = make_pipeline(site.cast.ada, "b", filled(PIPELINE_B, code, images, reference))
    first = work_off(runs.start(a, by=site.cast.ada))
    assert first.state == S.SUCCEEDED, whole_log(first)
    runs.start_followers(first.pk)
    (second,) = b.runs.all()
    assert work_off(second).state == S.SUCCEEDED, whole_log(second)
    assert second.sources["pipeline_a"]["run"] == first.number
    assert deployed(cluster) == Artifact.objects.get(run=first).image


def test_files_go_from_stage_to_stage_and_onto_machines(
    site: Site, code: GitServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    definition = filled(ACROSS_STAGES, code, "")
    with prepared(site, tmp_path_factory.mktemp("machines")) as ground:
        host = ground.machine("one")
        definition = definition.replace("/home/admin", str(host.home))
        pipeline = make_pipeline(site.cast.ada, "shop", definition)
        run = work_off(runs.start(pipeline, by=site.cast.ada))
    assert run.state == S.SUCCEEDED, whole_log(run)
    made = Artifact.objects.select_related("bundle").get(run=run)
    described = artifacts.descriptor(made)
    assert list(described) == ["artifact", "type", "downloadUrl", "md5"]
    assert (described["artifact"], described["type"]) == ("Artifacts_shop", "flowPublic")
    assert made.bundle is not None
    assert described["md5"] == made.bundle.md5
    log = log_of(run, "deploy_job")
    assert "one: deployed restart\n" in log
    arguments = made.files.select_related("blob").get(path="mvn.args")
    with blobs.open_blob(arguments.blob) as stream:
        said = stream.read().decode()
    assert said == "-B clean package -Dmaven.test.skip=true -Dautoconfig.skip\n"
