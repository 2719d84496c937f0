"""Bundles and zips: the same bytes each time, read from anywhere, and understood by every tool."""

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipelines import blobs, bundles
from pipelines.artifacts import NamedBlob, members
from pipelines.bundles import Member, Recipe
from pipelines.collecting import collect
from pipelines.errors import BytesGone
from pipelines.models import Blob, BlobState
from tests.world import stored_files

NAMES = {
    "plain.txt": b"plain",
    "empty": b"",
    "folder/of/block": os.urandom(512),
    "folder/more": os.urandom(70_000),
    "x" * 100: b"as long as a plain header has room for",
    "y" * 101: b"longer than that",
    "/".join(["long" * 20] * 3): os.urandom(1025),
    "ünï/文件": b"named in letters of many countries",
    "several blocks": os.urandom(3 * 65_535),
}


class Shelf:
    """Bytes by digest, in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.bytes = {hashlib.sha256(data).hexdigest(): data for data in files.values()}
        self.members = [
            Member(path, hashlib.sha256(data).hexdigest(), len(data), path == "plain.txt")
            for path, data in files.items()
        ]

    def open(self, member: Member) -> io.BytesIO:
        return io.BytesIO(self.bytes[member.sha256])

    def bundle(self) -> tuple[bytes, Recipe]:
        with bundles.SummedTar(self.members, self.open) as tar:
            data = b"".join(bundles.compose_bundle(tar))
        return data, Recipe(bundles.in_order(self.members), tar.crc32)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(NAMES)


def said(*arguments: str) -> str:
    return subprocess.run(
        arguments,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout


# ---- tar.gz --------------------------------------------------------------------------------------
def test_gnu_tar_and_gzip_understand_a_bundle(shelf: Shelf, tmp_path: Path) -> None:
    file, folder = tmp_path / "app.tgz", tmp_path / "out"
    data, _ = shelf.bundle()
    file.write_bytes(data)
    folder.mkdir()
    said("gzip", "--test", str(file))
    listed = said("tar", "--list", "--file", str(file), "--quoting-style=literal").splitlines()
    assert listed == sorted(NAMES)
    said("tar", "--extract", "--file", str(file), "--directory", str(folder))
    assert {path: (folder / path).read_bytes() for path in NAMES} == NAMES
    assert os.access(folder / "plain.txt", os.X_OK)
    assert (folder / "empty").stat().st_mode & 0o777 == 0o644


def test_a_bundle_holds_the_tar_that_python_writes(shelf: Shelf) -> None:
    data, _ = shelf.bundle()
    assert len(data) == bundles.bundle_size(shelf.members)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in bundles.in_order(shelf.members):
            info = tarfile.TarInfo(member.path)
            info.size, info.mode = member.size, member.mode
            archive.addfile(info, shelf.open(member))
    assert gzip.decompress(data) == target.getvalue()


@pytest.mark.parametrize("size", [0, 1, 65_535 - 1024, 65_535 * 3, 65_536 * 2 - 512])
def test_blocks_end_where_they_say_whatever_the_size(size: int) -> None:
    shelf = Shelf({"file": os.urandom(size)})
    data, recipe = shelf.bundle()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        assert archive.getmember("file").size == size
    with bundles.open_bundle(recipe, shelf.open) as stream:
        assert stream.read() == data


def test_any_part_of_a_bundle_is_read_without_what_comes_before(shelf: Shelf) -> None:
    data, recipe = shelf.bundle()
    # As it comes out of the database.
    recipe = Recipe.read(json.loads(json.dumps(recipe.as_json())))
    chance = random.Random(5)
    with bundles.open_bundle(recipe, shelf.open) as stream:
        for _ in range(300):
            start, length = chance.randrange(len(data) + 9), chance.randrange(150_000)
            stream.seek(start)
            assert stream.read(length) == data[start : start + length]
        stream.seek(-8, os.SEEK_END)
        assert stream.read() == data[-8:]


def test_a_member_of_nine_gibibytes_has_a_header_that_tar_reads(tmp_path: Path) -> None:
    size = 9 * 2**30
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(size)
    huge = Member("huge", "0" * 64, size)
    recipe = Recipe((huge, Member("zz", "1" * 64, 0)), 0)
    with bundles.open_bundle(recipe, lambda member: sparse.open("rb")) as stream:
        stream.seek(len(bundles.GZIP_HEADER) + bundles.BLOCK_HEADER.size)
        assert tarfile.TarInfo.frombuf(stream.read(512), "utf-8", "strict").size == size
        assert bundles.bundle_size(recipe.members) == stream.seek(0, os.SEEK_END)
        # Its last bytes and the header behind it are where the length says.
        blocks = (512 + size) // bundles.BLOCK + 1
        stream.seek(len(bundles.GZIP_HEADER) + 512 + size + blocks * bundles.BLOCK_HEADER.size)
        assert tarfile.TarInfo.frombuf(stream.read(512), "utf-8", "strict").name == "zz"


# ---- zip -----------------------------------------------------------------------------------------
def test_unzip_and_python_understand_a_zip(shelf: Shelf, tmp_path: Path) -> None:
    file, folder = tmp_path / "app.zip", tmp_path / "out"
    data = b"".join(bundles.zip_chunks(shelf.members, shelf.open))
    assert len(data) == bundles.zip_size(shelf.members)
    file.write_bytes(data)
    said("unzip", "-q", str(file), "-d", str(folder))
    assert {path: (folder / path).read_bytes() for path in NAMES} == NAMES
    assert os.access(folder / "plain.txt", os.X_OK)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(NAMES)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


class Zeros:
    """Many zeros, without a file or memory for them."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1, /) -> bytes:
        length = min(size, self.left)
        self.left -= length
        return bytes(length)

    def tell(self) -> int:
        raise AssertionError("it is read forwards")

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise AssertionError("it is read forwards")

    def close(self) -> None:
        self.left = 0


@pytest.mark.parametrize("sizes", [[2**30 - 1], [2**30], [2**31 + 1, 7], [2**30] * 3])
def test_the_length_of_a_large_zip_is_known_beforehand(sizes: list[int]) -> None:
    many = [Member(f"{number}", "0" * 64, size) for number, size in enumerate(sizes)]
    chunks = bundles.zip_chunks(many, lambda member: Zeros(member.size))
    assert sum(map(len, chunks)) == bundles.zip_size(many)


# ---- Kept ----------------------------------------------------------------------------------------
def kept(**files: bytes) -> list[Member]:
    return members(NamedBlob(path, blobs.keep_bytes([data])) for path, data in files.items())


@pytest.mark.django_db
def test_a_composed_blob_is_like_any_other_and_takes_no_room(tmp_path: Path) -> None:
    files = kept(a=os.urandom(3_000_000), b=os.urandom(70))
    before = stored_files()
    blob = blobs.compose(files)
    assert stored_files() == before
    with blobs.open_blob(blob) as stream:
        data = stream.read()
    assert (blob.size, blob.sha256, blob.md5) == (
        len(data),
        hashlib.sha256(data).hexdigest(),
        hashlib.md5(data).hexdigest(),
    )
    assert blobs.is_whole(blob)
    assert blobs.reads_true(blob)
    blobs.copy_to(blob, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert blobs.compose(list(reversed(files))) == blob


@pytest.mark.django_db
def test_stored_bytes_are_used_where_they_are_there_already() -> None:
    files = kept(a=os.urandom(100), b=b"")
    blob = blobs.compose(files)
    with blobs.open_blob(blob) as stream:
        stored = blobs.keep_stream(stream)
    assert (stored.pk, stored.recipe) == (blob.pk, None)
    assert blobs.compose(files).recipe is None
    # A bundle of what is composed itself can be read just as well.
    outer = blobs.compose([Member("inner", stored.sha256, stored.size)])
    assert blobs.reads_true(outer)


@pytest.mark.django_db
def test_a_bundle_that_was_stored_and_is_lost_is_composed() -> None:
    files = kept(a=os.urandom(100), b=b"b")
    blob = blobs.compose(files)
    with blobs.open_blob(blob) as stream:
        stored = blobs.keep_stream(stream)
    Path(blobs.store().path(stored.storage_name)).unlink()
    assert not blobs.is_whole(stored)
    again = blobs.compose(files)
    assert again.recipe == blob.recipe
    assert blobs.reads_true(again)


@pytest.mark.django_db
def test_a_file_of_a_bundle_can_be_composed_itself() -> None:
    inner = blobs.compose(kept(a=os.urandom(100), b=b"b"))
    outer = blobs.compose([Member("inner.tgz", inner.sha256, inner.size), *kept(c=b"c")])
    assert blobs.is_whole(outer)
    assert blobs.reads_true(outer)


@pytest.mark.django_db
def test_a_bundle_whose_file_is_lost_or_damaged_is_neither_whole_nor_true() -> None:
    files = kept(a=os.urandom(5000), b=os.urandom(100))
    blob = blobs.compose(files)
    file = Path(blobs.store().path(Blob(sha256=files[1].sha256).storage_name))
    whole = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(whole[::-1])
    assert blobs.is_whole(blob)
    assert not blobs.reads_true(blob)
    file.write_bytes(whole[:-1])
    assert not blobs.is_whole(blob)
    assert not blobs.reads_true(blob)
    file.unlink()
    assert not blobs.is_whole(blob)
    assert not blobs.reads_true(blob)


@pytest.mark.django_db
def test_a_bundle_of_files_that_the_collector_took_meanwhile_is_refused_as_gone() -> None:
    files = kept(a=os.urandom(50), b=os.urandom(60))
    Blob.objects.update(kept_at="2020-01-01T00:00:00Z")
    assert collect() >= 2
    with pytest.raises(BytesGone, match="no longer kept"):
        blobs.compose(files)


@pytest.mark.django_db
def test_a_bundle_that_was_collected_is_composed_again() -> None:
    contents = {"a": os.urandom(50), "b": os.urandom(60)}
    blob = blobs.compose(kept(**contents))
    Blob.objects.update(kept_at="2020-01-01T00:00:00Z")
    assert collect() >= 3
    blob.refresh_from_db()
    assert blob.state == BlobState.REMOVED
    again = blobs.compose(kept(**contents))
    assert (again.pk, again.state) == (blob.pk, BlobState.KEPT)
    assert blobs.reads_true(again)
