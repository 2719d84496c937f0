"""DockerLogin and DockerBuildPush: real images, really built, in a real registry."""

import json
import os
import stat
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.test import override_settings

from pipelines import artifacts, builders, registry
from pipelines.builders import Builder, Order
from pipelines.models import Artifact, ExecutionState, Run
from pipelines.registry import Credentials
from tests.cast import Site
from tests.parts import buildah
from tests.parts import registry as parts
from tests.parts.registry import PASSWORD, USER
from tests.pipelines.connected import connect
from tests.pipelines.working import job, log_of, one_job, said, steps, worked, yaml
from tests.world import stored_files

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

S = ExecutionState
MAKE = """
printf 'FROM scratch\\nCOPY app.txt /app.txt\\nLABEL made-by=tests\\n' > Dockerfile
echo hello > app.txt
"""


@pytest.fixture(autouse=True)
def only_buildah() -> Iterator[None]:
    with override_settings(
        ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),), BUILDERS=(buildah.path(),)
    ):
        builders.current.cache_clear()
        yield
    builders.current.cache_clear()


@pytest.fixture(scope="module")
def open_registry() -> Iterator[str]:
    with parts.server() as address:
        yield address


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with parts.server(password=True) as address:
        yield address


def login(host: str, connection: str = "reg") -> dict[str, Any]:
    with_ = {"dockerRepository": host, "serviceConnection": connection}
    return {"step": "DockerLogin", "with": with_}


def build(image: str, **more: Any) -> dict[str, Any]:
    return {"step": "DockerBuildPush", "with": {"image": image, **more}}


def registry_connection(site: Site, host: str, password: str = PASSWORD) -> None:
    connect(site, "reg", "registry", {"password": password}, host=host, username=USER)


def nothing_made(run: Run) -> bool:
    return not Artifact.objects.filter(run=run).exists()


# ---- Built and pushed ----------------------------------------------------------------------------
def test_an_image_is_built_pushed_and_recorded_with_the_digest_of_the_registry(
    site: Site, guarded: str
) -> None:
    registry_connection(site, guarded)
    image = f"{guarded}/team/app:1.0"
    run = one_job(site, MAKE, login(guarded), build(image, artifact="image"))
    assert run.state == S.SUCCEEDED, log_of(run)
    made = Artifact.objects.get(run=run)
    digest = registry.digest_of(registry.parse(image), Credentials(USER, PASSWORD))
    assert (made.type, made.image) == ("dockerImage", f"{image}@{digest}")
    assert artifacts.descriptor(made) == {
        "artifact": "image",
        "type": "dockerImage",
        "dockerUrl": f"{image}@{digest}",
        "dockerTag": "1.0",
    }
    manifest = fetched(guarded, f"manifests/{digest}").json()
    config = fetched(guarded, f"blobs/{manifest['config']['digest']}").json()
    assert config["config"]["Labels"]["made-by"] == "tests"
    assert len(manifest["layers"]) == 1
    assert f"pushed {image}@{digest}" in log_of(run)
    assert PASSWORD not in log_of(run)


def fetched(address: str, what: str) -> httpx.Response:
    kind = "application/vnd.oci.image.manifest.v1+json"
    url = f"http://{address}/v2/team/app/{what}"
    got = httpx.get(url, headers={"Accept": kind}, auth=(USER, PASSWORD), trust_env=False)
    return got.raise_for_status()


def test_a_later_step_may_refer_to_the_image_by_its_digest(site: Site, open_registry: str) -> None:
    image = f"{open_registry}/team/refer:1"
    run = one_job(site, MAKE, build(image), "echo $[jobs.only.s2.artifacts.image]")
    assert run.state == S.SUCCEEDED, log_of(run)
    digest = registry.digest_of(registry.parse(image))
    assert said(run)[-1] == f"{image}@{digest}"


def test_the_dockerfile_and_the_context_may_lie_in_folders(site: Site, open_registry: str) -> None:
    make = "mkdir -p deploy src && echo x > src/a && printf 'FROM scratch\\nCOPY a /' > deploy/My"
    with_ = {"dockerfilePath": "deploy/My", "contextPath": "src"}
    run = one_job(site, make, build(f"{open_registry}/team/folders:1", **with_))
    assert run.state == S.SUCCEEDED, log_of(run)


def test_acrs_spelling_builds_and_logs_in_by_itself(site: Site, guarded: str) -> None:
    registry_connection(site, guarded)
    with_ = {
        "artifact": "mine",
        "dockerRegistry": f"{guarded}/team/acr",
        "dockerTag": "b${BUILD_NUMBER}",
        "serviceConnection": "reg",
    }
    run = one_job(site, MAKE, {"step": "DockerBuildPushACR", "with": with_})
    assert run.state == S.SUCCEEDED, log_of(run)
    made = Artifact.objects.get(run=run)
    assert (made.name, made.image_tag) == ("mine", "b1")
    assert made.image.startswith(f"{guarded}/team/acr:b1@sha256:")


def test_what_a_dockerfile_runs_is_not_the_workers_root(site: Site, open_registry: str) -> None:
    """The shell is copied out of the machine, because no image with one can be had from here. A
    worker that is no root has nothing to keep from a Dockerfile, and may be unable to run it."""
    show = 'RUN while read i o n; do echo "map $i $o"; done < /proc/self/uid_map'
    make = (
        "cp /bin/sh sh && mkdir -p lib && "
        "for each in $(ldd /bin/sh | grep -o '/[^ ]*'); do cp --parents \"$each\" lib/; done\n"
        "printf 'FROM scratch\\nCOPY sh /bin/sh\\nCOPY --chown=12:13 lib/ /\\n' > Dockerfile\n"
        f"echo '{show}' >> Dockerfile"
    )
    is_root = os.geteuid() == 0
    run = one_job(site, make if is_root else MAKE, build(f"{open_registry}/team/confined:1"))
    assert run.state == S.SUCCEEDED, log_of(run)
    first, last = settings.STEP_USERS
    roots = [int(line.split()[2]) for line in said(run) if line.startswith("map 0 ")]
    assert len(roots) == is_root
    assert all(first <= root <= last for root in roots)


def test_a_build_leaves_no_layers_behind_and_later_steps_have_the_login(
    site: Site, guarded: str
) -> None:
    registry_connection(site, guarded)
    look = (
        '[ -e "$HOME/../build-s3" ] && echo left; stat -c %a "$DOCKER_CONFIG/config.json"; '
        'cat "$REGISTRY_AUTH_FILE"'
    )
    run = one_job(site, MAKE, login(guarded), build(f"{guarded}/team/tidy:1"), look)
    assert run.state == S.SUCCEEDED, log_of(run)
    login_file = f'{{"auths": {{"{guarded}": {{"auth": "***"}}}}}}'
    assert said(run)[-2:] == ["600", login_file]
    assert "left" not in said(run)


# ---- Refused -------------------------------------------------------------------------------------
def test_a_wrong_password_shows_at_the_login(site: Site, guarded: str) -> None:
    registry_connection(site, guarded, password="a wrong secret")
    run = one_job(site, login(guarded), "echo never")
    assert run.state == S.FAILED
    assert f"{guarded} does not take the credentials of “{USER}”" in run.error
    assert "a wrong secret" not in log_of(run)
    assert said(run) == []


def test_a_password_goes_to_no_other_host_than_the_connections(
    site: Site, guarded: str, open_registry: str
) -> None:
    registry_connection(site, guarded)
    run = one_job(site, login(open_registry))
    assert run.state == S.FAILED
    assert f"The service connection reg is for {guarded}" in run.error
    assert f"not sent to {open_registry}" in run.error


def test_a_push_without_a_login_fails_before_anything_is_built(site: Site, guarded: str) -> None:
    run = one_job(site, MAKE, build(f"{guarded}/team/app:2"))
    assert run.state == S.FAILED
    assert f"{guarded} wants credentials" in run.error
    assert "STEP 1" not in log_of(run)
    assert nothing_made(run)


def test_a_worker_without_a_builder_names_all_four_and_what_to_do(
    site: Site, open_registry: str
) -> None:
    with override_settings(BUILDERS=("/nonexistent/docker", "/nonexistent/buildah")):
        builders.current.cache_clear()
        run = one_job(site, MAKE, build(f"{open_registry}/team/none:1"))
    assert run.state == S.FAILED
    for name in ("docker", "buildah", "podman", "buildctl", "start the worker anew"):
        assert name in run.error
    assert nothing_made(run)


@pytest.mark.parametrize(
    ("script", "with_", "says"),
    [
        ("true", {"dockerfilePath": "../../etc/passwd"}, "leads out of the workspace"),
        ("true", {"dockerfilePath": "/etc/passwd"}, "leads out of the workspace"),
        ("ln -s /etc/passwd Dockerfile", {}, "leads out of the workspace"),
        (f"{MAKE}ln -s / out", {"contextPath": "out"}, "leads out of the workspace"),
        (MAKE, {"contextPath": ".."}, "leads out of the workspace"),
        ("touch other", {}, "There is no Dockerfile at “Dockerfile”. The folder holds: other."),
        (MAKE, {"contextPath": "app.txt"}, "is not a folder"),
        (MAKE, {"contextPath": "nope"}, "is not a folder"),
    ],
)
def test_what_is_built_lies_in_the_workspace(
    site: Site, open_registry: str, script: str, with_: dict[str, str], says: str
) -> None:
    files = stored_files()
    run = one_job(site, script, build(f"{open_registry}/team/outside:1", **with_))
    assert run.state == S.FAILED
    assert says in run.error
    assert nothing_made(run)
    assert stored_files() == files
    listed = httpx.get(f"http://{open_registry}/v2/_catalog", trust_env=False).json()
    assert "team/outside" not in listed["repositories"]


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("app:1", "is not the name of an image"),
        ("{}/team/app", "must have a tag"),
        ("{}/team/app:1@sha256:" + "0" * 64, "must have a tag and no digest"),
        ("{}/team/app:--help x", "is not the name of an image"),
        ("169.254.169.254/team/app:1", "not on the public internet"),
    ],
)
def test_an_image_that_cannot_be_pushed_is_refused_by_name(
    site: Site, open_registry: str, image: str, says: str
) -> None:
    run = one_job(site, MAKE, build(image.format(open_registry)))
    assert run.state == S.FAILED
    assert says in run.error
    assert nothing_made(run)


def test_a_dockerfile_that_fails_says_so_with_the_builders_exit_code(
    site: Site, open_registry: str
) -> None:
    run = one_job(
        site, "printf 'FROM scratch\\nCOPY absent /\\n' > Dockerfile", build(f"{open_registry}/x:1")
    )
    assert run.state == S.FAILED
    assert "buildah: It ended with exit code" in run.error
    assert "absent" in log_of(run)
    assert steps(run) == [S.SUCCEEDED, S.FAILED]
    assert nothing_made(run)


def test_a_tag_that_somebody_else_moved_meanwhile_is_not_recorded(
    site: Site, open_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = registry.digest_of

    def moved(image: registry.ImageName, credentials: Credentials | None = None) -> str:
        parts.push_image(open_registry, image.repository, image.tag, content=b"somebody else's")
        return real(image, credentials)

    monkeypatch.setattr(registry, "digest_of", moved)
    run = one_job(site, MAKE, build(f"{open_registry}/team/moved:1"))
    assert run.state == S.FAILED
    assert "Somebody else pushed the same tag" in run.error
    assert nothing_made(run)


# ---- Builders ------------------------------------------------------------------------------------
def test_a_client_without_an_engine_that_answers_does_not_count(tmp_path: Path) -> None:
    """A script stands in for docker: it has buildx, and no engine."""
    client = tmp_path / "docker"
    client.write_text('#!/bin/sh\n[ "$1" = buildx ] && echo "buildx v0.14.1"\n')
    client.chmod(client.stat().st_mode | stat.S_IXUSR)
    assert builders.find((str(client),)) is None
    found = builders.find((str(client), buildah.path()))
    assert found is not None
    assert (found.kind.name, found.program) == ("buildah", buildah.path())
    client.write_text("#!/bin/sh\necho v0.14.1\n")
    engine = builders.find((str(client), buildah.path()))
    assert engine is not None
    assert str(engine) == "docker buildx 0.14.1"


ORDER = Order("r.example/a:1", Path("/w/D"), Path("/w/c"), Path("/s"), cache="r.example/a")
PLAIN = Order("127.0.0.1:5/a:1", Path("/w/D"), Path("/w/c"), Path("/s"), is_plain=True)
OWN = ["--root=/s/layers", "--runroot=/s/run", "--storage-driver=vfs"]


@pytest.mark.parametrize(
    ("name", "order", "build_", "push"),
    [
        (
            "docker",
            ORDER,
            ["buildx", "build", "--load", "--progress=plain", "--file=/w/D",
             "--tag=r.example/a:1", "/w/c"],
            ["push", "r.example/a:1"],
        ),
        (
            "buildah",
            PLAIN,
            [*OWN, "build", "--isolation=chroot", "--format=oci", "--tls-verify=false",
             "--file=/w/D", "--tag=127.0.0.1:5/a:1", "/w/c"],
            [*OWN, "push", "--tls-verify=false", "--digestfile=/s/pushed", "127.0.0.1:5/a:1",
             "docker://127.0.0.1:5/a:1"],
        ),
        (
            "podman",
            ORDER,
            [*OWN, "--events-backend=none", "--tmpdir=/s/tmp", "build", "--isolation=chroot",
             "--format=oci", "--tls-verify=true", "--file=/w/D", "--tag=r.example/a:1",
             "--cache-from=r.example/a", "--cache-to=r.example/a", "--layers", "/w/c"],
            [*OWN, "--events-backend=none", "--tmpdir=/s/tmp", "push", "--tls-verify=true",
             "--digestfile=/s/pushed", "r.example/a:1", "docker://r.example/a:1"],
        ),
        (
            "buildctl",
            PLAIN,
            ["build", "--progress=plain", "--frontend=dockerfile.v0", "--local=context=/w/c",
             "--local=dockerfile=/w", "--opt=filename=D",
             "--output=type=image,name=127.0.0.1:5/a:1,push=true,registry.insecure=true",
             "--metadata-file=/s/pushed"],
            [],
        ),
    ],
)  # fmt: skip
def test_each_builder_is_called_with_exactly_these_arguments(
    name: str, order: Order, build_: list[str], push: list[str]
) -> None:
    builder = Builder(builders.KINDS[name], f"/usr/bin/{name}", "1.0")
    assert builder.build(order) == [f"/usr/bin/{name}", *build_]
    assert builder.push(order) == ([f"/usr/bin/{name}", *push] if push else [])


def test_what_a_builder_notes_is_understood_or_ignored(tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    order = Order("r.example/a:1", tmp_path, tmp_path, tmp_path)
    builder = Builder(builders.KINDS["buildah"], "buildah", "1")
    assert builder.pushed(order) == frozenset()
    for note in (digest, f"{digest}\n", json.dumps({"containerimage.digest": digest})):
        order.note.write_text(note)
        assert builder.pushed(order) == {digest}
    for note in ("", "{", "sha256:abc", "[]", json.dumps({"other": 1})):
        order.note.write_text(note)
        assert builder.pushed(order) == frozenset()


def test_a_cache_is_kept_or_said_to_be_ignored(site: Site, open_registry: str) -> None:
    image = f"{open_registry}/team/cached"
    remote = build(f"{image}:1", cacheType="remote")
    other = build(f"{image}:2", cacheType="local", artifact="other")
    run = worked(site, yaml({"only": job(MAKE, remote, other)}))
    assert run.state == S.SUCCEEDED, log_of(run)
    assert "cacheType local: buildah" in log_of(run)
    assert len(registry.tags(registry.parse(image))) > 2, "layers lie beside the image"
