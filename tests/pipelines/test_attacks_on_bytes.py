"""What strangers send so that Sluice waits for ever or fills its memory."""

import gzip
import io
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.signing import TimestampSigner
from django.test import override_settings

from pipelines import (
    artifacts,
    blobs,
    buckets,
    contents,
    links,
    outbound,
    previews,
    receiving,
    registry,
    unseen,
)
from pipelines.archives import Archive, Listing, Member, look
from pipelines.connections import Opened
from pipelines.errors import Invalid, LinkNotGenuine, StorageSilent, TooLarge, Unreachable
from pipelines.receiving import Announced
from pipelines.templatetags.contents import told
from tests.cast import Site, external_run
from tests.parts.web import Asked, Handler, answer, serve
from tests.pipelines import hostile
from tests.pipelines.stored import Folder
from tests.world import refused

PLACE = artifacts.Place("build", "build", "upload")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(autouse=True)
def loopback_is_open() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)):
        yield


# ---- Uploads and links ---------------------------------------------------------------------------
@pytest.mark.django_db
def test_an_upload_of_more_parts_than_can_be_told_is_refused(site: Site, settings: Any) -> None:
    """Each missing part is named in the answer: a request of a megabyte asked for gigabytes."""
    run = external_run(site.cast.ada, site.pipeline)
    size = settings.MAX_UPLOAD_BYTES
    files = [Announced(f"file-{number}", size) for number in range(1000)]
    refused(TooLarge, lambda: receiving.create(run, PLACE, "app", files, by=site.cast.ada))
    settings.UPLOAD_PART_BYTES = 10
    most = [Announced(f"file-{number}", 100) for number in range(receiving.MOST_PARTS_IN_ALL // 10)]
    one_more = [*most, Announced("one-more", 1)]
    refused(TooLarge, lambda: receiving.create(run, PLACE, "app", one_more, by=site.cast.ada))
    receiving.create(run, PLACE, "app", most, by=site.cast.ada)


def test_a_signature_does_not_bring_along_the_end_of_another_path() -> None:
    """A signed name may have a colon in it, as the form of a signature has."""
    long = "/api/v1/artifacts/1/files/app:1.0"
    signature = TimestampSigner(salt="sluice.download").sign(long)[len(long) + 1 :]
    links.require_signed(long, signature)
    with pytest.raises(LinkNotGenuine):
        links.require_signed("/api/v1/artifacts/1/files/app", f"1.0:{signature}")


@pytest.mark.django_db
def test_bytes_without_end_in_the_place_of_a_blob_are_not_read_to_their_end() -> None:
    """A terabyte of zeros, which takes no room, in whose place somebody else's bucket may lie."""
    blob = blobs.keep_bytes([os.urandom(100)])
    path = Folder.top / blob.storage_name
    os.truncate(path, 2**40)
    pieces = []
    assert not blobs.reads_true(blob, meanwhile=lambda: pieces.append(1))
    assert pieces == []


# ---- Looking into files --------------------------------------------------------------------------
def test_listings_of_long_names_weigh_as_much_as_they_take() -> None:
    """A few kilobytes become megabytes of names, and so many listings as had few members stayed."""
    plain = Listing("tar", tuple(Member(f"bin/tool-{nth}", 1) for nth in range(1000)), 1000, 1000)
    assert contents.weight_of(plain) <= 1200
    long = Listing("tar", tuple(Member("n" * 4094 + "\U0001f600", 1) for _ in range(1000)), 1000, 0)
    kept: contents.Kept[Listing] = contents.Kept(contents.KEPT_MEMBERS)
    for nth in range(20):
        kept.put(nth, long, contents.weight_of(long))
    held = sum(kept.get(nth) is not None for nth in range(20))
    assert held * 1000 * 4 * 4095 < 64 * 1024**2


def test_a_text_of_unseen_characters_is_no_page_a_hundred_times_as_long() -> None:
    data = (b"\x1b" * 999 + b"\n") * 1000
    shown = previews.preview(data, is_whole=True)
    assert shown is not None
    assert not shown.is_whole
    assert sum(len(told(line.spans)) for line in shown.lines) < 4 * previews.SHOWN_BYTES


def test_a_name_of_unseen_characters_is_told_whole_without_a_mark_for_each() -> None:
    packed = gzip.compress(hostile.tar({"\u202e" * 80 + "<b>.txt": b""}))
    (member,) = look(Archive(io.BytesIO(packed), len(packed))).members
    spans = unseen.spans(member.path)
    assert sum(bool(span.name) for span in spans) == unseen.MOST_MARKED
    assert "".join(span.text for span in spans) == "U+202E" * 80 + "<b>.txt"
    assert "&lt;b&gt;.txt" in told(spans)
    assert not any(unseen.has_unseen(span.text) for span in spans)


# ---- Registries ----------------------------------------------------------------------------------
def drip(handler: Handler, asked: Asked) -> None:
    """An answer of which a byte comes now and then, sooner than anybody thinks it has stopped."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def test_a_registry_whose_answer_drips_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without one for the whole question it would go on until the test is killed."""
    monkeypatch.setattr(outbound, "SECONDS", 0.4)

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.method == "HEAD":
            answer(handler, 405)
        else:
            drip(handler, asked)

    with serve(respond) as served, pytest.raises(Unreachable, match=r"within 0\.4 s"):
        registry.digest_of(registry.parse(f"{served.address}/app:1"))


def test_a_configuration_that_drips_from_elsewhere_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbound, "SECONDS", 0.4)
    config = {"digest": "sha256:" + "0" * 64, "size": 100}
    body = json.dumps({"mediaType": MANIFEST, "config": config, "layers": []}).encode()
    with serve(drip) as elsewhere:

        def respond(handler: Handler, asked: Asked) -> None:
            if "/blobs/" in asked.path:
                answer(handler, 307, location=f"{elsewhere.url}/config")
            else:
                answer(handler, 200, body, content_type=MANIFEST)

        with serve(respond) as served:
            image = registry.parse(f"{served.address}/app:1")
            with pytest.raises(Unreachable, match=r"within 0\.4 s"):
                registry.platform_of(image, registry.manifest_of(image), None)


def test_a_list_of_empty_pages_without_end_is_left() -> None:
    """It never has too many tags, and never ends."""
    body = json.dumps({"tags": []}).encode()

    def endless(handler: Handler, asked: Asked) -> None:
        more = f"/v2/app/tags/list?last={len(served.asked)}"
        answer(handler, 200, body, link=f'<{more}>; rel="next"')

    with serve(endless) as served, pytest.raises(Invalid, match="more than 10000 tags"):
        registry.tags(registry.parse(f"{served.address}/app"))
    assert len(served.asked) <= 200


@pytest.mark.parametrize("pages", ["one", "many"])
def test_a_list_of_signatures_that_are_not_there_is_not_asked_for_one_by_one(pages: str) -> None:
    body = json.dumps({"mediaType": MANIFEST, "config": {}, "layers": []}).encode()

    def respond(handler: Handler, asked: Asked) -> None:
        if "/referrers/" in asked.path:
            listed = [{"digest": f"sha256:{os.urandom(32).hex()}", "size": 1} for _ in range(400)]
            listed *= 1 if pages == "many" else 2
            found = json.dumps({"mediaType": INDEX, "manifests": listed}).encode()
            link = {"link": f"<{asked.path}x>; rel=next"} if pages == "many" else {}
            answer(handler, 200, found, content_type=INDEX, **link)
        elif asked.path.endswith("/manifests/1"):
            answer(handler, 200, body, content_type=MANIFEST)
        else:
            answer(handler, 404)

    with serve(respond) as served, pytest.raises(Invalid, match="more"):
        registry.gather(registry.parse(f"{served.address}/app:1"))
    assert len(served.asked) < 10


# ---- Buckets -------------------------------------------------------------------------------------
def bucket(address: str) -> Any:
    settings = {"access_key": "key", "bucket": "releases"}
    return buckets.bucket_of(Opened("bucket", "s3", address, settings, {"secret_key": "secret"}))


def test_a_bucket_whose_answer_does_not_end_fills_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buckets, "MOST_SAID", 256 * 1024)

    def endless(handler: Handler, asked: Asked) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n")
        for _ in range(2048):
            handler.wfile.write(b" " * 64 * 1024)
        handler.close_connection = True

    with serve(endless) as served:
        storage = bucket(served.address)
        tracemalloc.start()
        try:
            with pytest.raises(StorageSilent, match="more than 262144 bytes"):
                storage.check()
            assert tracemalloc.get_traced_memory()[1] < 32 * 1024**2
        finally:
            tracemalloc.stop()


def test_a_bucket_whose_answer_drips_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buckets, "SAID_SECONDS", 0.4)
    with serve(drip) as served, pytest.raises(StorageSilent, match=r"within 0\.4 s"):
        bucket(served.address).check()
