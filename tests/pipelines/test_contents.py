"""What is inside stored files, on pages and over the API."""

import codecs
import tarfile
import threading
import time
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from pipelines import archives, contents, previews, unseen
from pipelines.archives.nouns import Bounds
from pipelines.errors import Busy, BytesGone, Invalid, NotFound
from pipelines.models import Artifact, Blob, BlobState
from pipelines.web import trees
from promotion import retention
from promotion.keeping import Rules
from tests.api.caller import Api, token_for
from tests.cast import Site, make_artifact
from tests.pipelines import hostile
from tests.world import nothing_changes, refused

pytestmark = pytest.mark.django_db(transaction=True)

EVIL = b"<script>alert(1)</script>\n<svg onload=alert(2)>\n"
FILES = {
    "app.tar.gz": hostile.tar({"bin/run": b"#!/bin/sh\n", "doc/evil.html": EVIL}, "w:gz"),
    "lib/app.jar": hostile.zipped({"META-INF/MANIFEST.MF": b"Main-Class: App\n"}),
    "readme.txt": b"one\ntwo\n",
    "page.html": EVIL,
    "blob.bin": b"\x00\x01\x02",
    "empty": b"",
}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of another test."""
    monkeypatch.setattr(contents, "_listings", contents.Kept(contents.KEPT_MEMBERS))
    monkeypatch.setattr(contents, "_sniffs", contents.Kept(contents.KEPT_SNIFFS))
    monkeypatch.setattr(contents, "_for_now", contents.Kept(contents.MOST_FOR_NOW))


@pytest.fixture
def made(site: Site) -> Artifact:
    return make_artifact(site.cast.ada, site.pipeline, FILES)


@pytest.fixture
def client(site: Site) -> Client:
    client = Client()
    client.force_login(site.cast.dora)
    return client


@pytest.fixture
def api(site: Site) -> Api:
    return Api(token_for(site.cast.dora))


def listed(blob: Blob, by: User) -> archives.Listing:
    return contents.look_into(blob, "app.tar.gz", by=by)


def blob_of(artifact: Artifact, path: str) -> Blob:
    return artifact.files.select_related("blob").get(path=path).blob


def page(client: Client, address: str, status: int = 200) -> str:
    with nothing_changes():
        answer = client.get(address)
    assert answer.status_code == status, answer.content.decode()
    return str(answer.content.decode())


def file_address(artifact: Artifact, path: str) -> str:
    return reverse("pipelines:artifact_file", args=[artifact.pk, path])


# ---- Texts -------------------------------------------------------------------------------------
def shown(data: bytes, *, is_whole: bool = True) -> previews.Preview:
    found = previews.preview(data, is_whole=is_whole)
    assert found is not None
    return found


def texts(preview: previews.Preview) -> list[str]:
    return ["".join(span.text for span in line.spans) for line in preview.lines]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("é\r\nb\rc\n".encode(), "UTF-8"),
        ("é\r\nb\rc\n".encode("utf-8-sig"), "UTF-8"),
        (codecs.BOM_UTF16_LE + "é\r\nb\rc\n".encode("utf-16-le"), "UTF-16"),
        (codecs.BOM_UTF16_BE + "é\r\nb\rc\n".encode("utf-16-be"), "UTF-16"),
    ],
)
def test_a_text_is_shown_line_by_line(data: bytes, encoding: str) -> None:
    found = shown(data)
    assert (texts(found), found.encoding) == (["é", "b", "c"], encoding)
    assert (found.is_whole, found.lines_in_all) == (True, 3)


@pytest.mark.parametrize(
    "data",
    [b"\x00", b"a\x00b", b"\xff\xfe\xff", b"\xe9t\xe9", b"\xed\xa0\x80", "a".encode("utf-32"),
     codecs.BOM_UTF16_LE + b"\x00\xd8"],
)  # fmt: skip
def test_what_is_no_text_is_not_shown(data: bytes) -> None:
    assert previews.preview(data, is_whole=True) is None


def test_a_character_that_is_cut_through_at_the_end_of_what_was_read_is_no_fault() -> None:
    assert texts(shown("aé".encode()[:-1], is_whole=False)) == ["a"]
    assert previews.preview("aé".encode()[:-1], is_whole=True) is None


def test_only_the_beginning_is_shown_and_says_of_what() -> None:
    found = shown(b"x\n" * 5000)
    assert (len(found.lines), found.lines_in_all, found.is_whole) == (2000, 5000, False)
    found = shown(b"x" * 999 + b"\n" * 1 + b"y" * 3000 + b"\n")
    assert [line.left_out for line in found.lines] == [0, 2000]
    found = shown((b"z" * 700 + b"\n") * 1000)
    assert previews.SHOWN_BYTES <= found.shown_bytes < previews.SHOWN_BYTES + 800
    assert shown(b"x\n", is_whole=False).lines_in_all is None


def test_what_cannot_be_seen_is_told_by_its_code() -> None:
    found = unseen.spans("if a\u202e{\u2066\tb\u200b\x1b[0m", unseen.IN_TEXT)
    told = [(span.text, span.name) for span in found if span.name]
    assert told == [
        ("U+202E", "RIGHT-TO-LEFT OVERRIDE"),
        ("U+2066", "LEFT-TO-RIGHT ISOLATE"),
        ("U+200B", "ZERO WIDTH SPACE"),
        ("ESC", "control character"),
    ]
    assert unseen.spelt("a\u202eb\n") == "aU+202EbU+000A"
    assert not unseen.has_unseen("naïve 👩‍👩‍👧 می‌خواهم")


# ---- Trees -------------------------------------------------------------------------------------
def outline(folder: trees.Folder) -> Any:
    return {inner.name: outline(inner) for inner in folder.folders} | {
        leaf.name: leaf.entry.size for leaf in folder.leaves
    }


def test_paths_become_a_tree_whose_single_folders_are_joined() -> None:
    paths = ["a/b/c/x", "a/b/c/y", "a/z", "/etc/passwd", "../up", "top", "d/e/f"]
    top = trees.tree(trees.Entry(path, size=1) for path in paths)
    assert outline(top) == {
        "a": {"b/c": {"x": 1, "y": 1}, "z": 1},
        "/etc": {"passwd": 1},
        "..": {"up": 1},
        "d/e": {"f": 1},
        "top": 1,
    }
    assert (top.count, top.size) == (7, 7)
    assert (top.folders[0].count, top.folders[0].size) == (3, 3)


def test_a_tree_is_no_deeper_than_a_page_can_be() -> None:
    top = trees.tree([trees.Entry("a/" * 3000 + "b"), trees.Entry("a/" * 5 + "c")])
    depth, folder = 0, top
    while folder.folders:
        depth, folder = depth + 1, folder.folders[0]
    assert depth <= trees.DEEPEST


# ---- What a file is ----------------------------------------------------------------------------
def test_a_file_is_told_by_its_bytes_and_not_by_its_name(site: Site) -> None:
    artifact = make_artifact(
        site.cast.ada,
        site.pipeline,
        {"lies.txt": FILES["lib/app.jar"], "lies.zip": b"text\n", "run.sh": b"#!/bin/sh\n",
         "boot": b"#!/bin/sh\n" + FILES["lib/app.jar"], "nothing": b"\x00"},
    )  # fmt: skip
    found = {file.path: contents.sniff(file.blob) for file in artifact.files.all()}
    assert found == {
        "lies.txt": "archive", "lies.zip": "text", "run.sh": "text", "boot": "archive",
        "nothing": "",
    }  # fmt: skip


def test_a_listing_is_made_once_and_kept(
    site: Site, made: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = blob_of(made, "app.tar.gz")
    first = listed(blob, site.cast.ada)
    monkeypatch.setattr(archives, "look", lambda *_: pytest.fail("it was looked into again"))
    assert listed(blob, site.cast.dora) is first


def test_what_is_kept_is_bounded() -> None:
    kept: contents.Kept[str] = contents.Kept(10)
    for key in range(6):
        kept.put(key, f"answer {key}", weight=3)
    assert [kept.get(key) for key in range(6)] == [None] * 3 + [f"answer {n}" for n in (3, 4, 5)]
    kept.put("huge", "answer", weight=11)
    assert kept.get("huge") is None


def test_only_a_few_look_at_once(
    site: Site, made: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_turns", contents.Turns(1))
    monkeypatch.setattr(contents, "PATIENCE", 0.01)
    blob = blob_of(made, "app.tar.gz")
    with contents._look(blob, site.cast.ada):
        refused(Busy, lambda: listed(blob, site.cast.dora))
    assert listed(blob, site.cast.dora).count == 2


def test_nobody_keeps_all_others_waiting(
    site: Site, made: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_turns", contents.Turns(2))
    monkeypatch.setattr(contents, "PATIENCE", 0.01)
    blob = blob_of(made, "app.tar.gz")
    with contents._look(blob, site.cast.ada):
        refused(Busy, lambda: listed(blob, site.cast.ada))
        assert listed(blob, site.cast.dora).count == 2


def test_of_one_person_one_look_waits_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, monotonic = contents.Turns(2), time.monotonic
    done = threading.Event()

    def wait_and_look() -> None:
        with turns.turn("ada"):
            done.set()

    waiting = threading.Thread(target=wait_and_look)
    with turns.turn("ada"):
        waiting.start()
        patience = monotonic() + 30
        while "ada" not in turns._waiting:
            assert monotonic() < patience
        with pytest.raises(Busy, match="of yours is waiting"), turns.turn("ada"):
            pytest.fail("a third look of one person")
        assert not done.is_set()
    waiting.join(30)
    assert done.is_set()
    with turns.turn("ada"):
        pass


def test_a_refusal_stands_for_a_while(
    site: Site, made: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = blob_of(made, "readme.txt")
    first = refused(Invalid, lambda: listed(blob, site.cast.ada))
    with monkeypatch.context() as patch:
        patch.setattr(archives, "look", lambda *_: pytest.fail("it was looked into again"))
        assert refused(Invalid, lambda: listed(blob, site.cast.dora)).detail == first.detail
    monkeypatch.setattr(contents, "KEPT_FOR_NOW", 0.0)
    monkeypatch.setattr(contents, "_for_now", contents.Kept(10))
    refused(Invalid, lambda: listed(blob, site.cast.ada))
    monkeypatch.setattr(archives, "look", lambda *_: archives.Listing("tar", (), 0, 0))
    assert listed(blob, site.cast.ada).kind == "tar"


def test_a_listing_that_time_has_cut_short_is_nobodys_for_good(
    site: Site, made: Artifact, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, blob = f"artifacts/{made.pk}/contents/?path=app.tar.gz", blob_of(made, "app.tar.gz")
    look = archives.look

    def hurried(archive: archives.Archive) -> archives.Listing:
        return look(archive, Bounds(seconds=-1.0))

    with monkeypatch.context() as patch:
        patch.setattr(archives, "look", hurried)
        cut = api.get(path)
    assert cut.json["truncated"]
    assert cut.headers["ETag"] != contents.tag(blob)
    assert listed(blob, site.cast.ada).is_hurried, "it stands for a while"
    assert api.get(path, If_None_Match=contents.tag(blob), expect=304)
    monkeypatch.setattr(contents, "_for_now", contents.Kept(10))
    whole = api.get(path)
    assert (whole.json["truncated"], whole.json["count"]) == (False, 2)
    assert whole.headers["ETag"] == contents.tag(blob)


def test_bytes_that_are_gone_are_told_of(site: Site, made: Artifact) -> None:
    blob = blob_of(made, "readme.txt")
    blob.state = BlobState.REMOVED
    refused(BytesGone, lambda: contents.read_text(blob))
    lost = blob_of(made, "app.tar.gz")
    file = settings.DATA_DIR / "blobs" / lost.storage_name
    whole = file.read_bytes()
    file.unlink()
    try:
        refused(NotFound, lambda: listed(lost, site.cast.ada))
    finally:
        file.write_bytes(whole)


# ---- Pages -------------------------------------------------------------------------------------
def test_the_files_of_an_artifact_are_a_tree_with_what_can_be_done(
    made: Artifact, client: Client
) -> None:
    text = page(client, reverse("pipelines:artifact", args=[made.pk]))
    for path, act in {
        "app.tar.gz": "Look inside",
        "lib/app.jar": "Look inside",
        "readme.txt": "Preview",
        "page.html": "Preview",
        "empty": "Preview",
    }.items():
        assert f'href="{file_address(made, path)}"' in text
        assert f'aria-label="{act}: {path}"' in text
    assert f'href="{file_address(made, "blob.bin")}"' not in text
    assert f'href="{reverse("api:artifact-file", args=[made.pk, "blob.bin"])}"' in text


def test_files_are_filtered_without_a_script(made: Artifact, client: Client) -> None:
    address = reverse("pipelines:artifact", args=[made.pk])
    text = page(client, f"{address}?files=JAR")
    assert "lib/app.jar" in text
    assert "readme.txt" not in text
    assert "No path is like that" in page(client, f"{address}?files=nothing-like-it")


def test_many_files_come_page_by_page(site: Site, client: Client) -> None:
    artifact = make_artifact(
        site.cast.ada, site.pipeline, {f"f{n:03}.txt": b"x" for n in range(201)}
    )
    address = reverse("pipelines:artifact", args=[artifact.pk])
    first, second = page(client, address), page(client, f"{address}?page=2")
    assert ("f199.txt" in first, "f200.txt" in first) == (True, False)
    assert ("f199.txt" in second, "f200.txt" in second) == (False, True)
    assert "?page=2" in first


def test_an_archive_is_shown_as_a_tree_and_its_members_read(made: Artifact, client: Client) -> None:
    address = file_address(made, "app.tar.gz")
    text = page(client, address)
    assert "tar.gz, 2 members" in text
    assert 'aria-label="Preview: bin/run"' in text
    member = page(client, f"{address}?member=1")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in member
    assert "<script>alert" not in member
    assert "doc/evil.html" in member
    filtered = page(client, f"{address}?files=evil")
    assert "bin/run" not in filtered


def test_a_text_is_shown_and_never_becomes_a_page(made: Artifact, client: Client) -> None:
    text = page(client, file_address(made, "page.html"))
    assert "&lt;svg onload=alert(2)&gt;" in text
    assert "<svg onload" not in text
    assert "The file is empty." in page(client, file_address(made, "empty"))
    assert "neither text nor an archive" in page(client, file_address(made, "blob.bin"))


def test_a_long_text_says_how_much_of_it_is_shown(site: Site, client: Client) -> None:
    artifact = make_artifact(site.cast.ada, site.pipeline, {"long.log": b"line\n" * 3000})
    text = " ".join(page(client, file_address(artifact, "long.log")).split())
    assert "Showing the first 2000 of 3000 lines, 9.8 KiB of 14.6 KiB" in text
    assert ('id="L-2000"' in text, 'id="L-2001"' in text) == (True, False)


def test_hidden_characters_are_shown_by_their_codes(site: Site, client: Client) -> None:
    evil = "if admin\u202e {\u2066 // only\n".encode()
    data = hostile.tar({"invoice\u202efdp.exe": evil})
    artifact = make_artifact(site.cast.ada, site.pipeline, {"a.tar": data, "b.c": evil})
    for address in ("a.tar", "a.tar?member=0", "b.c"):
        name, _, query = address.partition("?")
        text = page(client, f"{file_address(artifact, name)}?{query}")
        assert "\u202e" not in text
        assert "\u2066" not in text
        assert 'title="RIGHT-TO-LEFT OVERRIDE">U+202E</mark>' in text


def test_dangerous_members_are_marked_and_never_followed(site: Site, client: Client) -> None:
    data = hostile.tar_of(
        [
            ("../../etc/cron", tarfile.REGTYPE, ""),
            ("key", tarfile.SYMTYPE, "/etc/passwd"),
            ("null", tarfile.CHRTYPE, ""),
        ]
    )
    artifact = make_artifact(site.cast.ada, site.pipeline, {"a.tar": data})
    address = file_address(artifact, "a.tar")
    text = page(client, address)
    assert "leads outside" in text
    assert "link to /etc/passwd" in text
    assert "device" in text
    assert "could do harm" in text
    answer = page(client, f"{address}?member=1", status=422)
    assert "never followed" in answer
    assert "root:" not in answer


def test_a_bomb_is_refused_on_a_page_that_says_why(site: Site, client: Client) -> None:
    data = hostile.gzip_of_zeros(80 * 1024**2)
    artifact = make_artifact(site.cast.ada, site.pipeline, {"bomb.tgz": data})
    text = page(client, file_address(artifact, "bomb.tgz"), status=422)
    assert "unpacks to more than 500 times" in text


@pytest.mark.parametrize("member", ["x", "-1", "99999999999", "²", "1.0"])
def test_what_names_no_member_is_not_found(made: Artifact, client: Client, member: str) -> None:
    page(client, f"{file_address(made, 'app.tar.gz')}?member={member}", status=404)


def test_files_of_another_artifact_are_not_found(
    site: Site, made: Artifact, client: Client
) -> None:
    other = make_artifact(site.cast.ada, site.pipeline, {"other.txt": b"other"})
    page(client, file_address(made, "other.txt"), status=404)
    page(client, file_address(made, "../other.txt"), status=404)
    page(client, file_address(other, "other.txt"))


def test_whoever_has_no_role_sees_nothing_of_it(site: Site, made: Artifact) -> None:
    client = Client()
    client.force_login(site.cast.mallory)
    page(client, file_address(made, "readme.txt"), status=403)


def test_a_version_shows_its_files_alike(site: Site, client: Client) -> None:
    version = site.publish("1.0.0", files=FILES)
    names = ["apps", "app", "1.0.0"]
    text = page(client, reverse("promotion:version", args=names))
    inside = reverse("promotion:version_file", args=[*names, "lib/app.jar"])
    assert f'href="{inside}"' in text
    download = reverse("api:version-file", args=[*names, "lib/app.jar"])
    assert f'href="{download}"' in text
    text = page(client, inside)
    assert "jar, 1 member" in text
    assert f'href="{download}"' in text
    page(client, reverse("promotion:version_file", args=[*names, "none"]), status=404)
    assert version.files.count() == len(FILES)


# ---- The API -----------------------------------------------------------------------------------
def test_the_api_lists_the_files_and_what_is_in_an_archive(made: Artifact, api: Api) -> None:
    path = f"artifacts/{made.pk}/contents/"
    top = api.get(path).json
    assert (top["kind"], top["count"]) == ("files", len(FILES))
    assert {each["path"]: each["size"] for each in top["members"]} == {
        name: len(data) for name, data in FILES.items()
    }
    inner = api.get(f"{path}?path=app.tar.gz").json
    assert (inner["path"], inner["kind"], inner["truncated"], inner["warnings"]) == (
        "app.tar.gz", "tar.gz", False, [],
    )  # fmt: skip
    assert inner["members"][0] == {
        "path": "bin/run", "size": 10, "kind": "file", "link_target": None, "mode": "0644",
        "executable": False, "danger": None, "sha256": None,
    }  # fmt: skip


def test_the_api_lists_a_version_alike(site: Site, api: Api) -> None:
    site.publish("1.0.0", files=FILES)
    path = "repositories/apps/packages/app/versions/1.0.0/contents/"
    assert api.get(path).json["count"] == len(FILES)
    assert api.get(f"{path}?path=lib/app.jar").json["kind"] == "jar"


def test_nothing_is_looked_into_whose_bytes_are_no_longer_kept(
    site: Site, made: Artifact, api: Api, client: Client
) -> None:
    site.publish("1.0.0", files=FILES)
    site.publish("2.0.0")
    rules = Rules(newest=1, placed_days=0)
    retention.set_rules(site.repository, rules, by=site.cast.admin)
    assert retention.retain() == 1
    version = "repositories/apps/packages/app/versions/1.0.0/contents/"
    assert api.get(version).json["count"] == len(FILES)
    # Another artifact still has the same bytes.
    assert api.get(f"artifacts/{made.pk}/contents/?path=app.tar.gz").json["count"] == 2
    api.refused("GET", f"{version}?path=app.tar.gz", status=410, code="pruned")
    names = ["apps", "app", "1.0.0", "app.tar.gz"]
    page(client, reverse("promotion:version_file", args=names), status=410)
    Artifact.objects.filter(pk=made.pk).update(pruned_at=timezone.now())
    api.refused(
        "GET", f"artifacts/{made.pk}/contents/?path=app.tar.gz", status=410, code="bytes_gone"
    )
    page(client, file_address(made, "app.tar.gz"), status=410)


def test_whoever_has_the_listing_already_costs_no_look(
    made: Artifact, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"artifacts/{made.pk}/contents/?path=app.tar.gz"
    tag = api.get(path).headers["ETag"]
    assert blob_of(made, "app.tar.gz").sha256[:40] in tag
    monkeypatch.setattr(contents, "look_into", lambda *_, **__: pytest.fail("one more look"))
    answer = api.get(path, If_None_Match=tag, expect=304)
    assert (answer.content, answer.headers["ETag"]) == (b"", tag)


def test_the_api_refuses_what_cannot_be_listed(site: Site, made: Artifact, api: Api) -> None:
    path = f"artifacts/{made.pk}/contents/"
    api.refused("GET", f"{path}?path=readme.txt", status=422, code="invalid")
    api.refused("GET", f"{path}?path=none", status=404, code="not_found")
    api.refused("GET", f"{path}?member=1", status=400, code="unknown_field")
    bomb = make_artifact(site.cast.ada, site.pipeline, {"b": hostile.gzip_of_zeros(80 * 1024**2)})
    api.refused("GET", f"artifacts/{bomb.pk}/contents/?path=b", status=422, code="invalid")


def test_the_api_marks_members_that_lead_outside(site: Site, api: Api) -> None:
    data = hostile.tar_of([("../up", tarfile.REGTYPE, ""), ("l", tarfile.SYMTYPE, "/etc/passwd")])
    artifact = make_artifact(site.cast.ada, site.pipeline, {"a.tar": data})
    members = api.get(f"artifacts/{artifact.pk}/contents/?path=a.tar").json["members"]
    assert [(each["danger"], each["link_target"]) for each in members] == [
        ("leads outside", None),
        ("leads outside", "/etc/passwd"),
    ]


def test_a_million_members_are_no_more_than_the_api_answers(site: Site, api: Api) -> None:
    data = hostile.zip_of_members(1_000_000)
    artifact = make_artifact(site.cast.ada, site.pipeline, {"many.zip": data})
    found = api.get(f"artifacts/{artifact.pk}/contents/?path=many.zip").json
    assert found["truncated"]
    assert len(found["members"]) <= 10_000
    assert found["count"] <= 100_000
    with pytest.raises(Invalid):
        contents.read_member(blob_of(artifact, "many.zip"), "many.zip", 10_000, by=site.cast.ada)
