"""KubectlApply and KubectlSetImage: the real kubectl, against a stub of an API server.

No real API server can be had here (tests/parts/kubernetes.py says what the stub is), so the exact
command lines are checked too.
"""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from pipelines import artifacts, runs
from pipelines.models import ExecutionState, Run
from pipelines.steps import kubectl as step
from tests.cast import Site, external_run, make_pipeline
from tests.parts import kubectl, kubernetes
from tests.parts.kubernetes import Cluster
from tests.pipelines.connected import connect
from tests.pipelines.working import job, log_of, one_job, said, steps, upload, worked, yaml

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

S = ExecutionState
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
spec:
  replicas: ${count}
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
        - name: web
          image: ${image}
          args: ["${SHELL_THING}"]
"""
IMAGE = "registry.example.com/team/app:1@sha256:" + "a" * 64
OTHER = "registry.example.com/team/app:2@sha256:" + "b" * 64
VARIABLES = [{"key": "image", "value": IMAGE}, {"key": "count", "value": 3}]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    opened = override_settings(
        ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),), KUBECTL=kubectl.path()
    )
    with kubernetes.server(tmp_path) as stub, opened:
        yield stub


def connect_to(site: Site, text: str) -> None:
    connect(site, "cluster", "kubernetes", {"kubeconfig": text})


def write(text: str = MANIFEST, path: str = "app.yaml") -> str:
    return f"mkdir -p $(dirname {path}) && cat > {path} <<'END'\n{text}\nEND\n"


def apply(path: str | list[str] = "app.yaml", **more: Any) -> dict[str, Any]:
    with_ = {"kubernetesCluster": "cluster", "yamlPath": path, "variables": VARIABLES, **more}
    return {"step": "KubectlApply", "with": with_}


def set_image(**more: Any) -> dict[str, Any]:
    """The step that deploys what the run of `with_image` made."""
    with_ = {"kubernetesCluster": "cluster", "workload": "app", "container": "web", **more}
    artifact = "$[sources.up.stages.build.build.push.artifacts.image]"
    return {"step": "KubectlSetImage", "with": {"artifact": artifact, **with_}}


PUSHES = """
stages:
  build:
    jobs:
      build:
        steps:
          push: {step: DockerBuildPush, with: {image: "registry.example.com/team/app:2"}}
"""


def with_image(site: Site, *each: dict[str, Any] | str) -> Run:
    """A run of one job that may deploy OTHER, which another CI system's run reported."""
    up = make_pipeline(site.cast.ada, "up", PUSHES)
    reported = external_run(site.cast.ada, up)
    place = artifacts.Place("build", "build", "push")
    artifacts.report_image(reported, place, "image", OTHER, "2", by=site.cast.ada)
    runs.finish(reported, S.SUCCEEDED, by=site.cast.ada)
    source = {"type": "flowPipeline", "flowPipeline": "up"}
    return worked(site, yaml({"only": job(*each)}, sources={"up": source}))


def applied(site: Site, cluster: Cluster, *each: dict[str, Any] | str) -> Run:
    connect_to(site, cluster.kubeconfig())
    run = one_job(site, *each)
    assert run.state == S.SUCCEEDED, log_of(run)
    return run


def container(cluster: Cluster, namespace: str = "default") -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("Deployment", "app", namespace)["spec"]["template"]["spec"]
    return dict(found["containers"][0])


# ---- Apply ---------------------------------------------------------------------------------------
def test_manifests_are_filled_in_and_applied(site: Site, cluster: Cluster) -> None:
    run = applied(site, cluster, write(), apply(), "cat app.yaml")
    assert cluster.get("Deployment", "app")["spec"]["replicas"] == 3, "a number, not a text"
    assert container(cluster)["image"] == IMAGE
    assert container(cluster)["args"] == ["${SHELL_THING}"], "what nothing answers stays"
    assert "${SHELL_THING} stays as it is" in log_of(run)
    assert "deployment.apps/app created" in said(run)
    assert "".join(f"{line}\n" for line in said(run)[1:]).strip() == MANIFEST.strip()


def test_applying_again_changes_what_is_there(site: Site, cluster: Cluster) -> None:
    later = [{"key": "image", "value": OTHER}, {"key": "count", "value": 3}]
    run = applied(site, cluster, write(), apply(), apply(variables=later), apply(variables=later))
    assert [line for line in said(run) if line.startswith("deployment")] == [
        "deployment.apps/app created",
        "deployment.apps/app configured",
        "deployment.apps/app unchanged",
    ]
    assert container(cluster)["image"] == OTHER


def test_useReplace_replaces(site: Site, cluster: Cluster) -> None:
    run = applied(site, cluster, write(), apply(), apply(useReplace=True))
    assert "deployment.apps/app replaced" in said(run)
    assert cluster.changes[-1] == "PUT /apis/apps/v1/namespaces/default/deployments/app"


def test_a_folder_and_a_list_are_applied_in_order(site: Site, cluster: Cluster) -> None:
    names = {"z/1.yaml": "one", "z/2.yml": "two", "z/3.json": "three", "a.yaml": "four"}
    scripts = [
        write(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}", path)
        if not path.endswith("json")
        else write(f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}}}}', path)
        for path, name in names.items()
    ]
    run = applied(site, cluster, "\n".join([*scripts, "touch z/README"]), apply(["z", "a.yaml"]))
    assert said(run) == [f"configmap/{name} created" for name in names.values()]


def test_a_value_can_never_become_a_field_of_its_own(site: Site, cluster: Cluster) -> None:
    evil = f"{IMAGE}\n          securityContext: {{privileged: true}}"
    variables = [{"key": "image", "value": evil}, {"key": "count", "value": "3"}]
    applied(site, cluster, write(), apply(variables=variables))
    assert container(cluster)["image"] == evil
    assert "securityContext" not in container(cluster)


def test_another_namespace_is_used_or_said_to_be_missing(site: Site, cluster: Cluster) -> None:
    applied(site, cluster, write(), apply(namespace="kube-system"))
    assert container(cluster, "kube-system")["image"] == IMAGE
    run = one_job(site, write(), apply(namespace="nope"), slug="other")
    assert run.state == S.FAILED
    assert "kubectl apply: It ended with exit code 1." in run.error
    assert 'namespaces "nope" not found' in log_of(run)


# ---- Set an image --------------------------------------------------------------------------------
def test_one_container_of_a_workload_gets_the_image(site: Site, cluster: Cluster) -> None:
    connect_to(site, cluster.kubeconfig())
    run = with_image(site, write(), apply(), set_image())
    assert run.state == S.SUCCEEDED, log_of(run)
    assert container(cluster)["image"] == OTHER
    assert "deployment.apps/app image updated" in said(run)


def test_files_are_no_image_to_deploy(site: Site, cluster: Cluster) -> None:
    connect_to(site, cluster.kubeconfig())
    step_ = set_image()
    step_["with"]["artifact"] = "$[jobs.only.s2.artifacts.app]"
    run = one_job(site, write(), upload("app.yaml"), step_)
    assert run.state == S.FAILED
    assert "artifact is no image that is pinned by its digest" in run.error
    assert cluster.changes == []


def test_a_container_that_is_not_there_fails_the_step(site: Site, cluster: Cluster) -> None:
    connect_to(site, cluster.kubeconfig())
    run = with_image(site, write(), apply(), set_image(container="nope"))
    assert run.state == S.FAILED
    assert steps(run) == [S.SUCCEEDED, S.SUCCEEDED, S.FAILED]
    assert 'unable to find container named "nope"' in log_of(run)


# ---- The command line ----------------------------------------------------------------------------
def test_kubectl_gets_exactly_these_arguments_and_no_secret(
    site: Site, cluster: Cluster, tmp_path: Path
) -> None:
    """A script stands before the real kubectl, and writes down how it is called."""
    seen = tmp_path / "seen"
    seen.mkdir(mode=0o777)
    seen.chmod(0o777)
    spy = tmp_path / "spy"
    spy.write_text(
        f'#!/bin/sh\n[ "$1" = version ] || {{ n=$(ls {seen} | wc -l); '
        f'printf "%s\\n" "$@" > {seen}/$n.argv; cat "$KUBECONFIG" > {seen}/$n.config; '
        f'stat -c %a "$KUBECONFIG" >> {seen}/$n.argv; }}\nexec {kubectl.path()} "$@"\n'
    )
    spy.chmod(0o755)
    with override_settings(KUBECTL=str(spy)):
        connect_to(site, cluster.kubeconfig())
        run = with_image(site, write(), apply(), apply(useReplace=True), set_image())
    assert run.state == S.SUCCEEDED, log_of(run)
    calls = [file.read_text().splitlines() for file in sorted(seen.glob("*.argv"))]
    folders = [call[2].partition("=")[2] for call in calls[:2]]
    assert calls == [
        ["--namespace=default", "apply", f"--filename={folders[0]}", "600"],
        ["--namespace=default", "replace", f"--filename={folders[1]}", "600"],
        ["--namespace=default", "set", "image", "--", "deployment/app", f"web={OTHER}", "600"],
    ]
    assert folders[0].endswith("/own/kubectl-s2/manifests")
    assert cluster.token in (seen / "0.config").read_text()
    assert not Path(folders[0]).exists()


def test_the_kubeconfig_is_never_in_a_log_and_never_in_a_steps_hands(
    site: Site, cluster: Cluster
) -> None:
    look = f'env; cat "$HOME"/../*/kubeconfig || echo none; echo {cluster.token}'
    run = applied(site, cluster, write(), apply(), look)
    assert cluster.token not in log_of(run)
    assert "KUBECONFIG" not in log_of(run)
    assert said(run)[-2:] == ["none", "***"], (
        "what is known to be a secret is masked whoever prints it"
    )


def test_another_version_of_kubectl_is_used_and_said_to_be_another(
    site: Site, cluster: Cluster
) -> None:
    own = step._version(kubectl.path())
    same = ".".join(own.split(".")[:2])
    run = applied(
        site, cluster, write(), apply(kubectlVersion="1.11"), apply(kubectlVersion=f"v{same}")
    )
    assert log_of(run).count("the definition asks for kubectl") == 1
    assert "asks for kubectl 1.11; the worker's is used" in log_of(run)
    assert f"kubectl {own}" in log_of(run)


# ---- Refused -------------------------------------------------------------------------------------
def refused(site: Site, cluster: Cluster, *each: dict[str, Any] | str, start: Any = one_job) -> Run:
    run: Run = start(site, *each)
    assert run.state == S.FAILED, log_of(run)
    assert cluster.changes == []
    assert cluster.token not in log_of(run)
    return run


@pytest.mark.parametrize(
    ("script", "given", "says"),
    [
        ("touch b.txt", {"yamlPath": "app.yaml"}, "is not there. “.” holds: b.txt."),
        ("mkdir d; touch d/x", {"yamlPath": "d/e/f.yaml"}, "“d” holds: x."),
        ("mkdir d; touch d/x", {"yamlPath": "d"}, "has no manifest (*.yaml, *.yml, *.json)"),
        ("true", {"yamlPath": "../../../etc/passwd"}, "leads out of the workspace"),
        ("ln -s /etc/passwd a.yaml", {"yamlPath": "a.yaml"}, "leads out of the workspace"),
        ("mkdir d; ln -s /etc/passwd d/a.yaml", {"yamlPath": "d"}, "leads out of the workspace"),
        ("mkfifo a.yaml", {"yamlPath": "a.yaml"}, "is not there"),
        ("echo '{' > a.yaml", {"yamlPath": "a.yaml"}, "“a.yaml”, line 2 is not valid YAML"),
        (write(), {"namespace": "--all"}, "is no name in Kubernetes"),
        (write(), {"kubernetesCluster": "other"}, "There is no service connection “other”"),
        (write(), {"variables": [{"key": "a b", "value": "x"}]}, "cannot name a variable"),
        (write(), {"variables": [{"key": "a"}]}, "needs a key and a value"),
    ],
)
def test_what_cannot_be_applied_is_refused_with_what_to_do(
    site: Site, cluster: Cluster, script: str, given: dict[str, Any], says: str
) -> None:
    connect_to(site, cluster.kubeconfig())
    path = given.pop("yamlPath", "app.yaml")
    assert says in refused(site, cluster, script, apply(path, **given)).error


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"workload": "--all"}, "workload “--all” is no name in Kubernetes"),
        ({"container": "a=b"}, "container “a=b” is no name in Kubernetes"),
        ({"workloadKind": "-f"}, "workloadKind “-f” is no kind of workload"),
        ({"kubernetesCluster": ""}, "kubernetesCluster is empty"),
    ],
)
def test_a_workload_that_looks_like_an_option_is_refused(
    site: Site, cluster: Cluster, given: dict[str, str], says: str
) -> None:
    connect_to(site, cluster.kubeconfig())
    assert says in refused(site, cluster, set_image(**given), start=with_image).error


def test_a_token_that_the_cluster_does_not_take_fails_the_step(
    site: Site, cluster: Cluster
) -> None:
    connect_to(site, cluster.kubeconfig(token="a wrong token"))
    run = refused(site, cluster, write(), apply())
    assert "a wrong token" not in log_of(run)


def test_a_certificate_is_checked_unless_the_definition_says_otherwise(
    site: Site, cluster: Cluster
) -> None:
    connect_to(site, cluster.kubeconfig(authority=False))
    run = refused(site, cluster, write(), apply())
    assert "certificate" in log_of(run)
    run = worked(site, yaml({"only": job(write(), apply(skipTlsVerify=True))}), slug="trusting")
    assert run.state == S.SUCCEEDED, log_of(run)


def test_a_cluster_that_leads_inward_is_not_connected_to(site: Site, cluster: Cluster) -> None:
    connect_to(site, cluster.kubeconfig())
    with override_settings(ALLOWED_NETWORKS=()):
        assert "not on the public internet" in refused(site, cluster, write(), apply()).error
    assert cluster.served.asked == []


def test_a_worker_without_kubectl_says_what_to_do(site: Site, cluster: Cluster) -> None:
    connect_to(site, cluster.kubeconfig())
    with override_settings(KUBECTL="/nonexistent/kubectl"):
        run = refused(site, cluster, write(), apply())
    assert "This worker has no /nonexistent/kubectl. Install kubectl" in run.error
