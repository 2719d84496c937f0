"""examples/other-ci/sluice.sh, called against a real server by real shells."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.models import Artifact, Run
from tests.cast import Site, token_of
from tests.other_ci.building import DIGEST, EXAMPLES, Build, Said
from tests.world import World, world

SHELLS = [name for name in ("dash", "bash", "sh") if shutil.which(name)]
IMAGE = f"registry.example.com/shop/app:1.0@{DIGEST}"


def begun(build: Build, **changed: str) -> Run:
    answer = build.sluice("begin", **changed)
    assert answer.status == 0, answer.errors
    return Run.objects.get(pipeline__slug="app", number=int(answer.out))


def done(answer: Said) -> str:
    assert answer.status == 0, answer.errors
    return answer.errors


def beside_calls() -> World:
    """Everything but what each call leaves: its key with the answer, and the token's last use."""
    kept = world()
    del kept["pipelines.IdempotencyKey"], kept["accounts.Token"]
    return kept


def refused(build: Build, *arguments: str, **changed: str) -> str:
    """What the script says when it fails, which leaves everything in Sluice as it was."""
    before = beside_calls()
    answer = build.sluice(*arguments, **changed)
    assert answer.status == 1, answer
    assert beside_calls() == before
    assert answer.out == ""
    return answer.errors


@pytest.mark.parametrize("shell", SHELLS)
def test_a_build_is_reported_with_its_files_and_its_image(build: Build, shell: str) -> None:
    build.write("dist/the app.txt", b"one")
    build.write("dist/lib/, ; 'x' $(id) ü.so", b"two")
    build.write("notes & more.md", b"three")
    run = begun(build, SLUICE_COMMIT="c0ffee", SLUICE_RUN_URL="https://ci.example.com/42")
    assert (run.state, run.trigger) == ("running", "external")
    assert (run.commit, run.url) == ("c0ffee", "https://ci.example.com/42")

    said = done(build.sluice("upload", "app", "dist/", "notes & more.md", shell=shell))
    assert "$[stages.build.build.upload.artifacts.app]" in said
    said = done(build.sluice("image", "image", IMAGE, shell=shell))
    assert "$[stages.build.build.push.artifacts.image]" in said
    done(build.sluice("end", "success", shell=shell))

    run.refresh_from_db()
    assert run.state == "succeeded"
    files, image = Artifact.objects.filter(run=run).order_by("pk")
    assert {file.path: file.blob.size for file in files.files.all()} == {
        "the app.txt": 3,
        "lib/, ; 'x' $(id) ü.so": 3,
        "notes & more.md": 5,
    }
    assert image.image == IMAGE


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("failed", "failed"),
        ("failure", "failed"),
        ("UNSTABLE", "failed"),
        ("cancelled", "cancelled"),
        ("canceled", "cancelled"),
        ("ABORTED", "cancelled"),
    ],
)
def test_a_build_ends_as_its_ci_system_calls_it(build: Build, word: str, state: str) -> None:
    run = begun(build)
    done(build.sluice("end", word))
    run.refresh_from_db()
    assert run.state == state


def test_every_call_may_be_made_again(build: Build) -> None:
    build.write("app.txt")
    run = begun(build)
    calls = (
        ("begin",),
        ("upload", "app", "app.txt"),
        ("image", "image", IMAGE),
        ("end", "succeeded"),
    )
    for call in calls:
        done(build.sluice(*call))
        once = beside_calls()
        assert done(build.sluice(*call))
        assert beside_calls() == once
    run.refresh_from_db()
    assert (run.state, run.artifacts.count()) == ("succeeded", 2)


def test_a_run_that_ended_does_not_end_in_another_way(build: Build) -> None:
    begun(build)
    done(build.sluice("end", "failed"))
    assert "409" in refused(build, "end", "succeeded")


def test_other_files_under_the_same_name_are_refused(build: Build) -> None:
    build.write("app.txt", b"one")
    begun(build)
    done(build.sluice("upload", "app", "app.txt"))
    build.write("app.txt", b"two")
    assert "use another name" in refused(build, "upload", "app", "app.txt")


def test_the_next_build_in_the_same_folder_opens_another_run(build: Build) -> None:
    first = begun(build, BUILD_TAG="jenkins-app-1")
    assert begun(build, BUILD_TAG="jenkins-app-2").number == first.number + 1
    done(build.sluice("end", "succeeded"))
    assert begun(build, BUILD_TAG="jenkins-app-2").number == first.number + 2


def test_another_job_of_the_build_says_the_number_itself(build: Build, tmp_path: Path) -> None:
    build.write("app.txt")
    run = begun(build)
    (tmp_path / ".sluice-run").unlink()
    assert "call begin first" in refused(build, "upload", "app", "app.txt")
    done(build.sluice("upload", "app", "app.txt", SLUICE_RUN=str(run.number)))
    done(build.sluice("end", "succeeded", SLUICE_RUN=str(run.number)))
    run.refresh_from_db()
    assert (run.state, run.artifacts.count()) == ("succeeded", 1)


def test_a_wrong_token_is_named_and_nothing_is_begun(build: Build) -> None:
    build.token = "sluice_0123456789"
    said = refused(build, "begin")
    assert "401" in said
    assert "SLUICE_TOKEN" in said
    build.token = "two\nlines"
    assert "SLUICE_TOKEN is no token" in refused(build, "begin")


def test_who_may_not_report_is_told_which_roles_may(build: Build, site: Site) -> None:
    build.token = token_of(site.cast.dora)
    assert "dora may not report runs and artifacts" in refused(build, "begin")


def test_a_call_that_was_refused_succeeds_once_nothing_is_in_its_way(
    build: Build, site: Site
) -> None:
    site.cast.ada.roles = []
    site.cast.ada.save()
    assert "403" in refused(build, "begin")
    site.cast.ada.roles = ["developer"]
    site.cast.ada.save()
    assert begun(build).number


def test_an_unknown_pipeline_must_be_made_first(build: Build) -> None:
    build.pipeline = "other"
    said = refused(build, "begin")
    assert "404" in said
    assert "“other”" in said
    build.pipeline = "../users"
    assert "SLUICE_PIPELINE is the pipeline's id" in refused(build, "begin")


def test_a_file_that_is_not_there_is_named_with_those_that_are(build: Build) -> None:
    build.write("app.txt")
    begun(build)
    said = refused(build, "upload", "app", "ap.txt")
    assert "“ap.txt”" in said
    assert "app.txt" in said
    (build.folder / "empty").mkdir()
    assert "no file in the folder “empty”" in refused(build, "upload", "app", "empty")


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\tb"])
def test_a_name_that_sluice_would_not_keep_is_refused(build: Build, name: str) -> None:
    build.write(f"dist/{name}")
    begun(build)
    assert "rename" in refused(build, "upload", "app", "dist")


def test_a_name_that_looks_like_an_option_is_a_name(build: Build) -> None:
    build.write("-K")
    build.write("--config/-o")
    run = begun(build)
    done(build.sluice("upload", "app", "-K", "--config"))
    paths = run.artifacts.get().files.values_list("path", flat=True)
    assert set(paths) == {"-K", "-o"}


def test_an_image_without_a_digest_is_refused(build: Build) -> None:
    begun(build)
    assert "digest" in refused(build, "image", "image", "registry.example.com/shop/app:1.0")
    assert "names no exact image" in refused(build, "image", "image", "app@sha256:12")


def test_what_is_missing_is_named(build: Build) -> None:
    assert "SLUICE_URL is not set" in refused(build, "begin", SLUICE_URL="")
    assert "no way for a run to end" in refused(build, "end", "done")
    for wrong in ((), ("start",), ("upload", "app"), ("image", "app"), ("end",)):
        answer = build.sluice(*wrong)
        assert answer.status == 2
        assert "sluice.sh begin" in answer.errors
        assert "set -eu" not in answer.errors


def test_the_token_is_on_no_command_line_and_in_no_file(build: Build, tmp_path: Path) -> None:
    build.write("app.txt")
    programs = tmp_path / "programs"
    programs.mkdir()
    real = shutil.which("curl")
    (programs / "curl").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{tmp_path}/seen"\nexec {real} "$@"\n'
    )
    (programs / "curl").chmod(0o700)
    path = f"{programs}:{os.environ['PATH']}"
    begun(build, PATH=path)
    done(build.sluice("upload", "app", "app.txt", PATH=path, TMPDIR=str(tmp_path)))
    traced = build.script(f"sh -x {EXAMPLES / 'sluice.sh'} end succeeded", PATH=path)
    assert (tmp_path / "seen").read_text().count("/api/v1/") == 3
    assert build.token not in traced.errors + traced.out
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or build.token.encode() not in file.read_bytes()
    assert not list(tmp_path.glob("tmp.*"))


# ---- When Sluice is not well ---------------------------------------------------------------------
class _Failing(BaseHTTPRequestHandler):
    """Answers as a server that is being restarted, then as Sluice."""

    answers: list[tuple[int, bytes]]
    keys: list[str]

    def do_POST(self) -> None:
        self.keys.append(self.headers["Idempotency-Key"])
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.answers.pop(0)
        if status:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def answering(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[str]]]:
    keys: list[str] = []
    handler = type("Handler", (_Failing,), {"answers": list(answers), "keys": keys})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def alone(tmp_path: Path) -> Build:
    """A build that has no Sluice."""
    return Build(tmp_path, "", "sluice_0123456789")


def test_it_asks_again_with_the_same_key_until_sluice_is_back(alone: Build) -> None:
    busy = b'{"code":"idempotency_key_busy","detail":"Not yet."}'
    with answering((503, b""), (0, b""), (409, busy), (201, b'{"number":7}')) as (url, keys):
        answer = alone.sluice("begin", SLUICE_URL=url)
    assert (answer.status, answer.out) == (0, "7\n")
    assert answer.errors.count("trying again") == 3
    assert len(keys) == 4
    assert len(set(keys)) == 1


def test_after_some_attempts_it_gives_up_and_a_later_call_asks_with_the_same_key(
    alone: Build,
) -> None:
    with answering((502, b""), (502, b""), (201, b'{"number":7}')) as (url, keys):
        answer = alone.sluice("begin", SLUICE_URL=url, SLUICE_ATTEMPTS="2")
        assert answer.status == 1
        assert "gave up after 2 attempts" in answer.errors
        assert alone.sluice("begin", SLUICE_URL=url).out == "7\n"
    assert len(set(keys)) == 1


def test_an_address_where_nobody_answers_is_named(alone: Build) -> None:
    with answering() as (url, _):
        pass
    answer = alone.sluice("begin", SLUICE_URL=url, SLUICE_ATTEMPTS="1")
    assert answer.status == 1
    assert f"{url} did not answer" in answer.errors


def test_an_address_of_something_else_is_not_taken_for_sluice(alone: Build) -> None:
    with answering((200, b"<html>Welcome</html>"), (302, b"")) as (url, _):
        answer = alone.sluice("begin", SLUICE_URL=url)
        assert "did not answer as Sluice does" in answer.errors
        assert answer.status == 1
        assert "Redirections are not followed" in alone.sluice("begin", SLUICE_URL=url).errors
