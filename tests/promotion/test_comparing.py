"""What differs between two versions, as values: nothing here asks a database."""

from dataclasses import dataclass, field

import pytest

from promotion.comparing.claims import compare_components, compare_evidence
from promotion.comparing.contents import (
    File,
    Image,
    Layer,
    Platform,
    compare_files,
    compare_images,
)
from promotion.comparing.lists import Cut, cut, joined
from promotion.comparing.origins import (
    BuiltFrom,
    Pin,
    compare_commits,
    compare_url,
    compare_variables,
    shown_endpoint,
)

A, B, C = "a" * 40, "b" * 40, "c" * 40


@dataclass(frozen=True)
class Part:
    """As a bill of materials lists it."""

    name: str
    version: str = ""
    purl: str = ""
    licences: tuple[str, ...] = field(default=())


# ---- Lists -------------------------------------------------------------------------------------
def test_a_list_is_cut_and_says_how_long_it_was() -> None:
    short = cut([1, 2, 3], 2)
    assert (short.first, short.total, short.is_cut, short.left_out) == ((1, 2), 3, True, 1)
    whole = cut([1, 2], 2)
    assert (whole.is_cut, whole.left_out) == (False, 0)
    assert joined([short, whole], 3) == Cut((1, 2, 1), 5)


# ---- Files -------------------------------------------------------------------------------------
def test_files_are_compared_by_their_bytes_and_by_whether_they_may_run() -> None:
    before = {"gone": File("1", 1), "kept": File("2", 2), "other": File("3", 3), "x": File("4", 4)}
    after = {"kept": File("2", 2), "new": File("5", 5), "other": File("6", 9)}
    after["x"] = File("4", 4, is_executable=True)
    found = compare_files(before, after, most=10)
    assert [(each.path, each.change, each.becomes) for each in found.listed.first] == [
        ("gone", "removed", ""),
        ("new", "added", ""),
        ("other", "changed", ""),
        ("x", "changed", "executable"),
    ]
    assert (found.added, found.removed, found.changed, found.unchanged) == (1, 1, 2, 1)
    (back,) = compare_files({"x": after["x"]}, {"x": before["x"]}, most=1).listed.first
    assert back.becomes == "not executable"


def test_ten_thousand_files_are_counted_and_the_first_are_listed() -> None:
    after = {f"{number:05}": File("1", 1) for number in range(10_000)}
    found = compare_files({}, after, most=20)
    assert (found.added, found.unchanged) == (10_000, 0)
    assert [each.path for each in found.listed.first] == [f"{n:05}" for n in range(20)]
    assert found.listed.left_out == 9_980


# ---- Images ------------------------------------------------------------------------------------
def test_layers_are_compared_platform_by_platform() -> None:
    base, old, new = Layer("base", 100), Layer("old", 10), Layer("new", 20)
    before = Image(
        "sha256:1",
        {"linux/amd64": Platform("1", (base, old)), "linux/arm64": Platform("2", (base,))},
    )
    after = Image(
        "sha256:2",
        # A layer that stands there twice is transferred once.
        {"linux/amd64": Platform("3", (base, new, new)), "linux/arm64": Platform("2", (base,))},
    )
    found = compare_images(before, after, most=10)
    assert (found.digest_before, found.digest_after) == ("sha256:1", "sha256:2")
    assert found.platforms is not None
    amd, arm = found.platforms.first
    assert (amd.name, amd.change, arm.name, arm.change) == (
        "linux/amd64",
        "changed",
        "linux/arm64",
        "unchanged",
    )
    assert (amd.added.first, amd.removed.first) == ((new,), (old,))
    assert (amd.shared, amd.shared_size, amd.added_size, amd.removed_size) == (1, 100, 20, 10)


def test_a_platform_may_come_or_go() -> None:
    one = Image("sha256:1", {"linux/amd64": Platform("1", (Layer("a", 1),))})
    two = Image("sha256:2", {"linux/arm64": Platform("2", (Layer("b", 2),))})
    found = compare_images(one, two, most=10).platforms
    assert found is not None
    assert [(each.name, each.change) for each in found.first] == [
        ("linux/amd64", "removed"),
        ("linux/arm64", "added"),
    ]
    first = compare_images(None, two, most=10).platforms
    assert first is not None
    assert [each.change for each in first.first] == ["added"]


def test_of_an_image_that_no_registry_was_asked_for_only_the_digest_is_said() -> None:
    known = Image("sha256:1", {"linux/amd64": Platform("1", ())})
    unknown = Image("sha256:2")
    for before, after in ((known, unknown), (unknown, known), (None, unknown)):
        found = compare_images(before, after, most=10)
        assert (found.platforms, found.digest_after) == (None, after.digest)


def test_the_layers_of_a_large_image_are_summed_and_cut() -> None:
    layers = tuple(Layer(str(number), 2) for number in range(1000))
    found = compare_images(None, Image("x", {"p": Platform("1", layers)}), most=5).platforms
    assert found is not None
    (only,) = found.first
    assert (len(only.added.first), only.added.total, only.added_size) == (5, 1000, 2000)


# ---- Commits -----------------------------------------------------------------------------------
def test_a_source_at_another_commit_shows_both_and_what_runs_built_between() -> None:
    at = "https://github.com/team/app.git"
    seen = Cut((BuiltFrom(2, B),), 1)
    (found,) = compare_commits(
        {"code": Pin(A, at, "main", "git")}, {"code": Pin(C, at, "main", "git")}, {"code": seen}
    )
    assert (found.change, found.before, found.after, found.branch) == ("changed", A, C, "main")
    assert found.compare_url == f"https://github.com/team/app/compare/{A}...{C}"
    assert found.between == seen


def test_where_it_goes_back_the_link_shows_what_is_taken_back() -> None:
    at = "https://github.com/team/app"
    (found,) = compare_commits({"code": Pin(C, at)}, {"code": Pin(A, at)}, {}, is_back=True)
    assert (found.before, found.after) == (C, A)
    assert found.compare_url.endswith(f"{A}...{C}")


def test_a_source_at_the_same_commit_is_no_change_and_another_repository_is() -> None:
    one, two = Pin(A, "https://github.com/a/b"), Pin(A, "https://github.com/c/d")
    assert compare_commits({"code": one}, {"code": one}, {}) == ()
    (moved,) = compare_commits({"code": one}, {"code": two}, {})
    assert (moved.endpoint, moved.compare_url) == ("https://github.com/c/d", "")
    gone, came = compare_commits({"a": one}, {"b": two}, {})
    assert (gone.change, gone.after, came.change, came.before) == ("removed", None, "added", None)


@pytest.mark.parametrize(
    ("kind", "endpoint", "expected"),
    [
        ("git", "https://gitlab.com/a/b/c.git", f"https://gitlab.com/a/b/c/-/compare/{A}...{B}"),
        ("customGitlab", "https://git.example.com:8443/a/b",
         f"https://git.example.com:8443/a/b/-/compare/{A}...{B}"),
        ("gitee", "https://gitee.com/a/b.git/", f"https://gitee.com/a/b/compare/{A}...{B}"),
        ("bitbucket", "https://bitbucket.org/a/b",
         f"https://bitbucket.org/a/b/branches/compare/{B}..{A}"),
        ("github", "https://ada:hunter2@github.example.com/a/b",
         f"https://github.example.com/a/b/compare/{A}...{B}"),
        ("git", "https://git.example.com/a/b", ""),
        ("codeup", "https://codeup.example.com/a/b", ""),
        ("github", "/srv/git/app.git", ""),
        ("github", "file:///srv/git/app.git", ""),
        ("github", "javascript://github.com/%0aalert(1)", ""),
        ("github", "https://[::1", ""),
    ],
)  # fmt: skip
def test_a_link_is_made_where_the_server_is_known(kind: str, endpoint: str, expected: str) -> None:
    assert compare_url(kind, endpoint, A, B) == expected


def test_what_is_no_commit_gets_no_link() -> None:
    assert compare_url("github", "https://github.com/a/b", A, "../../evil") == ""


def test_credentials_in_an_address_are_not_shown() -> None:
    assert (
        shown_endpoint("https://ada:hunter2@git.example.com:1/a") == "https://git.example.com:1/a"
    )
    assert "hunter2" not in shown_endpoint("ssh://ada:hunter2@git.example.com/a")
    assert "hunter2" not in shown_endpoint("https://ada:hunter2@[::1/a")
    assert shown_endpoint("/srv/git/app.git") == "/srv/git/app.git"


# ---- Variables ---------------------------------------------------------------------------------
def test_variables_that_differ_are_shown() -> None:
    before = {"LEVEL": "debug", "OLD": "1", "SAME": "x"}
    found = compare_variables("run", before, {"LEVEL": "info", "NEW": "", "SAME": "x"}, most=10)
    assert [(each.name, each.change, each.before, each.after) for each in found.first] == [
        ("LEVEL", "changed", "debug", "info"),
        ("NEW", "added", None, ""),
        ("OLD", "removed", "1", None),
    ]


@pytest.mark.parametrize(
    "name",
    ["PASSWORD", "DB_PASSWD", "dbPassword", "API_KEY", "GITHUB_TOKEN", "clientSecret",
     "PRIVATE_KEY", "AWS_ACCESS_KEY_ID", "credentials", "SSH_KEY"],
)  # fmt: skip
def test_of_what_is_named_like_a_secret_only_the_change_is_shown(name: str) -> None:
    (found,) = compare_variables("run", {name: "hunter2"}, {name: "hunter3"}, most=1).first
    assert (found.change, found.is_secret, found.before, found.after) == (
        "changed",
        True,
        None,
        None,
    )


@pytest.mark.parametrize("name", ["LEVEL", "PASSENGERS", "KEYBOARD", "MONKEY"])
def test_other_names_are_no_secrets(name: str) -> None:
    (found,) = compare_variables("run", {}, {name: "1"}, most=1).first
    assert found.is_secret is False


def test_a_long_value_is_cut() -> None:
    (found,) = compare_variables("run", {}, {"TEXT": "x" * 100_000}, most=1).first
    assert found.after is not None
    assert len(found.after) < 600


# ---- Evidence ----------------------------------------------------------------------------------
def test_evidence_is_compared_by_type_and_result() -> None:
    before = {"test": ["passed"], "scan": ["clean"], "same": ["passed"]}
    after = {"test": ["failed", "passed"], "review": ["done"], "same": ["passed", "passed"]}
    found = compare_evidence(before, after, most=10)
    assert [(each.type, each.change, each.before, each.after) for each in found.first] == [
        ("review", "added", (), ("done",)),
        ("scan", "removed", ("clean",), ()),
        ("test", "changed", ("passed",), ("failed", "passed")),
    ]


# ---- Components --------------------------------------------------------------------------------
def test_components_are_compared_by_version_and_licence() -> None:
    before = [
        Part("left", "1.0", "pkg:npm/left@1.0", ("MIT",)),
        Part("gone", "2.0", licences=("MIT",)),
        Part("same", "3.0", "pkg:npm/same@3.0", ("MIT",)),
        Part("lib", "4.0", "pkg:npm/%40team/lib@4.0?x=y", ("Apache-2.0",)),
    ]
    after = [
        Part("left", "1.1", "pkg:npm/left@1.1", ("MIT",)),
        Part("new", "1.0", "pkg:pypi/new@1.0", ("GPL-3.0-only",)),
        Part("same", "3.0", "pkg:npm/same@3.0", ("MIT",)),
        Part("lib", "4.0", "pkg:npm/%40team/lib@4.0?x=z", ("BUSL-1.1",)),
    ]
    found = compare_components(before, after, most=10)
    assert [(each.name, each.change) for each in found.first] == [
        ("pkg:npm/%40team/lib", "changed"),
        ("gone", "removed"),
        ("pkg:npm/left", "changed"),
        ("pkg:pypi/new", "added"),
    ]
    lib, _, left, new = found.first
    assert (lib.is_relicensed, lib.licences_before, lib.licences_after) == (
        True,
        ("Apache-2.0",),
        ("BUSL-1.1",),
    )
    assert (left.is_relicensed, left.versions_before, left.versions_after) == (
        False,
        ("1.0",),
        ("1.1",),
    )
    assert (new.versions_before, new.licences_after) == ((), ("GPL-3.0-only",))


def test_a_component_that_is_there_in_several_versions_is_one_line() -> None:
    before = [Part("a", "1"), Part("a", "2")]
    (found,) = compare_components(before, [Part("a", "2"), Part("a", "3")], most=1).first
    assert (found.versions_before, found.versions_after) == (("1", "2"), ("2", "3"))
