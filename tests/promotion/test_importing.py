"""`manage.py import_packages` with a folder: what comes in, what is refused, what is left alone."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pipelines import artifacts, blobs, runs
from pipelines.errors import Conflict, Invalid
from pipelines.models import Artifact, Blob, ExecutionState, Pipeline, Run
from promotion import importing, publishing, recalling, retention, trees, uploads
from promotion.incoming import Incoming, IncomingFile
from promotion.keeping import Rules
from promotion.models import Version
from promotion.trees import Tree
from tests.cast import Site, make_pipeline
from tests.promotion.importing import files_of, import_packages, make_tree, versions
from tests.promotion.verifying import broken
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

TREE = {
    "app/1.10.0/bin/app": b"ten",
    "app/1.10.0/README": b"read me",
    "app/1.9.0/app.tgz": b"nine",
    "app/build-10/app.tgz": b"b10",
    "app/build-9/app.tgz": b"b9",
    "lib/2.0.0-rc.1/lib.jar": b"candidate",
    "lib/2.0.0/lib.jar": b"final",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = make_tree(tmp_path / "tree", TREE)
    (made / "app/1.10.0/bin/app").chmod(0o755)
    return made


def test_each_version_comes_in_by_a_run_of_the_import_and_says_where_from(
    site: Site, tree: Path
) -> None:
    status, said = import_packages(tree)
    assert (status, said.splitlines()[-1]) == (
        0,
        "6 published (33 B), 0 there already, 0 in conflict, 0 refused.",
    )
    assert "[4/6] published  app 1.10.0  2 files, 10 B" in said
    version = Version.objects.get(name="1.10.0")
    assert files_of("app", "1.10.0") == {"bin/app": b"ten", "README": b"read me"}
    assert {file.path: file.executable for file in version.files.all()} == {
        "bin/app": True,
        "README": False,
    }
    run = version.artifact.run
    assert (run.pipeline.slug, run.state, run.is_external) == ("import-apps", "succeeded", True)
    assert version.notes == f"Imported from {tree}/app/1.10.0 (by {run})."
    assert version.published_by == site.cast.ada
    assert broken("--scrub") == {}


def test_the_highest_version_is_published_last_and_names_without_an_order_come_first(
    site: Site, tree: Path
) -> None:
    import_packages(tree)
    assert versions("app") == ["build-9", "build-10", "1.9.0", "1.10.0"]
    assert versions("lib") == ["2.0.0-rc.1", "2.0.0"]


def test_again_changes_nothing_and_opens_no_file_of_the_store(site: Site, tree: Path) -> None:
    import_packages(tree)
    with nothing_changes(), patch.object(blobs, "open_stage", side_effect=AssertionError):
        status, said = import_packages(tree)
    assert status == 0
    assert "0 published (0 B), 6 there already, 0 in conflict" in said


def test_what_was_added_meanwhile_comes_in_and_the_rest_stays(site: Site, tree: Path) -> None:
    import_packages(tree)
    before = set(Version.objects.values_list("pk", flat=True))
    make_tree(tree, {"app/1.11.0/app.tgz": b"eleven"})
    status, said = import_packages(tree)
    assert (status, versions("app")[-1]) == (0, "1.11.0")
    assert "1 published (6 B), 6 there already" in said
    assert before < set(Version.objects.values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"app/1.9.0/app.tgz": b"NINE"}, "app.tgz has other bytes"),
        ({"app/1.9.0/app.tgz": b"longer"}, "app.tgz has 4 bytes in it, and 6 here"),
        ({"app/1.9.0/more": b"more"}, "it has no file more"),
    ],
)
def test_a_version_with_other_bytes_is_a_conflict_and_stays_as_it_was(
    site: Site, tree: Path, change: dict[str, bytes], why: str
) -> None:
    import_packages(tree)
    make_tree(tree, change)
    with nothing_changes():
        status, said = import_packages(tree)
    assert status == 1
    assert f"conflict  app 1.9.0 ({tree}/app/1.9.0): apps/app 1.9.0 exists and differs: {why}" in (
        said
    )
    assert "5 there already, 1 in conflict" in said


def test_a_missing_file_and_another_mode_are_conflicts(site: Site, tree: Path) -> None:
    import_packages(tree)
    (tree / "app/1.10.0/README").unlink()
    (tree / "app/1.9.0/app.tgz").chmod(0o755)
    with nothing_changes():
        status, said = import_packages(tree)
    assert status == 1
    assert "it has a file README, which is not among these" in said
    assert "app.tgz is executable in one of them only" in said


def test_a_recalled_version_does_not_come_back(site: Site, tree: Path) -> None:
    import_packages(tree)
    recalling.recall(Version.objects.get(name="1.9.0"), by=site.cast.ben, reason="broken")
    with nothing_changes():
        status, said = import_packages(tree)
    assert status == 1
    assert "apps/app 1.9.0 was recalled. Its name is never used again." in said


def test_a_pruned_version_does_not_come_back(site: Site, tree: Path) -> None:
    import_packages(tree)
    retention.set_rules(site.repository, Rules(newest=1, placed_days=0), by=site.cast.admin)
    assert retention.retain() > 0
    assert Version.objects.get(name="1.9.0").pruned_at is not None
    with nothing_changes():
        status, said = import_packages(tree)
    assert status == 1
    assert "apps/app 1.9.0 was pruned. Its name is never used again." in said


def test_what_cannot_come_in_is_named_with_its_place_and_the_rest_goes_on(
    site: Site, tree: Path
) -> None:
    deep = "/".join(["folder"] * 160)
    make_tree(
        tree,
        {
            "App/1.0.0/app.tgz": b"a capital letter",
            "app/-1/app.tgz": b"a bad version",
            f"app/1.0.0/{deep}": b"too deep",
            "app/1.1.0/a\nb": b"a line feed",
            "app/notes.txt": b"no folder",
            "README": b"no package",
        },
    )
    (tree / "app/1.2.0/only-a-folder").mkdir(parents=True)
    (tree / "app/1.3.0").mkdir()
    (tree / "app/1.3.0/link").symlink_to("/etc/passwd")
    (tree / "app/1.4.0").symlink_to(tree / "app/1.9.0")
    (tree / "other").symlink_to("/etc")
    (tree / "app/1.5.0").mkdir()
    os.mkfifo(tree / "app/1.5.0/pipe")
    make_tree(tree, {"lib/1.0.0/ok": b"ok"})
    os.rename(tree / "lib/1.0.0/ok", os.fsencode(tree / "lib/1.0.0") + b"/\xff")
    before = {path: path.lstat() for path in tree.rglob("*")}

    status, said = import_packages(tree)

    assert status == 1
    for line in (
        f"refused  {tree}/README: It is no folder",
        f"refused  {tree}/other: It is a symbolic link where the folder of a package should be.",
        f"refused  {tree}/app/notes.txt: It is no folder",
        f"refused  {tree}/app/1.4.0: It is a symbolic link where the folder of a version should",
        f"refused  App 1.0.0 ({tree}/App/1.0.0): “App” cannot name a package.",
        f"refused  app -1 ({tree}/app/-1): “-1” cannot name a version.",
        f"refused  app 1.0.0 ({tree}/app/1.0.0): The file name “folder/",
        f"refused  app 1.1.0 ({tree}/app/1.1.0): The file name “a\\nb” has a control character",
        f"refused  app 1.2.0 ({tree}/app/1.2.0): It has no files.",
        f"refused  app 1.3.0 ({tree}/app/1.3.0): {tree}/app/1.3.0/link is a symbolic link.",
        f"refused  app 1.5.0 ({tree}/app/1.5.0): {tree}/app/1.5.0/pipe is neither a file nor",
        f"refused  lib 1.0.0 ({tree}/lib/1.0.0): The file name “\\udcff” is not Unicode",
    ):
        assert line in said
    assert said.endswith("6 published (33 B), 0 there already, 0 in conflict, 12 refused.\n")
    assert set(versions("app") + versions("lib")) == {name.split("/")[1] for name in TREE}
    assert Run.objects.count() == 6
    assert {path: path.lstat() for path in tree.rglob("*")}.keys() == before.keys()


def test_a_dry_run_says_what_would_be_and_changes_nothing(site: Site, tree: Path) -> None:
    import_packages(tree, "--package", "lib")
    make_tree(tree, {"lib/2.0.0/lib.jar": b"other"})
    with nothing_changes():
        status, said = import_packages(tree, "--dry-run")
    assert status == 1
    assert "[1/6] would be published  app build-9  1 file, 2 B" in said
    assert "4 would be published (19 B), 1 there already, 1 in conflict, 0 refused." in said


def test_packages_can_be_chosen_renamed_and_lie_flat(site: Site, tree: Path) -> None:
    status, _ = import_packages(tree, "--package", "lib", "--rename", "lib=library")
    assert (status, versions("library"), versions("app")) == (0, ["2.0.0-rc.1", "2.0.0"], [])
    status, _ = import_packages(tree / "lib", "--flat", "lib")
    assert (status, versions("lib")) == (0, ["2.0.0-rc.1", "2.0.0"])
    status, said = import_packages(tree, "--package", "none")
    assert (status, said.splitlines()[0]) == (
        1,
        f"refused  {tree}/none: There is no such folder. Check --package.",
    )


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("", "Say with --as in whose name versions are published. Who may: ada."),
        ("nobody", "There is no user “nobody”. Who may import: ada."),
        ("ben", "ben may not write pipelines. It takes one of these roles: developer, operator."),
        ("mallory", "mallory may not write pipelines."),
    ],
)
def test_only_somebody_who_may_do_all_of_it_imports(
    site: Site, tree: Path, user: str, said: str
) -> None:
    with nothing_changes():
        status, answer = import_packages(tree, user=user)
    assert status == 2
    assert said in answer


def test_what_is_missing_or_of_another_kind_is_said_and_nothing_done(
    site: Site, tree: Path
) -> None:
    publishing.create_repository("images", by=site.cast.ada, kind="docker")
    with nothing_changes():
        status, said = import_packages(tree, repository="images")
        assert (status, said) == (2, "images holds images; import into a repository for files.")
        assert "no repository “nowhere”" in import_packages(tree, repository="nowhere")[1]
        assert "is no folder" in import_packages(tree / "nothing")[1]
        assert "is not like" in import_packages(tree, "--rename", "lib")[1]


# ---- Left undone --------------------------------------------------------------------------------
def left_undone(site: Site, tree: Path) -> tuple[Run, Run]:
    """As two imports leave it that were killed: before the run's end, and right after it."""
    pipeline = importing.pipeline_for(site.repository, "import-apps", by=site.cast.ada)
    begun = runs.report(pipeline, by=site.cast.ada, comment=f"Imported from {tree}/app/1.9.0")
    ended = runs.report(pipeline, by=site.cast.ada, comment=f"Imported from {tree}/app/1.10.0")
    kept = [
        artifacts.NamedBlob("README", blobs.keep_bytes([b"read me"])),
        artifacts.NamedBlob("bin/app", blobs.keep_bytes([b"ten"]), executable=True),
    ]
    release = artifacts.Release("apps", "1.10.0")
    artifacts.report_files(ended, importing.PLACE, "app", kept, by=site.cast.ada, release=release)
    runs.finish(ended, ExecutionState.SUCCEEDED, by=site.cast.ada)
    return begun, ended


def test_what_a_killed_import_left_is_ended_and_its_versions_are_not_doubled(
    site: Site, tree: Path
) -> None:
    begun, ended = left_undone(site, tree)
    status, said = import_packages(tree)
    assert status == 0
    assert "ended  2 unfinished run(s) of an import before" in said
    assert "5 published (23 B), 1 there already" in said
    begun.refresh_from_db()
    assert (begun.state, begun.error) == ("cancelled", "Cancelled by ada.")
    assert Version.objects.get(name="1.10.0").artifact.run == ended
    assert len(versions("app")) == 4
    assert broken() == {}


def test_runs_that_another_system_reports_to_the_same_pipeline_are_left_alone(
    site: Site, tree: Path
) -> None:
    pipeline = make_pipeline(site.cast.ada, "reported")
    theirs = runs.report(pipeline, by=site.cast.ada, comment="Build 42")
    assert import_packages(tree, "--pipeline", "reported")[0] == 0
    theirs.refresh_from_db()
    assert theirs.state == "running"
    assert set(Artifact.objects.values_list("run__pipeline__slug", flat=True)) == {"reported"}
    assert not Pipeline.objects.filter(slug="import-apps").exists()


def test_one_that_is_at_work_keeps_a_second_one_out(site: Site, tree: Path) -> None:
    pipeline = importing.pipeline_for(site.repository, "import-apps", by=site.cast.ada)
    with importing.alone(pipeline), nothing_changes():
        status, said = import_packages(tree)
    assert status == 2
    assert "Another import by the pipeline import-apps is at work. Wait for it." in said
    with importing.alone(pipeline), pytest.raises(Conflict), importing.alone(pipeline):
        raise AssertionError
    assert import_packages(tree)[0] == 0


def test_ctrl_c_leaves_no_run_open_and_the_next_one_goes_on(site: Site, tree: Path) -> None:
    """It comes when the third file has been read and is about to be kept."""
    real, calls = blobs.keep, 0

    def keep(staged: blobs.Staged) -> Blob:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(staged)

    with patch.object(blobs, "keep", keep):
        status, said = import_packages(tree)
    assert (status, said.splitlines()[-1]) == (2, "Stopped. Run it again to go on where it was.")
    assert not Run.objects.open().exists()
    assert versions("app") == ["build-9", "build-10"]
    assert "2 there already" in import_packages(tree)[1]
    assert len(versions("app")) == 4
    assert broken("--scrub") == {}


def test_a_version_that_somebody_else_publishes_meanwhile_is_a_conflict_and_its_run_ends(
    site: Site, tree: Path
) -> None:
    real = uploads.check

    def check(run: Run, name: str, release: artifacts.Release, files: Any) -> None:
        if release.version == "1.9.0":
            site.publish("1.9.0", files={"app.tgz": b"theirs"})
        real(run, name, release, files)

    make_tree(tree, {"app/1.9.0/app.tgz": b"ours"})
    with patch.object(uploads, "check", check):
        status, said = import_packages(tree / "app", "--flat", "app")
    assert status == 1
    assert "3 published (15 B), 0 there already, 1 in conflict, 0 refused." in said
    assert files_of("app", "1.9.0") == {"app.tgz": b"theirs"}
    assert not Run.objects.open().exists()


# ---- A folder that changes while it is read ------------------------------------------------------
@pytest.mark.parametrize("swapped", ["file", "folder", "version", "package"])
def test_what_becomes_a_link_after_the_look_is_not_followed(
    site: Site, tree: Path, tmp_path: Path, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write there could have the operator publish what only the operator may read."""
    secret = make_tree(tmp_path / "secret", {"app/1.10.0/bin/app": b"shh"})
    inside = {"file": "app/1.10.0/bin/app", "folder": "app/1.10.0/bin", "version": "app/1.10.0"}
    path = inside.get(swapped, "app")
    checked = importing._checked_files

    def swap_after(incoming: Incoming) -> Sequence[IncomingFile]:
        files = checked(incoming)
        (tree / path).rename(tmp_path / "aside")
        (tree / path).symlink_to(secret / path)
        return files

    monkeypatch.setattr(importing, "_checked_files", swap_after)
    incoming = next(
        each
        for each in Tree(tree).listing()
        if isinstance(each, Incoming) and each.version == "1.10.0"
    )
    pipeline = importing.pipeline_for(site.repository, "import-apps", by=site.cast.ada)
    with pytest.raises(OSError, match=r"symbolic link|Not a directory"):
        importing.take_in(incoming, site.repository, pipeline, by=site.cast.ada)
    assert not Version.objects.exists()
    assert not Blob.objects.filter(pk=hashlib.sha256(b"shh").hexdigest()).exists()


def test_a_file_that_becomes_a_pipe_is_not_waited_for(site: Site, tree: Path) -> None:
    files = {file.path: file for file in trees.files_of(tree / "app/1.10.0", tree)}
    (tree / "app/1.10.0/bin/app").unlink()
    os.mkfifo(tree / "app/1.10.0/bin/app")
    with pytest.raises(Invalid, match="no file any more"), files["bin/app"].open():
        pass


def test_names_do_not_steer_the_operators_terminal(site: Site, tree: Path) -> None:
    os.rename(tree / "app/1.9.0", tree / "app/1.9.0\x1b[2J\x1b]0;owned\x07")
    os.rename(tree / "app/build-9", os.fsencode(tree / "app") + b"/build-9\xff")
    status, said = import_packages(tree)
    assert status == 1
    assert not {"\x1b", "\x07"} & set(said)
    assert "app 1.9.0ESC[2JESC]0;ownedBEL" in said
    assert said.encode()
