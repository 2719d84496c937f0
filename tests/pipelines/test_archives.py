"""Archives looked into: what is listed, marked and refused, and within which bounds."""

import gzip
import io
import json
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as slower
from hypothesis import strategies as st

from pipelines import archives
from pipelines.archives import BOUNDS, Archive, Bounds, Danger, Listing, MemberKind
from pipelines.archives.nouns import Budget, Stopped
from pipelines.errors import Invalid
from tests.pipelines import hostile

PLAIN = {"a/one.txt": b"one\n", "a/b/two.bin": bytes(5000), "ü" * 70 + "/three": b"3" * 700}
BIG = {f"{n:03}.txt": b"x" * n * 10 for n in range(300)}


def archive(data: bytes, name: str = "it") -> Archive:
    return Archive(io.BytesIO(data), len(data), name)


def look(data: bytes, bounds: Bounds = BOUNDS, name: str = "it") -> Listing:
    return archives.look(archive(data, name), bounds)


def listed(listing: Listing) -> dict[str, int | None]:
    return {member.path: member.size for member in listing.members}


def dangers(listing: Listing) -> dict[str, Danger | None]:
    return {member.path: member.danger for member in listing.members}


def why_not(data: bytes, bounds: Bounds = BOUNDS) -> str:
    with pytest.raises(Invalid) as caught:
        look(data, bounds)
    return caught.value.detail


# ---- What is listed ----------------------------------------------------------------------------
@pytest.mark.parametrize("files", [PLAIN, BIG], ids=["a few", "many"])
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("w", "tar"), ("w:gz", "tar.gz"), ("w:bz2", "tar.bz2"), ("w:xz", "tar.xz")],
)
def test_a_tar_is_listed_and_each_member_read(
    mode: str, kind: str, format: int, files: dict[str, bytes]
) -> None:
    data = hostile.tar(files, mode, format)
    found = look(data)
    assert found.kind == kind
    assert listed(found) == {path: len(content) for path, content in files.items()}
    assert (found.count, found.total) == (len(files), sum(map(len, files.values())))
    assert (found.is_truncated, found.warnings, set(dangers(found).values())) == (False, (), {None})
    for at, content in list(enumerate(files.values()))[:5]:
        member, read = archives.read_member(archive(data), at, 600)
        assert (member, read) == (found.members[at], content[:600])


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]
)
def test_a_zip_is_listed_and_each_member_read(compression: int) -> None:
    data = hostile.zipped(PLAIN, compression)
    found = look(data)
    assert (found.kind, found.warnings) == ("zip", ())
    assert listed(found) == {path: len(content) for path, content in PLAIN.items()}
    for at, content in enumerate(PLAIN.values()):
        assert archives.read_member(archive(data), at, 10_000)[1] == content


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        ("META-INF/MANIFEST.MF", "jar"),
        ("WEB-INF/web.xml", "war"),
        ("app-1.0.dist-info/WHEEL", "wheel"),
        ("EGG-INFO/PKG-INFO", "egg"),
        ("App.nuspec", "nupkg"),
        ("AndroidManifest.xml", "apk"),
        ("deep/in/a/folder/App.nuspec", "zip"),
    ],
)
def test_what_kind_of_zip_it_is_is_told_by_what_is_in_it(member: str, kind: str) -> None:
    assert look(hostile.zipped({member: b"x", "more": b""})).kind == kind


def test_a_zip_is_found_behind_a_script_and_a_comment() -> None:
    out = io.BytesIO(b"#!/bin/sh\nexec java -jar $0\n")
    out.seek(0, os.SEEK_END)
    with zipfile.ZipFile(out, "a") as made:
        made.writestr("META-INF/MANIFEST.MF", b"Main-Class: App\n")
        made.comment = b"signed PK\x05\x06 by nobody"
    data = out.getvalue()
    assert look(data).kind == "jar"
    assert archives.read_member(archive(data), 0, 99)[1] == b"Main-Class: App\n"


def test_a_zip_of_more_than_65535_members_is_counted_whole() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for n in range(65_540):
            made.writestr(zipfile.ZipInfo(f"{n}"), b"")
    found = look(out.getvalue(), replace(BOUNDS, shown=3))
    assert (found.count, len(found.members)) == (65_540, 3)
    assert found.warnings == ("Only the first 3 of 65,540 members are shown.",)


def test_what_real_tools_make_is_listed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "bin").mkdir(parents=True)
    (top / "bin/run").write_text("#!/bin/sh\n")
    (top / "bin/run").chmod(0o755)
    (top / "link").symlink_to("bin/run")
    os.link(top / "bin/run", top / "hard")
    with (top / "sparse").open("wb") as file:
        file.truncate(3 * 1024**2)
        file.seek(2 * 1024**2)
        file.write(b"x")
    (top / ("n" * 200)).write_text("long")
    for options in ([], ["-z"], ["-j"], ["-J"], ["-S"], ["-S", "--format=posix"]):
        made = tmp_path / "made"
        order = sorted(path.relative_to(top).as_posix() for path in top.rglob("*"))
        call = ["tar", *options, "-cf", str(made), "-C", str(top), "--no-recursion", *order]
        subprocess.run(call, check=True)
        found = look(made.read_bytes())
        by_path = {member.path.rstrip("/"): member for member in found.members}
        assert sorted(by_path) == order, options
        assert by_path["sparse"].size == 3 * 1024**2
        assert (by_path["link"].kind, by_path["link"].link_target) == ("symlink", "bin/run")
        assert {str(by_path[name].kind) for name in ("hard", "bin/run")} == {"hardlink", "file"}
        assert by_path["bin"].kind == MemberKind.FOLDER
        assert by_path["bin/run"].executable
        assert not by_path["n" * 200].executable
        assert {member.danger for member in found.members} == {None}


def test_a_lone_compressed_file_is_its_one_member() -> None:
    data = gzip.compress(b"a line\n" * 3)
    found = look(data, name="app.log.gz")
    assert (found.kind, listed(found)) == ("gz", {"app.log": None})
    assert archives.read_member(archive(data, "app.log.gz"), 0, 7)[1] == b"a line\n"


def test_what_is_no_archive_and_what_cannot_be_read_is_refused_in_words() -> None:
    assert "is no archive" in why_not(b"hello")
    assert "is no archive" in why_not(b"")
    assert "a Zstandard archive" in why_not(b"\x28\xb5\x2f\xfd" + bytes(100))
    assert "a 7z archive" in why_not(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    assert "no directory at its end" in why_not(b"PK\x03\x04" + bytes(100))


# ---- What is marked ----------------------------------------------------------------------------
def test_members_that_lead_outside_are_shown_and_marked() -> None:
    out = ["../up", "/etc/passwd", "a/../../up", "C:\\windows", "..\\up", "\\\\host\\share"]
    data = hostile.tar({**dict.fromkeys(out, b"x"), "fine..txt": b"x"})
    assert dangers(look(data)) == dict.fromkeys(out, Danger.OUTSIDE) | {"fine..txt": None}
    zipped = look(hostile.zipped(dict.fromkeys(out, b"x")))
    assert set(dangers(zipped).values()) == {Danger.OUTSIDE}


@pytest.mark.parametrize(
    ("target", "danger"),
    [
        ("other", None),
        ("../beside", None),
        ("../../up", Danger.OUTSIDE),
        ("/etc/passwd", Danger.OUTSIDE),
        ("x/../../../up", Danger.OUTSIDE),
        ("x/..", Danger.OUTSIDE),
    ],
)
def test_a_symbolic_link_is_judged_by_where_it_leads(target: str, danger: Danger | None) -> None:
    tar = look(hostile.tar_of([("d/link", tarfile.SYMTYPE, target)]))
    info = zipfile.ZipInfo("d/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(info, target)
    for (member,) in (tar.members, look(out.getvalue()).members):
        assert (member.kind, member.link_target) == (MemberKind.SYMLINK, target)
        assert member.danger == danger


def test_links_devices_and_what_lies_behind_a_link_are_marked() -> None:
    found = look(
        hostile.tar_of(
            [
                ("hard", tarfile.LNKTYPE, "inside"),
                ("out", tarfile.LNKTYPE, "../outside"),
                ("null", tarfile.CHRTYPE, ""),
                ("disk", tarfile.BLKTYPE, ""),
                ("pipe", tarfile.FIFOTYPE, ""),
                ("here", tarfile.SYMTYPE, "."),
                ("here/there", tarfile.REGTYPE, ""),
                ("./here/again/x", tarfile.SYMTYPE, "y"),
            ]
        )
    )
    assert dangers(found) == {
        "hard": None,
        "out": Danger.OUTSIDE,
        "null": Danger.DEVICE,
        "disk": Danger.DEVICE,
        "pipe": Danger.DEVICE,
        "here": None,
        "here/there": Danger.BEHIND_LINK,
        "./here/again/x": Danger.BEHIND_LINK,
    }


def test_names_that_deceive_are_marked() -> None:
    data = hostile.tar({"invoice\u202efdp.exe": b"", "a\nb": b"", "a\x1b[2Jb": b"", "plain": b""})
    assert dangers(look(data)) == {
        "invoice\u202efdp.exe": Danger.HIDDEN,
        "a\nb": Danger.HIDDEN,
        "a\x1b[2Jb": Danger.HIDDEN,
        "plain": None,
    }
    twice = look(hostile.header(b"a/b", 0) + hostile.header(b"./a//b", 0) + bytes(1024))
    assert [member.danger for member in twice.members] == [None, Danger.TWICE]


def test_what_runs_with_its_owners_rights_is_marked() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        info = tarfile.TarInfo("su")
        info.mode = 0o4755
        made.addfile(info)
    (member,) = look(out.getvalue()).members
    assert (member.danger, member.mode) == (Danger.SETUID, 0o4755)


def test_names_of_any_bytes_become_text() -> None:
    data = hostile.header(b"caf\xe9/\xff\xfe", 0) + bytes(1024)
    assert list(listed(look(data))) == ["caf\\xe9/\\xff\\xfe"]
    zipped = hostile.zipped({"xx": b""}).replace(b"xx", b"\x81\xff")
    assert list(listed(look(zipped))) == ["ü\xa0"]


def test_an_encrypted_member_is_counted_and_not_read() -> None:
    data = bytearray(hostile.zipped({"secret.txt": b"x" * 100}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert look(bytes(data)).warnings == ("1 members are encrypted.",)
    with pytest.raises(Invalid, match="encrypted"):
        archives.read_member(archive(bytes(data)), 0, 10)


def test_a_member_with_two_names_is_not_read() -> None:
    data = hostile.zipped({"good.txt": b"x"}).replace(b"good.txt", b"evil.txt", 1)
    with pytest.raises(Invalid, match="another name in the directory"):
        archives.read_member(archive(data), 0, 10)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_only_files_are_read(kind: bytes) -> None:
    data = hostile.tar_of([("it", kind, "/etc/passwd")])
    with pytest.raises(Invalid, match="never followed"):
        archives.read_member(archive(data), 0, 10)


@pytest.mark.parametrize("index", [-1, 1, 10_000, 10**18])
def test_a_member_that_is_not_there_is_not_read(index: int) -> None:
    for data in (hostile.tar({"a": b"x"}), hostile.zipped({"a": b"x"})):
        with pytest.raises(Invalid, match="no member"):
            archives.read_member(archive(data), index, 10)


# ---- What is damaged ---------------------------------------------------------------------------
def test_what_comes_before_the_damage_is_shown() -> None:
    whole = hostile.tar({"one": b"1" * 100, "two": b"2" * 5000})
    cut = look(whole[:4000])
    assert list(listed(cut)) == ["one", "two"]
    assert cut.is_truncated
    assert "ends in the middle of a member" in cut.warnings[0]
    broken = look(whole[:1024] + b"x" + whole[1025:])
    assert list(listed(broken)) == ["one"]
    assert "A header of the tar is damaged" in broken.warnings[0]
    zipped = bytearray(hostile.zipped({"one": b"1", "two": b"2"}))
    zipped[zipped.rindex(b"PK\x01\x02")] = 0
    assert list(listed(look(bytes(zipped)))) == ["one"]
    packed = hostile.tar(BIG, "w:gz")
    assert 0 < look(packed[: len(packed) // 2]).count < len(BIG)


@pytest.mark.parametrize(
    "field", [b"\xff" * 12, b"-1".ljust(12, b"\0"), b"9" * 12, b"0x10".ljust(12)]
)
def test_a_size_that_is_none_ends_the_listing(field: bytes) -> None:
    data = hostile.header(b"one", 0) + hostile.header(b"two", 0, size_field=field) + bytes(1024)
    found = look(data)
    assert (list(listed(found)), found.is_truncated) == (["one"], True)


def test_a_size_beyond_the_end_is_shown_as_what_it_says() -> None:
    data = hostile.header(b"huge", 0, size_field=b"\x80" + b"\0" * 3 + b"\x7f" * 8)
    found = look(data)
    assert found.members[0].size == int.from_bytes(b"\x7f" * 8, "big")
    assert found.is_truncated


def test_a_zip_whose_end_lies_is_refused_or_says_so() -> None:
    data = bytearray(hostile.zipped({"one": b"1", "two": b"2"}))
    end = data.rindex(b"PK\x05\x06")
    lying = bytearray(data)
    lying[end + 10 : end + 12] = (7).to_bytes(2, "little")
    assert look(bytes(lying)).warnings == ("It says that it has 7 members, and it has 2.",)
    for at in (12, 16):
        wrong = bytearray(data)
        wrong[end + at : end + at + 4] = b"\xff" * 4
        assert "not where its end says" in why_not(bytes(wrong))


# ---- Bounds ------------------------------------------------------------------------------------
def test_of_many_members_the_first_are_shown_and_so_many_counted() -> None:
    bounds = replace(BOUNDS, shown=10, counted=100)
    for data in (hostile.tar(BIG), hostile.zipped(BIG)):
        found = look(data, bounds)
        assert (len(found.members), found.count, found.is_truncated) == (10, 100, True)
        assert found.warnings == (
            "It has more than 100 members.",
            "Only the first 10 of 100 members are shown.",
        )


def test_long_names_do_not_fill_the_memory() -> None:
    data = hostile.tar({f"{n}/" + "n" * 3000: b"" for n in range(100)})
    found = look(data, replace(BOUNDS, names=10_000))
    assert (len(found.members), found.count, found.is_truncated) == (3, 100, True)
    (cut,) = look(hostile.tar({"n" * 60_000: b""})).members
    assert len(cut.path) == 4097


def test_only_so_much_is_unpacked() -> None:
    data = hostile.tar({f"{n}": os.urandom(1024**2) for n in range(4)}, "w:gz")
    found = look(data, replace(BOUNDS, unpacked=2 * 1024**2))
    assert 0 < found.count < 4
    assert found.warnings == ("Only the first 2 MiB of it were unpacked.",)
    with pytest.raises(Invalid, match="lies further on"):
        archives.read_member(archive(data), 3, 10, replace(BOUNDS, unpacked=2 * 1024**2))


def test_time_is_bounded_and_what_was_found_by_then_is_shown() -> None:
    ticks = iter(range(1000))
    budget = Budget(replace(BOUNDS, seconds=3), 10, clock=lambda: float(next(ticks)))
    for _ in range(3):
        budget.spend_time()
    with pytest.raises(Stopped, match="more than 3 seconds"):
        budget.spend_time()
    found = look(hostile.tar(BIG), replace(BOUNDS, seconds=-1))
    assert (found.count, found.is_truncated) == (0, True)


@pytest.mark.parametrize(
    "made",
    [
        lambda: hostile.gzip_of_zeros(80 * 1024**2),
        lambda: hostile.xz_of_zeros(80 * 1024**2),
        lambda: hostile.bzip2_of_zeros(80 * 1024**2),
        lambda: hostile.overlapping_zip(1000, 1024**2),
    ],
    ids=["gzip", "xz", "bzip2", "zip"],
)
def test_a_bomb_is_refused(made: object) -> None:
    assert callable(made)
    assert "unpacks to more than 500 times" in why_not(made())


def test_members_that_share_their_bytes_are_told_of() -> None:
    found = look(hostile.overlapping_zip(3, 10_000))
    assert found.warnings == (
        "Some members share the same bytes: it was made to unpack to more than it is.",
    )


def test_a_member_that_is_a_bomb_is_marked_among_others() -> None:
    found = look(hostile.zipped({"rest": os.urandom(1024**2), "bomb": bytes(70 * 1024**2)}))
    assert dangers(found) == {"rest": None, "bomb": Danger.BOMB}


def test_an_archive_in_an_archive_is_one_more_file() -> None:
    found = look(hostile.nested_zip(2))
    assert {str(member.kind) for member in found.members} == {"file"}
    assert len(found.members) == 16


def test_memory_that_xz_asks_for_is_bounded() -> None:
    usual = lzma.compress(hostile.tar({"a": b"x"}), preset=9)
    assert list(listed(look(usual))) == ["a"]
    assert "MiB of memory" in why_not(hostile.GREEDY["an xz with a huge dictionary"]())


CHILD = """
import io, json, resource, sys
from pipelines import archives
from pipelines.errors import Invalid
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
limit = int(sys.argv[2])
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
with open(sys.argv[1], "rb") as file:
    archive = archives.Archive(file, file.seek(0, 2))
    said = []
    for act in (lambda: archives.look(archive), lambda: archives.read_member(archive, 0, 1024**2)):
        try:
            act()
            said.append("done")
        except Invalid:
            said.append("refused")
print(json.dumps(said))
"""


@pytest.mark.parametrize("name", sorted(hostile.GREEDY))
def test_memory_stays_bounded_whatever_the_archive_asks_for(name: str, tmp_path: Path) -> None:
    """In a process that may take 96 MiB more than it has, and ends well within its time."""
    file = tmp_path / "hostile"
    file.write_bytes(hostile.GREEDY[name]())
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(file), str(96 * 1024**2)],
        cwd=settings.BASE_DIR, check=False, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(json.loads(done.stdout)) <= {"done", "refused"}


# ---- Whatever the bytes ------------------------------------------------------------------------
SAMPLES = [
    *(hostile.tar(PLAIN, mode) for mode in ("w", "w:gz", "w:bz2", "w:xz")),
    hostile.tar(PLAIN, format=tarfile.PAX_FORMAT),
    hostile.zipped(PLAIN),
    hostile.zipped(PLAIN, zipfile.ZIP_BZIP2),
    gzip.compress(b"lone"),
]
SMALL = replace(BOUNDS, shown=50, counted=100, unpacked=4 * 1024**2, small=1024**2, seconds=5)


def _looks_well(data: bytes) -> None:
    """Either an answer within its bounds or a refusal, and never anything else."""
    try:
        found = look(data, SMALL)
    except Invalid as error:
        assert error.detail
        return
    assert found.count <= SMALL.counted
    json.dumps([member.path for member in found.members]).encode()
    "".join(member.path + member.link_target for member in found.members).encode()
    for at in range(min(3, len(found.members))):
        try:
            assert len(archives.read_member(archive(data), at, 1000, SMALL)[1]) <= 1000
        except Invalid as error:
            assert error.detail


@given(st.binary(max_size=2000), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9"]))
@slower(max_examples=300, deadline=None)
def test_any_bytes_give_a_listing_or_a_refusal(data: bytes, start: bytes) -> None:
    _looks_well(start + data)


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=12),
    st.integers(0, 10**6),
    st.binary(max_size=64),
)
@slower(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_archive_gives_a_listing_or_a_refusal(
    sample: bytes, changes: list[tuple[int, int]], cut: int, more: bytes
) -> None:
    data = bytearray(sample)
    for at, byte in changes:
        data[at % len(data)] = byte
    _looks_well(bytes(data[: cut % (len(data) * 2)] + more))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"0", b"1", b"2", b"3", b"5", b"L", b"K", b"x", b"g", b"S", b"V", b"?"]
            ),
            st.binary(max_size=40),
            st.integers(0, 2000),
        ),
        max_size=20,
    ),
    st.randoms(use_true_random=False),
)
@slower(max_examples=300, deadline=None)
def test_headers_in_any_order_give_a_listing_or_a_refusal(
    entries: list[tuple[bytes, bytes, int]], random: object
) -> None:
    blocks = [
        hostile.header(name.replace(b"\0", b"n"), size, kind)
        + name.ljust(size + -size % 512, b"\0")
        for kind, name, size in entries
    ]
    _looks_well(b"".join(blocks) + bytes(1024))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=150)


@given(
    st.dictionaries(
        NAMES.filter(lambda name: not name.endswith("/")), st.binary(max_size=600), max_size=8
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@slower(max_examples=150, deadline=None)
def test_a_tar_is_read_as_python_reads_it(files: dict[str, bytes], format: int) -> None:
    data = hostile.tar(files, format=format)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        theirs = [(info.name.encode("utf-8", "surrogateescape"), info.size) for info in tar]
    if not files:
        return
    assert [(member.path.encode(), member.size) for member in look(data).members] == theirs
