"""Steps: what they get, what they hand on, what they upload, and what is left of them."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from pipelines import execution, logs, processes, runs
from pipelines.logs import LogWriter
from pipelines.models import ExecutionState, Job, LogChunk
from tests.cast import Site
from tests.pipelines.working import (
    job,
    job_of,
    log_of,
    one_job,
    said,
    started,
    steps,
    upload,
    worked,
    yaml,
)

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

S = ExecutionState


# ---- The environment -----------------------------------------------------------------------------
GIVEN = {
    "PIPELINE_ID", "PIPELINE_NAME", "BUILD_NUMBER", "BUILD_REMARK", "BUILD_EXECUTOR",
    "BUILD_MESSAGE", "DATETIME", "TIMESTAMP", "PROJECT_DIR", "WORKSPACE_DIR", "PATH", "HOME",
    "TMPDIR", "FLOW_ENV", "LANG", "LC_ALL", "CI",
}  # fmt: skip
OF_THE_SHELL = {"PWD", "OLDPWD", "SHLVL", "_"}


def test_a_step_gets_its_own_variables_and_nothing_of_the_workers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLUICE_SECRET_KEY", "DJANGO_SETTINGS_MODULE", "AWS_SECRET_ACCESS_KEY", "MINE"):
        monkeypatch.setenv(name, "leaked")
    definition = yaml({"only": job("env")}, variables=[{"key": "OWN", "value": "mine"}])
    run = worked(site, definition, variables={"ASKED": "yes"}, comment="a remark")
    got = dict(line.split("=", 1) for line in said(run))
    assert set(got) - OF_THE_SHELL == GIVEN | {"OWN", "ASKED"}
    assert "leaked" not in log_of(run)
    assert settings.SECRET_KEY not in log_of(run)
    assert {name: got[name] for name in ("OWN", "ASKED", "BUILD_REMARK", "BUILD_EXECUTOR")} == {
        "OWN": "mine",
        "ASKED": "yes",
        "BUILD_REMARK": "a remark",
        "BUILD_EXECUTOR": "ada",
    }
    assert (got["PIPELINE_ID"], got["BUILD_NUMBER"]) == ("work", "1")
    assert Path(got["HOME"]).parent.parent == Path(got["WORKSPACE_DIR"]).parent


def test_callers_stand_above_the_definition_and_built_ins_above_all(site: Site) -> None:
    definition = yaml(
        {"only": job('echo "$A $B $PIPELINE_ID"')},
        variables=[{"key": "A", "value": "definition"}, {"key": "B", "value": "for ${A}"}],
    )
    run = worked(site, definition, variables={"A": "caller", "PIPELINE_ID": "fake"})
    assert said(run) == ["caller for caller work"]


META = [
    "$(touch owned)",
    "`touch owned`",
    '"; touch owned; "',
    "'; touch owned; '",
    "x\ntouch owned",
]


@pytest.mark.parametrize("value", META)
def test_what_a_caller_puts_into_a_variable_is_never_executed(site: Site, value: str) -> None:
    definition = yaml(
        {"only": job('printf "%s" "${NAME}" > out; ls', upload("out"))},
        variables=[{"key": "NAME", "value": "x"}],
    )
    run = worked(site, definition, variables={"NAME": value})
    assert run.state == S.SUCCEEDED
    assert said(run) == ["out"]
    file = run.artifacts.get().files.get()
    assert (Path(settings.DATA_DIR) / "blobs" / file.blob.storage_name).read_text() == value


def test_a_step_hands_variables_on(site: Site) -> None:
    run = one_job(
        site,
        'echo "VERSION=1.2=3" >> $FLOW_ENV; echo "PIPELINE_ID=fake" >> $FLOW_ENV;'
        ' echo "not a name=x" >> $FLOW_ENV; echo "no equals" >> $FLOW_ENV',
        'echo "$VERSION $PIPELINE_ID"',
        "echo 1 > a",
        upload("a", "app-${VERSION}"),
    )
    assert run.state == S.SUCCEEDED
    assert said(run) == ["1.2=3 work"]
    assert run.artifacts.get().name == "app-1.2=3"


def test_a_step_that_removes_its_outputs_breaks_nothing_else(site: Site) -> None:
    run = one_job(site, "rm -rf $WORKSPACE_DIR/.sluice")
    assert S(run.state).is_final
    assert run.jobs.get().state == run.state


def test_steps_share_a_workspace_that_is_gone_afterwards(site: Site) -> None:
    run = one_job(site, "pwd; echo 1 > shared; chmod 000 shared; mkdir -m 000 locked", "ls")
    folder, *there = said(run)
    assert there == ["locked", "shared"]
    assert Path(folder).parent.parent == Path(settings.WORKSPACES_DIR)
    assert not Path(folder).exists()
    assert list(Path(settings.WORKSPACES_DIR).glob("job-*")) == []


def test_jobs_do_not_see_each_others_workspaces(site: Site) -> None:
    run = worked(site, yaml({"one": job("touch mine")}, {"two": job("ls")}))
    assert said(run, "two") == []
    assert run.state == S.SUCCEEDED


def test_a_shell_stops_at_the_first_command_that_fails(site: Site) -> None:
    run = one_job(site, "echo before\nfalse\necho after")
    assert said(run) == ["before"]
    assert run.state == S.FAILED


def test_a_step_that_is_killed_says_by_which_signal(site: Site) -> None:
    run = one_job(site, "kill -9 $$")
    assert run.error == "stage1.only: s1: It was killed by signal 9."


# ---- Time ----------------------------------------------------------------------------------------
def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_timeout_kills_the_step_and_all_that_it_started(site: Site) -> None:
    script = "sleep 60 & echo $!; (trap '' TERM; sleep 61 & echo $!; wait) & sleep 62"
    run = started(site, yaml({"only": job(script, "echo never")}))
    Job.objects.filter(run=run).update(timeout_minutes=0)
    runs.begin(run.pk)
    execution.execute(job_of(run).pk)
    runs.advance(run.pk)
    run.refresh_from_db()
    assert run.state == S.FAILED
    assert "took longer than the job's timeoutMinutes allow" in run.error
    assert steps(run) == ["failed", "skipped"]
    assert not [pid for pid in said(run) if is_alive(int(pid))]


def test_what_a_step_leaves_in_the_background_ends_with_it(site: Site) -> None:
    run = one_job(site, "sleep 60 & echo $!")
    assert run.state == S.SUCCEEDED
    (pid,) = said(run)
    assert not is_alive(int(pid))


@pytest.mark.parametrize("stop", ["deadline", "wish"])
def test_a_program_that_never_stops_talking_is_stopped_all_the_same(
    tmp_path: Path, stop: str
) -> None:
    heard: list[int] = []
    ended = processes.run(
        ["yes"],
        folder=tmp_path,
        environment={"PATH": os.environ["PATH"]},
        deadline=time.monotonic() + (0.3 if stop == "deadline" else 3600),
        output=lambda data: heard.append(len(data)),
        should_stop=lambda: "Enough." if stop == "wish" and heard else "",
    )
    assert ended.stopped == ("timeout" if stop == "deadline" else "Enough.")
    assert heard


def test_a_program_that_left_its_group_does_not_keep_the_worker(tmp_path: Path) -> None:
    heard: list[bytes] = []
    script = "setsid sh -c 'echo $$; exec yes' & read -t 0.3 _ < /dev/zero; exit 4"
    ended = processes.run(
        ["bash", "-c", script],
        folder=tmp_path,
        environment={"PATH": os.environ["PATH"]},
        deadline=time.monotonic() + 60,
        output=heard.append,
        should_stop=lambda: "",
    )
    assert ended == processes.Ended(4)


# ---- Logs ----------------------------------------------------------------------------------------
def test_output_is_kept_whatever_bytes_it_has(site: Site) -> None:
    run = one_job(site, r"printf 'a\000b\n\xff\xfe\nä\n' ; printf 'no end'")
    assert said(run) == [
        "a\N{REPLACEMENT CHARACTER}b",
        "\N{REPLACEMENT CHARACTER}" * 2,
        "ä",
        "no end",
    ]


def test_a_character_that_is_cut_between_two_reads_stays_whole(site: Site) -> None:
    writer = LogWriter(job_of(started(site, yaml({"only": job("true")}))))
    for byte in "ä🙂\n".encode():
        writer.write(bytes([byte]))
    writer.flush()
    assert "".join(chunk.text for chunk in LogChunk.objects.all()) == "ä🙂\n"


def test_errors_come_between_the_output_in_order(site: Site) -> None:
    run = one_job(site, "echo 1; echo 2 >&2; echo 3")
    assert said(run) == ["1", "2", "3"]


def test_a_log_that_is_full_says_so_and_the_step_goes_on(site: Site) -> None:
    with override_settings(MAX_LOG_BYTES=1024):
        run = one_job(site, "head -c 5000000 /dev/zero | tr '\\0' x; echo; touch done; ls", "ls")
    assert run.state == S.SUCCEEDED
    text = log_of(run)
    assert text.startswith("x" * 1024 + f"\n{logs.FULL}")
    assert len(text) < 1024 + 200


def test_a_log_is_told_by_steps(site: Site) -> None:
    run = one_job(site, "echo one", "echo two")
    chunks = LogChunk.objects.filter(job__run=run).order_by("sequence")
    assert [(chunk.step, chunk.text) for chunk in chunks] == [("s1", "one\n"), ("s2", "two\n")]


# ---- Uploads -------------------------------------------------------------------------------------
TREE = (
    "mkdir -p out/deep .git out/.git; echo 1 > out/a.txt; echo 2 > out/deep/b.txt; echo 3 > c.log"
)


def uploaded(site: Site, path: str | list[str], script: str = TREE, **more: Any) -> list[str]:
    run = one_job(site, script, upload(path, **more))
    assert run.state == S.SUCCEEDED, run.error
    return [file.path for file in run.artifacts.get().files.all()]


@pytest.mark.parametrize(
    ("path", "keep", "files"),
    [
        ("c.log", False, ["c.log"]),
        ("out", False, ["a.txt", "deep/b.txt"]),
        ("out/", False, ["a.txt", "deep/b.txt"]),
        ("out/", True, ["out/a.txt", "out/deep/b.txt"]),
        ("out/deep/b.txt", False, ["b.txt"]),
        ("out/deep/b.txt", True, ["out/deep/b.txt"]),
        ("**/*.txt", False, ["a.txt", "b.txt"]),
        ("**/*.txt", True, ["out/a.txt", "out/deep/b.txt"]),
        (["c.log", "out/"], False, ["a.txt", "c.log", "deep/b.txt"]),
        ("c.log\nout/a.txt\n", False, ["a.txt", "c.log"]),
    ],
)
def test_files_folders_and_patterns_are_uploaded(
    site: Site, path: str | list[str], keep: bool, files: list[str]
) -> None:
    assert uploaded(site, path, includePathInArtifact=keep) == files


def failed_upload(site: Site, path: str, script: str = TREE) -> str:
    """Why an upload was refused, which left no artifact."""
    run = one_job(site, script, upload(path))
    assert run.state == S.FAILED
    assert not run.artifacts.exists()
    return run.error


def test_a_path_that_matches_nothing_names_what_is_there(site: Site) -> None:
    error = failed_upload(site, "dist/")
    assert "“dist/” matches nothing. The folder holds: .git, c.log, out." in error


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "out/../../x"])
def test_a_path_out_of_the_workspace_is_refused(site: Site, path: str) -> None:
    assert "leads out of the workspace" in failed_upload(site, path)


@pytest.mark.parametrize(
    "link", ["ln -s /etc/passwd out/link", "ln -s /etc out/link", "ln -s ../../../x out/link"]
)
@pytest.mark.parametrize("path", ["out/", "out/link"])
def test_a_link_out_of_the_workspace_is_refused(site: Site, link: str, path: str) -> None:
    assert "a link that leads out of the workspace" in failed_upload(site, path, f"{TREE}; {link}")


def test_a_folder_behind_a_link_out_of_the_workspace_is_refused(site: Site) -> None:
    error = failed_upload(site, "link/passwd", f"{TREE}; ln -s /etc link")
    assert "a link that leads out of the workspace" in error
    error = failed_upload_of_pattern(site)
    assert "a link that leads out of the workspace" in error


def failed_upload_of_pattern(site: Site) -> str:
    run = worked(
        site, yaml({"only": job(f"{TREE}; ln -s /etc link", upload("link/pass*"))}), slug="again"
    )
    assert run.state == S.FAILED
    return run.error


def test_a_link_inside_the_workspace_is_its_file(site: Site) -> None:
    assert uploaded(site, "link", f"{TREE}; ln -s c.log link") == ["link"]


def test_what_is_no_plain_file_is_refused(site: Site) -> None:
    assert "is not a plain file" in failed_upload(site, "pipe", "mkfifo pipe")


def test_two_files_of_one_name_are_refused(site: Site) -> None:
    error = failed_upload(site, "*/a", "mkdir x y; echo 1 > x/a; echo 2 > y/a")
    assert "includePathInArtifact: true" in error


def test_an_upload_may_run_what_could_run_before(site: Site) -> None:
    run = one_job(site, "echo 1 > a; echo 2 > b; chmod +x b", upload(["a", "b"]))
    files = run.artifacts.get().files.all()
    assert {file.path: file.executable for file in files} == {"a": False, "b": True}
