"""Images of versions: looked up and pinned, looked at again, carried to another registry."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from pipelines import artifacts, registry, runs
from pipelines.errors import Forbidden, Invalid, Unreachable, WrongState
from pipelines.leases import leased
from pipelines.models import Artifact, ExecutionState, ServiceConnection
from pipelines.registry import Credentials, CredentialsRefused
from promotion import descriptors, images, publishing, registries
from promotion.ledger.verify import Verification
from promotion.models import ImageDetails, ImageLook, LedgerEntry, LookState, Repository, Version
from tests.cast import Site, external_run
from tests.parts import registry as parts
from tests.parts.between import between
from tests.parts.multiarch import PLATFORMS, Pushed, Pusher
from tests.parts.registry import PASSWORD, USER
from tests.parts.skopeo import pulled
from tests.parts.web import Asked, Handler, answer
from tests.pipelines.connected import connect
from tests.sealed import unsealed
from tests.world import nothing_changes, refused, world

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

ADA = Credentials(USER, PASSWORD)


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)):
        yield


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with parts.server(password=True) as address:
        yield address


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with parts.server() as address:
        yield address


@pytest.fixture
def connection(site: Site, guarded: str) -> ServiceConnection:
    secrets = {"password": PASSWORD}
    return connect(site, "reg", "registry", secrets, host=guarded, username=USER)


@pytest.fixture
def repository(site: Site, guarded: str, connection: ServiceConnection) -> Repository:
    return publishing.create_repository(
        "images", by=site.cast.ada, kind="docker", registry=f"{guarded}/shop", connection=connection
    )


@pytest.fixture
def pusher(guarded: str, request: pytest.FixtureRequest) -> Pusher:
    """A repository of the test's own in the registry."""
    name = request.node.name.partition("[")[0].removeprefix("test_")
    return Pusher(guarded, f"shop/{name}", login=True)


def reported(site: Site, image: str, tag: str = "") -> Artifact:
    run = external_run(site.cast.ada, site.pipeline)
    place = artifacts.Place("build", "build", "push")
    made = artifacts.report_image(run, place, "web", image, tag, by=site.cast.ada)
    runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)
    return Artifact.objects.select_related("run__pipeline", "run__revision").get(pk=made.pk)


def published(
    site: Site, repository: Repository, image: Pushed, version: str = "1.0.0", tag: str = "1.0"
) -> Version:
    artifact = reported(site, f"{image.name}:{tag}@{image.digest}")
    return publishing.publish(repository, "web", version, artifact, by=site.cast.ada).version


def problems() -> list[str]:
    results = list(Verification().run())
    return [each for result in results for each in (*result.findings, result.could_not) if each]


def not_published(site: Site, repository: Repository, artifact: Artifact) -> str:
    """Publish what must be refused, and see that nothing but the connection's last use is new."""
    before = world()
    with pytest.raises(Invalid) as caught:
        publishing.publish(repository, "web", "1.0.0", artifact, by=site.cast.ada)
    after = world()
    changed = {label for label in before if before[label] != after[label]}
    assert changed <= {ServiceConnection._meta.label}
    return caught.value.detail


# ---- A repository's registry ---------------------------------------------------------------------
def test_a_registry_is_set_and_set_anew_and_the_ledger_knows(
    site: Site, repository: Repository, guarded: str
) -> None:
    entry = LedgerEntry.objects.get(type="repository.registry_set")
    assert json.loads(bytes(entry.body))["data"] == {
        "repository": "images", "registry": f"{guarded}/shop", "connection": "reg",
    }  # fmt: skip
    changed = registries.set_registry(repository, "https://Other.example.com/", by=site.cast.admin)
    assert (changed.registry, changed.connection, changed.bound_by) == (
        "other.example.com", None, site.cast.admin,
    )  # fmt: skip
    assert problems() == []
    refusal = refused(
        Forbidden, lambda: registries.set_registry(repository, "evil.example.com", by=site.cast.ada)
    )
    assert "change the registry that somebody else set" in refusal.detail
    registries.set_registry(repository, "", by=site.cast.ben)
    repository.refresh_from_db()
    assert (repository.registry, repository.bound_by) == ("", None)
    assert problems() == []


def test_a_connection_is_used_for_the_repositorys_own_images_alone(
    repository: Repository, guarded: str
) -> None:
    own, other = (registry.parse(f"{guarded}/{name}:1.0") for name in ("shop/web", "other/web"))
    assert registries.login_for(repository, own) is not None
    assert registries.login_for(repository, other) is None


def test_the_same_registry_again_writes_nothing(site: Site, repository: Repository) -> None:
    with nothing_changes():
        registries.set_registry(
            repository, repository.registry, by=site.cast.ada, connection=repository.connection
        )


def test_a_registry_that_changed_behind_the_ledger_is_named(
    site: Site, repository: Repository
) -> None:
    Repository.objects.filter(pk=repository.pk).update(registry="evil.example.com")
    assert any(each.startswith("registry of repository images") for each in problems())


@pytest.mark.parametrize("who", ["dora", "production", "mallory"])
def test_who_may_not_create_repositories_sets_no_registry(
    site: Site, repository: Repository, who: str
) -> None:
    by = getattr(site.cast, who)
    refused(Forbidden, lambda: registries.set_registry(repository, "r.example.com", by=by))


def test_a_connection_that_one_may_not_use_is_not_bound(
    site: Site, repository: Repository, guarded: str, connection: ServiceConnection
) -> None:
    ben = site.cast.ben
    refused(
        Forbidden,
        lambda: registries.set_registry(repository, guarded, by=ben, connection=connection),
    )


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("no registry", "names no registry"),
        ("r.example.com/a:1", "names an image"),
        ("r.example.com/A", "is not the name of an image"),
        ("r.example.com/../x", "is not the name of an image"),
        ("user:secret@r.example.com", "names no registry"),
        ("other.example.com/shop", "its password is not sent to other.example.com"),
    ],
)
def test_what_is_no_registry_is_refused(
    site: Site, repository: Repository, connection: ServiceConnection, address: str, says: str
) -> None:
    refusal = refused(
        Invalid,
        lambda: registries.set_registry(
            repository, address, by=site.cast.ada, connection=connection
        ),
    )
    assert says in refusal.detail


def test_files_lie_in_no_registry(site: Site) -> None:
    refused(
        Invalid, lambda: registries.set_registry(site.repository, "r.example", by=site.cast.ada)
    )


# ---- Published -----------------------------------------------------------------------------------
def test_an_image_is_looked_up_when_it_is_published(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    image = pusher.multiarch("1.0")
    signature = pusher.cosign(image.digest)
    version = published(site, repository, image)
    details = images.details_of(version)
    assert details is not None
    assert [each["platform"] for each in details["platforms"]] == list(PLATFORMS)
    assert [each["digest"] for each in details["platforms"]] == list(image.platforms.values())
    layers = {
        layer["digest"]: layer["size"] for each in details["platforms"] for layer in each["layers"]
    }
    assert layers == image.blobs
    assert details["digest"] == image.digest
    look = ImageLook.objects.get(version=version)
    assert look.state == LookState.SAME
    assert [each["digest"] for each in look.referrers] == [signature]
    assert descriptors.descriptor(version) == {
        "artifact": "web",
        "type": "dockerImage",
        "dockerUrl": f"{image.name}@{image.digest}",
        "dockerTag": "1.0",
    }
    assert problems() == []


def test_an_image_for_one_platform_names_it(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    made = pusher.image("linux/riscv64", [pusher.blob(b"layer")], "1.0")
    version = published(site, repository, Pushed(pusher.name, made["digest"]))
    details = images.details_of(version)
    assert details is not None
    assert [each["platform"] for each in details["platforms"]] == ["linux/riscv64"]


def test_an_image_that_is_not_there_is_not_published(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    pusher.multiarch("1.0")
    artifact = reported(site, f"{pusher.name}:1.0@sha256:{'1' * 64}")
    refusal = not_published(site, repository, artifact)
    assert "Push the image, and report the digest" in refusal


def test_a_registry_that_is_slow_with_each_of_many_questions_is_not_waited_for(
    site: Site, repository: Repository, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = reported(site, f"{pusher.name}:1.0@{pusher.multiarch('1.0').digest}")
    monkeypatch.setattr(images, "GATHERING_SECONDS", -1.0)
    with pytest.raises(Unreachable, match="took more than"):
        publishing.publish(repository, "web", "1.0.0", artifact, by=site.cast.ada)
    assert not Version.objects.exists()
    monkeypatch.undo()
    version = publishing.publish(repository, "web", "1.0.0", artifact, by=site.cast.ada).version
    monkeypatch.setattr(images, "GATHERING_SECONDS", -1.0)
    look = images.look_for_drift(version, by=site.cast.ada)
    assert (look.state, "took more than" in look.problem) == (LookState.UNKNOWN, True)


def test_an_image_of_more_layers_than_a_page_can_show_is_not_published(
    site: Site, repository: Repository, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = pusher.multiarch("1.0")
    artifact = reported(site, f"{pusher.name}:1.0@{pushed.digest}")
    monkeypatch.setattr(images, "MAX_LAYERS", 1)
    assert "more than 1 layers" in not_published(site, repository, artifact)


def test_an_image_that_lies_elsewhere_is_not_published(
    site: Site, repository: Repository, guarded: str
) -> None:
    for name in (
        f"{guarded}/shopping/web",
        f"{guarded}/other/web",
        "registry.example.com/shop/web",
    ):
        artifact = reported(site, f"{name}:1.0@sha256:{'1' * 64}")
        refusal = not_published(site, repository, artifact)
        assert "and report it under that name" in refusal


def test_an_index_that_lacks_a_platform_is_not_published(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    image = pusher.multiarch("1.0")
    pusher.remove(image.platforms["linux/arm64/v8"])
    artifact = reported(site, f"{image.name}:1.0@{image.digest}")
    assert "lists linux/arm64/v8" in not_published(site, repository, artifact)


def test_the_same_image_again_asks_nobody(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    image = pusher.multiarch("1.0")
    version = published(site, repository, image)
    pusher.remove(image.digest)
    again = publishing.publish(repository, "web", "1.0.0", version.artifact, by=site.cast.ada)
    assert (again.version, again.is_new) == (version, False)


def test_a_connection_whose_owner_lost_it_opens_nothing(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    image = pusher.multiarch("1.0")
    artifact = reported(site, f"{image.name}:1.0@{image.digest}")
    site.cast.ada.groups.clear()
    refused(
        Forbidden,
        lambda: publishing.publish(repository, "web", "1.0.0", artifact, by=site.cast.ben),
    )


def test_without_a_registry_an_image_is_pinned_and_not_looked_up(site: Site) -> None:
    plain = publishing.create_repository("plain", by=site.cast.ada, kind="docker")
    version = published(site, plain, Pushed("registry.example.com/shop/web", f"sha256:{'1' * 64}"))
    assert images.details_of(version) is None
    refused(WrongState, lambda: images.look_for_drift(version, by=site.cast.ada))
    assert problems() == []


def test_details_that_changed_behind_the_ledger_are_named(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    published(site, repository, pusher.multiarch("1.0"))
    with unsealed():
        ImageDetails.objects.update(details="{}")
    assert any("they do not have their digest" in each for each in problems())
    with unsealed():
        ImageDetails.objects.update(digest=f"sha256:{'2' * 64}")
    assert any(each.startswith("image details of version") for each in problems())


# ---- Reported by a tag ---------------------------------------------------------------------------
def test_an_image_reported_by_its_tag_is_pinned_to_what_the_tag_names(
    site: Site, target: str
) -> None:
    image = Pusher(target, "open/web").multiarch("1.0")
    for name, tag in ((f"{target}/open/web:1.0", ""), (f"{target}/open/web", "1.0")):
        artifact = reported(site, name, tag)
        assert artifact.image == f"{target}/open/web:1.0@{image.digest}"
        assert artifact.image_tag == "1.0"


def test_an_image_reported_by_its_tag_is_looked_up_with_a_connection(
    site: Site, connection: ServiceConnection, pusher: Pusher
) -> None:
    image = pusher.multiarch("1.0")
    run = external_run(site.cast.ada, site.pipeline)
    place = artifacts.Place("build", "build", "push")

    def report(connection: ServiceConnection | None) -> Artifact:
        return artifacts.report_image(
            run, place, "web", f"{image.name}:1.0", "", by=site.cast.ada, connection=connection
        )

    refusal = refused(Invalid, lambda: report(None))
    assert "wants credentials" in refusal.detail
    assert "Send the digest" in refusal.detail
    assert report(connection).image == f"{image.name}:1.0@{image.digest}"


# ---- Drift ---------------------------------------------------------------------------------------
def test_a_tag_that_moved_is_drift_and_the_version_stays(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    version = published(site, repository, pusher.multiarch("1.0"))
    assert not images.look_for_drift(version, by=site.cast.ada).has_drifted
    other = pusher.multiarch("1.0")
    seen = images.look_for_drift(version, by=site.cast.ada)
    assert (seen.state, seen.tag_digest) == (LookState.MOVED, other.digest)
    assert seen.has_drifted
    kept = Version.objects.get(pk=version.pk)
    assert (kept.image, kept.manifest_digest) == (version.image, version.manifest_digest)


def test_an_image_that_was_removed_is_drift(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    image = pusher.multiarch("1.0")
    version = published(site, repository, image)
    pusher.remove(image.digest)
    assert images.look_for_drift(version, by=site.cast.ada).state == LookState.GONE


def test_a_tag_that_was_removed_is_drift(site: Site, target: str) -> None:
    image = Pusher(target, "untagged/web").multiarch("1.0")
    forgotten: list[str] = []

    def forgets(handler: Handler, asked: Asked) -> bool:
        if not forgotten or not asked.path.endswith("/manifests/1.0"):
            return False
        answer(handler, 404)
        return True

    with between(target, forgets) as served:
        plain = publishing.create_repository(
            "plain", by=site.cast.ada, kind="docker", registry=served.address
        )
        image.name = f"{served.address}/untagged/web"
        version = published(site, plain, image)
        forgotten.append("1.0")
        seen = images.look_for_drift(version, by=site.cast.ada)
    assert (seen.state, seen.tag_digest, seen.has_drifted) == (LookState.UNTAGGED, "", True)


def test_a_registry_that_cannot_be_asked_is_no_drift(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    image = pusher.multiarch("1.0")
    pusher.cosign(image.digest)
    version = published(site, repository, image)
    with override_settings(ALLOWED_NETWORKS=()):
        seen = images.look_for_drift(version, by=site.cast.ada)
    assert (seen.state, seen.has_drifted) == (LookState.UNKNOWN, False)
    assert "SLUICE_ALLOWED_NETWORKS" in seen.problem
    assert len(ImageLook.objects.get().referrers) == 1, "what was known is not forgotten"


@pytest.mark.parametrize("who", ["dora", "production", "mallory"])
def test_who_only_reads_does_not_have_registries_asked(
    site: Site, repository: Repository, pusher: Pusher, who: str
) -> None:
    version = published(site, repository, pusher.multiarch("1.0"))
    refused(Forbidden, lambda: images.look_for_drift(version, by=getattr(site.cast, who)))


def test_what_is_placed_or_newest_is_looked_at_when_it_is_due(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    one, two, three = (
        published(site, repository, pusher.multiarch(tag), f"{tag}.0", tag)
        for tag in ("1.0", "2.0", "3.0")
    )
    site.promote(site.staging, one)
    assert images.look_where_due() == 0, "all were looked at when they were published"
    long_ago = timezone.now() - timedelta(days=1)
    ImageLook.objects.filter(version=one).update(looked_at=long_ago - timedelta(days=1))
    ImageLook.objects.filter(version__in=[two, three]).update(looked_at=long_ago)
    assert list(images.due_for_a_look(timezone.now())) == [one, three], "the oldest look first"
    pusher.multiarch("1.0")
    with leased("images.look", timedelta(minutes=1)):
        assert images.look_where_due() == 0, "the beat before is still at it"
    assert images.look_where_due() == 2
    assert ImageLook.objects.get(version=one).state == LookState.MOVED
    assert ImageLook.objects.get(version=two).looked_at == long_ago
    assert images.look_where_due() == 0


# ---- Carried -------------------------------------------------------------------------------------
def test_an_image_is_carried_with_all_that_refers_to_it(
    site: Site, repository: Repository, pusher: Pusher, target: str, tmp_path: Path
) -> None:
    image = pusher.multiarch("1.0")
    signature = pusher.cosign(image.digest)
    version = published(site, repository, image, "1.0.0+build.7")
    pusher.multiarch("1.0")
    seen: list[tuple[int, int]] = []
    pinned = images.carry(
        version, f"{target}/prod", None, progress=lambda done, total: seen.append((done, total))
    )
    assert pinned == f"{target}/prod/images/web@{image.digest}"
    images.read_back(pinned, None)
    assert Pusher(target, "prod/images/web").has(f"manifests/{signature}")
    assert pulled(f"{target}/prod/images/web:1.0.0_build.7", tmp_path / "there") == pulled(
        f"{image.name}@{image.digest}", tmp_path / "here", login=True
    )
    assert seen[-1][0] == seen[-1][1] > 0
    assert images.carry(version, f"{target}/prod", None) == pinned, "again changes nothing"


def test_a_tag_of_somebody_elses_image_is_not_overwritten(
    site: Site, repository: Repository, pusher: Pusher, target: str
) -> None:
    version = published(site, repository, pusher.multiarch("1.0"))
    theirs = Pusher(target, "taken/images/web").multiarch("1.0.0")
    with pytest.raises(Invalid, match="is another image"):
        images.carry(version, f"{target}/taken", None)
    assert registry.digest_of(registry.parse(f"{target}/taken/images/web:1.0.0")) == theirs.digest


def test_what_is_read_back_must_be_there(target: str) -> None:
    image = Pusher(target, "back/web").multiarch("1.0")
    images.read_back(f"{target}/back/web@{image.digest}", None)
    with pytest.raises(Invalid, match="is not there any more"):
        images.read_back(f"{target}/back/web@sha256:{'1' * 64}", None)


def test_a_target_that_cannot_be_asked_is_told_apart(guarded: str, target: str) -> None:
    name = f"back/web@sha256:{'1' * 64}"
    with pytest.raises(CredentialsRefused):
        images.read_back(f"{guarded}/{name}", None)

    def is_ill(handler: Handler, asked: Asked) -> bool:
        answer(handler, 500)
        return True

    with between(target, is_ill) as served, pytest.raises(Unreachable):
        images.read_back(f"{served.address}/{name}", None)


# ---- Pages ---------------------------------------------------------------------------------------
@contextmanager
def signed_in(site: Site, who: str = "ada") -> Iterator[Client]:
    client = Client()
    client.force_login(getattr(site.cast, who))
    yield client


def page_of(client: Client, address: str, **posted: Any) -> str:
    answered = client.post(address, posted, follow=True) if posted else client.get(address)
    assert answered.status_code == 200
    return answered.content.decode()


def test_the_page_of_an_image_shows_what_it_consists_of_and_its_drift(
    site: Site, repository: Repository, pusher: Pusher
) -> None:
    image = pusher.multiarch("1.0")
    signature = pusher.referrer(image.digest, "application/vnd.example.signature")
    version = published(site, repository, image)
    promotion = site.request(site.staging, version)
    address = "/repositories/images/web/1.0.0/"
    with signed_in(site) as client:
        shown = page_of(client, address)
        for text in (f"{image.name}@{image.digest}", *PLATFORMS, *image.blobs, signature):
            assert text in shown
        assert "As published" in shown
        pusher.multiarch("1.0")
        client.post(f"{address}look/")
        shown = page_of(client, address)
        assert "The tag names another image now" in shown
        assert "Tag moved" in page_of(client, "/repositories/images/web/")
        # Whoever decides is to know it too.
        assert "What you approve is the digest" in page_of(client, f"/promotions/{promotion.pk}/")
    with signed_in(site, "dora") as client:
        assert "Look now" not in page_of(client, address)
        assert client.post(f"{address}look/").status_code == 403


def test_the_registry_is_set_on_its_page(site: Site, repository: Repository, guarded: str) -> None:
    with signed_in(site) as client:
        address = "/repositories/images/-/registry/"
        assert f'value="{guarded}/shop"' in page_of(client, address)
        answered = client.post(address, {"registry": "r.example.com/x", "connection": "reg"})
        assert answered.status_code == 422
        assert "its password is not sent to r.example.com" in answered.content.decode()
        client.post(address, {"registry": f"{guarded}/other", "connection": "reg"})
        assert f"{guarded}/other" in page_of(client, "/repositories/images/")
    repository.refresh_from_db()
    assert repository.registry == f"{guarded}/other"
