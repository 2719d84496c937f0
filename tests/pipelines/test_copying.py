"""Copies of images between real registries. skopeo, which knows nothing of ours, judges them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from pipelines import registry
from pipelines.destinations import DestinationForbidden
from pipelines.errors import Invalid, NotFound, Unreachable
from pipelines.registry import Copied, Credentials, CredentialsRefused
from tests.parts import buildah
from tests.parts import registry as parts
from tests.parts.between import between
from tests.parts.multiarch import INDEX, MANIFEST, PLATFORMS, Pushed, Pusher, sha256
from tests.parts.registry import PASSWORD, USER, TokenServer
from tests.parts.skopeo import pulled
from tests.parts.web import Asked, Handler, answer, serve

ADA = Credentials(USER, PASSWORD)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)):
        yield


@pytest.fixture(scope="module")
def source() -> Iterator[str]:
    with parts.server() as address:
        yield address


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with parts.server() as address:
        yield address


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with parts.server(password=True) as address:
        yield address


@pytest.fixture(scope="module")
def with_tokens() -> Iterator[TokenServer]:
    with parts.server_with_tokens() as server:
        yield server


def copy(
    image: str,
    to: str,
    *tags: str,
    source_login: Credentials | None = None,
    target_login: Credentials | None = None,
    **more: Any,
) -> Copied:
    return registry.copy(
        registry.parse(image),
        registry.parse(to),
        source_login=source_login,
        target_login=target_login,
        tags=tags,
        **more,
    )


def of(image: Pushed) -> str:
    return f"{image.name}@{image.digest}"


# ---- Whole ---------------------------------------------------------------------------------------
def test_every_platform_is_copied_byte_for_byte(source: str, target: str, tmp_path: Path) -> None:
    image = Pusher(source, "team/app").multiarch("1.0")
    done: list[tuple[int, int]] = []
    copied = copy(
        of(image), f"{target}/prod/whole", "1.0", "1",
        progress=lambda now, total: done.append((now, total)),
    )  # fmt: skip
    assert copied.digest == image.digest
    # Two platforms, each with a configuration and a layer of its own, and one that they share.
    assert (copied.manifests, copied.blobs_copied, copied.blobs_skipped) == (3, 5, 0)
    there = pulled(f"{target}/prod/whole:1.0", tmp_path / "target")
    assert there == pulled(f"{source}/team/app:1.0", tmp_path / "source")
    assert set(there) > {digest.partition(":")[2] for digest in image.blobs}
    assert Pusher(target, "prod/whole").get("1")[0] == Pusher(source, "team/app").get("1.0")[0]
    assert done[-1] == (copied.bytes, copied.bytes)
    assert sorted(now for now, _ in done) == [now for now, _ in done], "it never goes back"


def test_an_image_that_a_builder_made_is_copied(source: str, target: str, tmp_path: Path) -> None:
    buildah.push_multiarch(f"{source}/team/built:1", tmp_path / "built")
    copied = copy(f"{source}/team/built:1", f"{target}/prod/built", "1")
    assert copied.digest == registry.digest_of(registry.parse(f"{source}/team/built:1"))
    there = pulled(f"{target}/prod/built:1", tmp_path / "target")
    assert there == pulled(f"{source}/team/built:1", tmp_path / "source")
    gathered = registry.gather(registry.parse(f"{target}/prod/built:1"))
    assert [each.platform for each in gathered.root.children] == ["linux/amd64", "linux/arm64"]


def test_what_is_there_is_skipped(source: str, target: str) -> None:
    pusher = Pusher(source, "team/again")
    image = pusher.multiarch("1.0")
    first = copy(of(image), f"{target}/prod/again", "1.0")
    again = copy(of(image), f"{target}/prod/again", "1.1")
    assert (again.blobs_copied, again.bytes) == (0, 0)
    assert again.blobs_skipped == first.blobs_copied == 5
    assert again.digest == registry.digest_of(registry.parse(f"{target}/prod/again:1.1"))


def test_blobs_are_mounted_within_a_registry(source: str, tmp_path: Path) -> None:
    image = Pusher(source, "team/near").multiarch("1.0")
    with between(source) as served:
        here = served.address
        copied = copy(f"{here}/team/near@{image.digest}", f"{here}/prod/near", "1.0")
    assert (copied.blobs_mounted, copied.blobs_copied, copied.bytes) == (5, 0, 0)
    assert not [each for each in served.asked if each.method == "GET" and "/blobs/" in each.path]
    there = pulled(f"{source}/prod/near:1.0", tmp_path / "target")
    assert there == pulled(f"{source}/team/near:1.0", tmp_path / "source")


def test_the_digest_is_copied_although_its_tag_has_moved(source: str, target: str) -> None:
    pusher = Pusher(source, "team/moved")
    image = pusher.multiarch("1.0")
    pusher.multiarch("1.0")
    copied = copy(f"{source}/team/moved:1.0@{image.digest}", f"{target}/prod/moved", "1.0")
    assert copied.digest == image.digest
    assert registry.digest_of(registry.parse(f"{target}/prod/moved:1.0")) == image.digest


# ---- What refers to it ---------------------------------------------------------------------------
def test_what_refers_to_an_image_comes_along(source: str, target: str) -> None:
    pusher, got = Pusher(source, "team/signed"), Pusher(target, "prod/signed")
    image = pusher.multiarch("1.0")
    sbom = pusher.referrer(image.platforms[PLATFORMS[0]], "application/spdx+json", b"sbom")
    over_sbom = pusher.referrer(sbom, "application/vnd.example.signature", b"over it")
    attested = pusher.referrer(image.digest, "application/vnd.in-toto+json", b"provenance")
    signature = pusher.cosign(image.digest)
    copied = copy(of(image), f"{target}/prod/signed", "1.0")
    assert copied.referrers == 4
    for digest in (sbom, over_sbom, attested, signature):
        assert got.get(digest) == pusher.get(digest)
    hexed = image.digest.replace(":", "-")
    assert got.get(f"{hexed}.sig") == pusher.get(f"{hexed}.sig")
    listed = json.loads(got.get(hexed)[0])["manifests"]
    assert [(each["digest"], each["artifactType"]) for each in listed] == [
        (attested, "application/vnd.in-toto+json")
    ]
    found = registry.gather(registry.parse(f"{target}/prod/signed:1.0")).referring
    assert {each.digest for each in found} == {sbom, over_sbom, attested, signature}


def test_what_others_wrote_about_the_image_at_the_target_stays(source: str, target: str) -> None:
    pusher, got = Pusher(source, "team/both"), Pusher(target, "prod/both")
    image = pusher.multiarch("1.0")
    copy(of(image), f"{target}/prod/both", "1.0")
    theirs = got.referrer(image.digest, "application/vnd.example.scan", b"scanned in production")
    ours = pusher.referrer(image.digest, "application/vnd.example.signature", b"signed later")
    assert copy(of(image), f"{target}/prod/both", "1.0").referrers == 1
    listed = json.loads(got.get(image.digest.replace(":", "-"))[0])["manifests"]
    assert [each["digest"] for each in listed] == [theirs, ours]


def test_a_registry_that_lists_referrers_by_itself_is_asked(source: str, target: str) -> None:
    """Debian's registry cannot, so a server before it answers with what its tag would say."""
    pusher = Pusher(source, "team/listed")
    image = pusher.multiarch("1.0")
    signature = pusher.referrer(image.digest, "application/vnd.example.signature")

    def lists(handler: Handler, asked: Asked) -> bool:
        if "/referrers/" not in asked.path:
            return False
        name, _, digest = asked.path.partition("/referrers/")
        repository = name.removeprefix("/v2/")
        behind = source if repository == "team/listed" else target
        try:
            body, _ = Pusher(behind, repository).get(digest.replace(":", "-"))
        except Exception:
            body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
        answer(handler, 200, body, content_type=INDEX)
        return True

    with between(source, lists) as near, between(target, lists) as far:
        name = f"{near.address}/team/listed@{image.digest}"
        copied = copy(name, f"{far.address}/prod/listed", "1.0")
    got = Pusher(target, "prod/listed")
    assert copied.referrers == 1
    assert got.get(signature) == pusher.get(signature)
    assert not got.has(f"manifests/{image.digest.replace(':', '-')}"), "it needs no tag for that"


def test_what_is_listed_and_was_removed_is_passed_over(source: str, target: str) -> None:
    pusher = Pusher(source, "team/gone")
    image = pusher.multiarch("1.0")
    pusher.remove(pusher.referrer(image.digest, "application/vnd.example.signature"))
    assert copy(of(image), f"{target}/prod/gone", "1.0").referrers == 0


# ---- Logins --------------------------------------------------------------------------------------
def test_each_registry_gets_its_own_login(guarded: str, with_tokens: TokenServer) -> None:
    image = Pusher(guarded, "team/guarded", login=True).multiarch("1.0")
    asked = len(with_tokens.scopes)
    copied = copy(
        of(image), f"{with_tokens.address}/prod/guarded", "1.0",
        source_login=ADA, target_login=ADA,
    )  # fmt: skip
    assert copied.blobs_copied == 5
    assert set(with_tokens.scopes[asked:]) == {"repository:prod/guarded:pull,push"}
    asked = len(with_tokens.scopes)
    back = copy(
        f"{with_tokens.address}/prod/guarded:1.0", f"{guarded}/back/guarded", "1.0",
        source_login=ADA, target_login=ADA,
    )  # fmt: skip
    assert back.digest == image.digest
    assert set(with_tokens.scopes[asked:]) == {"repository:prod/guarded:pull"}, "to read is enough"


def test_a_token_lets_blobs_be_mounted(with_tokens: TokenServer, source: str) -> None:
    image = Pusher(source, "team/tokens").multiarch("1.0")
    here = f"{with_tokens.address}/team/tokens"
    copy(of(image), here, "1.0", target_login=ADA)
    copied = copy(
        f"{here}:1.0", f"{with_tokens.address}/prod/tokens", source_login=ADA, target_login=ADA
    )
    assert copied.blobs_mounted == 5


def test_a_wrong_login_at_the_target_copies_nothing(source: str, guarded: str) -> None:
    image = Pusher(source, "team/refused").multiarch("1.0")
    for who, says in ((None, "wants credentials"), (Credentials(USER, "wrong"), "does not take")):
        with pytest.raises(CredentialsRefused, match=says):
            copy(of(image), f"{guarded}/prod/refused", "1.0", target_login=who)
    assert not Pusher(guarded, "prod/refused", login=True).has(f"manifests/{image.digest}")


# ---- Broken off ----------------------------------------------------------------------------------
def test_a_blob_that_is_cut_off_half_way_is_not_kept(source: str, target: str) -> None:
    image = Pusher(source, "team/cut").multiarch("1.0", size=300_000)
    largest = max(image.blobs, key=lambda digest: image.blobs[digest])
    cut: list[str] = []

    def cuts(handler: Handler, asked: Asked) -> bool:
        if cut or not asked.path.endswith(f"/blobs/{largest}"):
            return False
        cut.append(asked.path)
        handler.send_response(200)
        handler.send_header("Content-Length", str(image.blobs[largest]))
        handler.end_headers()
        handler.wfile.write(b"x" * (image.blobs[largest] // 2))
        handler.close_connection = True
        return True

    got = Pusher(target, "prod/cut")
    with between(source, cuts) as served:
        name = f"{served.address}/team/cut@{image.digest}"
        with pytest.raises(Unreachable):
            copy(name, f"{target}/prod/cut", "1.0")
        assert not got.has(f"blobs/{largest}")
        assert not got.has("manifests/1.0")
        again = copy(name, f"{target}/prod/cut", "1.0")
    assert again.blobs_copied + again.blobs_skipped == 5
    assert again.blobs_copied >= 1
    assert registry.digest_of(registry.parse(f"{target}/prod/cut:1.0")) == image.digest


COPYING = """
import sys, django
django.setup()
from pipelines import registry
source, target = map(registry.parse, sys.argv[1:])
registry.copy(source, target, source_login=None, target_login=None, tags=["1.0"])
"""


def test_a_copy_that_is_killed_is_gone_on_with(source: str, target: str, tmp_path: Path) -> None:
    image = Pusher(source, "team/killed").multiarch("1.0")
    child: list[subprocess.Popen[bytes]] = []
    uploads: list[str] = []

    def kills(handler: Handler, asked: Asked) -> bool:
        if asked.method == "PUT" and "/blobs/uploads/" in asked.path:
            uploads.append(asked.path)
            if len(uploads) == 3:
                child[0].send_signal(signal.SIGKILL)
                handler.close_connection = True
                return True
        return False

    with between(target, kills) as served:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SLUICE_ALLOWED_NETWORKS": "127.0.0.0/8",
            "SLUICE_DATA_DIR": str(tmp_path / "data"),
        }
        argv = [sys.executable, "-c", COPYING, of(image), f"{served.address}/prod/killed"]
        child.append(subprocess.Popen(argv, cwd=ROOT, env=environment))
        assert child[0].wait(timeout=120) == -signal.SIGKILL
    assert not Pusher(target, "prod/killed").has("manifests/1.0"), "no tag names half an image"
    copied = copy(of(image), f"{target}/prod/killed", "1.0")
    assert (copied.blobs_skipped, copied.blobs_copied) == (2, 3)
    there = pulled(f"{target}/prod/killed:1.0", tmp_path / "target")
    assert there == pulled(f"{source}/team/killed:1.0", tmp_path / "source")


class Enough(Exception):
    pass


def test_who_watches_can_end_a_copy(source: str, target: str) -> None:
    image = Pusher(source, "team/ended").multiarch("1.0")

    def watch(done: int, total: int) -> None:
        if done:
            raise Enough

    with pytest.raises(Enough):
        copy(of(image), f"{target}/prod/ended", "1.0", progress=watch)
    assert not Pusher(target, "prod/ended").has("manifests/1.0")


# ---- What is not there ---------------------------------------------------------------------------
def test_an_index_that_lacks_a_platform_is_refused_by_name(source: str, target: str) -> None:
    pusher = Pusher(source, "team/sparse")
    image = pusher.multiarch("1.0")
    pusher.remove(image.platforms["linux/arm64/v8"])
    with pytest.raises(Invalid, match=r"lists linux/arm64/v8 .* which is not there"):
        copy(of(image), f"{target}/prod/sparse", "1.0")
    assert not Pusher(target, "prod/sparse").has("manifests/1.0")


def test_an_image_that_is_not_there_is_not_found(source: str, target: str) -> None:
    Pusher(source, "team/there").multiarch("1.0")
    with pytest.raises(NotFound, match="is not there"):
        copy(f"{source}/team/there@sha256:{'1' * 64}", f"{target}/prod/there", "1.0")


def test_neither_side_leads_inward(source: str, target: str) -> None:
    image = Pusher(source, "team/inward").multiarch("1.0")
    with override_settings(ALLOWED_NETWORKS=()), pytest.raises(DestinationForbidden):
        copy(of(image), f"{target}/prod/inward", "1.0")
    assert not Pusher(target, "prod/inward").has("manifests/1.0")


# ---- Registries that keep their blobs elsewhere --------------------------------------------------
def _sent_on(source: str, elsewhere: str) -> Any:
    def sends_on(handler: Handler, asked: Asked) -> bool:
        if asked.method != "GET" or "/blobs/sha256" not in asked.path:
            return False
        answer(handler, 307, location=f"{elsewhere}{asked.path}?signature=secret")
        return True

    return sends_on


def test_a_blob_is_fetched_from_the_storage_behind_without_the_login(
    guarded: str, source: str, target: str
) -> None:
    image = Pusher(source, "team/behind").multiarch("1.0")
    with between(source) as storage, between(source, _sent_on(source, storage.url)) as served:
        copied = copy(
            f"{served.address}/team/behind@{image.digest}", f"{target}/prod/behind", "1.0",
            source_login=ADA,
        )  # fmt: skip
    assert copied.blobs_copied == 5
    assert len(storage.asked) == 5
    assert not [each for each in storage.asked if "authorization" in each.headers]


def test_a_blob_is_not_fetched_from_inside(source: str, target: str) -> None:
    image = Pusher(source, "team/lured").multiarch("1.0")
    inside = "http://169.254.169.254"
    with between(source, _sent_on(source, inside)) as served, pytest.raises(DestinationForbidden):
        copy(f"{served.address}/team/lured@{image.digest}", f"{target}/prod/lured", "1.0")


# ---- Registries that do not behave ---------------------------------------------------------------
def _blob_of(served: str, digest: str, body: bytes) -> Any:
    def lies(handler: Handler, asked: Asked) -> bool:
        if asked.method == "GET" and asked.path.endswith(f"/blobs/{digest}"):
            answer(handler, 200, body)
            return True
        return False

    return lies


@pytest.mark.parametrize("wrong", ["longer", "shorter", "other"])
def test_a_blob_of_other_bytes_is_never_whole_at_the_target(
    source: str, target: str, wrong: str
) -> None:
    image = Pusher(source, f"team/{wrong}").multiarch("1.0", size=200_000)
    digest, size = max(image.blobs.items(), key=lambda each: each[1])
    body = b"x" * {"longer": size + 1_000_000, "shorter": size - 1, "other": size}[wrong]
    with between(source, _blob_of(source, digest, body)) as served:
        name = f"{served.address}/team/{wrong}@{image.digest}"
        with pytest.raises(Unreachable, match="sent other bytes"):
            copy(name, f"{target}/prod/{wrong}", "1.0")
    got = Pusher(target, f"prod/{wrong}")
    assert not got.has(f"blobs/{digest}")
    assert not got.has("manifests/1.0")


def _made_up(manifests: dict[str, bytes], kind: str = INDEX) -> Any:
    """A registry that has these manifests by digest, and one under the tag 1.0."""

    def respond(handler: Handler, asked: Asked) -> None:
        reference = asked.path.rpartition("/manifests/")[2]
        if "/manifests/" in asked.path and reference in manifests:
            return answer(handler, 200, manifests[reference], content_type=kind)
        return answer(handler, 404)

    return respond


def _index(*listed: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()


def _entry(digest: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": INDEX, "digest": digest, "size": 10, **more}


def test_an_index_that_would_hold_itself_does_not_have_its_digest() -> None:
    digest = "sha256:" + "1" * 64
    circle = _index(_entry(digest))
    with (
        serve(_made_up({"1.0": circle, digest: circle})) as served,
        pytest.raises(Unreachable, match="cannot be relied on"),
    ):
        registry.gather(registry.parse(f"{served.address}/app:1.0"))


def test_lists_within_lists_end_somewhere() -> None:
    manifests, body = {}, _index()
    for _ in range(20):
        manifests[sha256(body)] = body
        body = _index(_entry(sha256(body)))
    with (
        serve(_made_up({**manifests, "1.0": body})) as served,
        pytest.raises(Invalid, match="lists within lists"),
    ):
        registry.gather(registry.parse(f"{served.address}/app:1.0"))


def test_a_list_of_very_many_ends_somewhere() -> None:
    manifests = {}
    for number in range(520):
        body = json.dumps({"mediaType": INDEX, "manifests": [], "x": number}).encode()
        manifests[sha256(body)] = body
    root = _index(*[_entry(digest) for digest in manifests])
    with (
        serve(_made_up({**manifests, "1.0": root})) as served,
        pytest.raises(Invalid, match="more than 500 manifests"),
    ):
        registry.gather(registry.parse(f"{served.address}/app:1.0"))


def test_a_manifest_that_never_ends_is_left() -> None:
    def endless(handler: Handler, asked: Asked) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", INDEX)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")

    with serve(endless) as served, pytest.raises(Unreachable, match="more than 4194304 bytes"):
        registry.gather(registry.parse(f"{served.address}/app:1.0"))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[]", "is no manifest"),
        (b"nothing", "is not JSON"),
        (b'{"mediaType": "application/vnd.docker.distribution.manifest.v1+json"}', "of the form"),
        (b'{"mediaType": ["x"]}', "of the form"),
        (b'{"mediaType": "%s", "layers": [], "manifests": []}' % INDEX.encode(), "two things"),
        (b'{"mediaType": "%s"}' % MANIFEST.encode(), "two things at once"),
        (_index({"digest": "sha256:abc", "size": 1}), "without its SHA-256"),
        (_index({"digest": "sha512:" + "a" * 128, "size": 1}), "without its SHA-256"),
        (_index({"digest": "sha256:" + "a" * 64, "size": -1}), "without its SHA-256"),
        (_index({"digest": "sha256:" + "a" * 64, "size": True}), "without its SHA-256"),
        (_index("sha256:" + "a" * 64), "without its SHA-256"),
        (b'{"mediaType": "%s", "manifests": {}}' % INDEX.encode(), "without its SHA-256"),
    ],
)
def test_what_is_no_manifest_is_refused(body: bytes, says: str) -> None:
    with (
        serve(_made_up({"1.0": body})) as served,
        pytest.raises((Invalid, Unreachable), match=says),
    ):
        registry.gather(registry.parse(f"{served.address}/app:1.0"))


def test_an_upload_is_not_sent_to_another_host(source: str, target: str) -> None:
    image = Pusher(source, "team/away").multiarch("1.0")

    def leads_away(handler: Handler, asked: Asked) -> bool:
        if asked.method == "POST":
            answer(handler, 202, location="http://127.0.0.2:9/upload?state=secret")
            return True
        return False

    with (
        between(target, leads_away) as served,
        pytest.raises(Unreachable, match="uploaded on another host") as refusal,
    ):
        copy(of(image), f"{served.address}/prod/away", "1.0")
    assert "secret" not in refusal.value.detail
    assert not [each for each in served.asked if each.method == "PUT"]


def test_an_address_for_the_upload_may_be_relative(source: str, target: str) -> None:
    image = Pusher(source, "team/relative").multiarch("1.0")

    def shortens(handler: Handler, asked: Asked) -> bool:
        if asked.method != "POST":
            return False
        begun = Pusher(target, "prod/relative").ask("POST", asked.path)
        location = begun.headers["Location"].partition(target)[2]
        answer(handler, 202, location=location)
        return True

    with between(target, shortens) as served:
        assert copy(of(image), f"{served.address}/prod/relative", "1.0").blobs_copied == 5


def test_a_registry_that_takes_nothing_is_quoted(source: str, target: str) -> None:
    image = Pusher(source, "team/full").multiarch("1.0")
    said = b'{"errors": [{"code": "DENIED", "message": "the quota is used up"}]}'

    def is_full(handler: Handler, asked: Asked) -> bool:
        if asked.method == "PUT":
            answer(handler, 413, said)
        return asked.method == "PUT"

    with (
        between(target, is_full) as served,
        pytest.raises(Unreachable, match=r"HTTP 413 \(the quota is used up\)"),
    ):
        copy(of(image), f"{served.address}/prod/full", "1.0")


def test_a_target_that_forgets_is_found_out(source: str, target: str) -> None:
    """The digest is read back: that a registry said yes is not enough."""
    image = Pusher(source, "team/forgets").multiarch("1.0")

    def forgets(handler: Handler, asked: Asked) -> bool:
        if asked.method == "PUT" and asked.path.endswith("/manifests/1.0"):
            answer(handler, 201)
            return True
        return False

    with (
        between(target, forgets) as served,
        pytest.raises(Unreachable, match=r"gives back nothing for 1\.0 right after"),
    ):
        copy(of(image), f"{served.address}/prod/forgets", "1.0")


def test_layers_that_nobody_may_hand_out_stay_where_they_are(source: str, target: str) -> None:
    """Such a layer is named with the address at which everybody fetches it for themselves."""
    pusher = Pusher(source, "team/foreign")
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": "sha256:" + "2" * 64,
        "size": 5,
        "urls": ["https://example.com/layer"],
    }
    image = pusher.image("linux/amd64", [pusher.blob(b"mine"), foreign], "1.0")
    copied = copy(f"{source}/team/foreign:1.0", f"{target}/prod/foreign", "1.0")
    assert (copied.digest, copied.blobs_copied) == (image["digest"], 2)
