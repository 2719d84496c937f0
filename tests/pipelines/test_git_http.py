"""Git over HTTP, from a real server: credentials, depth, submodules, and where they may lead."""

import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from pipelines import git, runs
from pipelines.errors import Invalid
from pipelines.models import ExecutionState, Run
from tests.cast import Site, work_off
from tests.parts import git_server
from tests.parts.git_server import PASSWORD, USER, GitServer
from tests.pipelines.connected import connect
from tests.pipelines.working import job, job_of, log_of, said, worked, yaml

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]

S = ExecutionState


@pytest.fixture
def loopback() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)):
        yield


@pytest.fixture
def open_server(loopback: None, tmp_path: Path) -> Iterator[GitServer]:
    with git_server.server(tmp_path) as server:
        yield server


@pytest.fixture
def guarded(loopback: None, tmp_path: Path) -> Iterator[GitServer]:
    with git_server.server(tmp_path, password=True) as server:
        yield server


def host_of(server: GitServer) -> str:
    return server.url_of("x").split("/")[2]


def ran(site: Site, server: GitServer, script: str, **fields: Any) -> Run:
    source = {"type": "gitlab", "endpoint": server.url_of("app"), "branch": "main", **fields}
    return worked(site, yaml({"only": job(script)}, sources={"code": source}))


def connected(site: Site, server: GitServer, password: str = PASSWORD) -> dict[str, Any]:
    connect(site, "code-server", "git", {"password": password}, host=host_of(server), username=USER)
    return {"certificate": {"type": "serviceConnection", "serviceConnection": "code-server"}}


def test_a_commit_comes_over_http(site: Site, open_server: GitServer) -> None:
    commit = open_server.make("app").commit({"app.txt": "hello\n"}, "Greet")
    run = ran(site, open_server, 'cat app.txt; echo "$CI_COMMIT_SHA $CI_COMMIT_TITLE"')
    assert run.state == S.SUCCEEDED, log_of(run)
    assert said(run) == ["hello", f"{commit} Greet"]
    assert run.sources["code"]["commit"] == commit


# ---- Credentials ---------------------------------------------------------------------------------
def test_a_private_repository_is_fetched_with_a_service_connection(
    site: Site, guarded: GitServer
) -> None:
    guarded.make("app").commit({"app.txt": "private\n"})
    script = "cat app.txt; cat .git/config; env; git log -1 --format=%s"
    run = ran(site, guarded, script, **connected(site, guarded))
    assert run.state == S.SUCCEEDED, log_of(run)
    assert said(run)[0] == "private"
    assert PASSWORD not in log_of(run)
    assert "Authorization" not in log_of(run), "the step does not even get the header"
    assert PASSWORD not in str(run.sources)


def test_without_the_connection_the_run_ends_and_says_who_refused(
    site: Site, guarded: GitServer
) -> None:
    guarded.make("app").commit({"app.txt": "private\n"})
    run = ran(site, guarded, "cat app.txt")
    assert run.state == S.ERRORED
    assert guarded.url_of("app") in run.error
    assert run.jobs.get().state == S.CANCELLED


def test_a_wrong_password_is_said_and_not_shown(site: Site, guarded: GitServer) -> None:
    guarded.make("app").commit({"app.txt": "private\n"})
    run = ran(site, guarded, "cat app.txt", **connected(site, guarded, "wrong-password"))
    assert run.state == S.ERRORED
    assert "git could not read" in run.error
    assert "wrong-password" not in run.error


def test_a_secret_goes_to_no_other_host_than_its_own(site: Site, guarded: GitServer) -> None:
    guarded.make("app").commit({"app.txt": "private\n"})
    connect(site, "code-server", "git", {"password": PASSWORD}, host="git.example.com")
    certificate = {"type": "serviceConnection", "serviceConnection": "code-server"}
    run = ran(site, guarded, "cat app.txt", certificate=certificate)
    assert run.state == S.ERRORED
    assert "is for git.example.com, not for" in run.error


def test_a_connection_of_another_team_is_refused(site: Site, guarded: GitServer) -> None:
    guarded.make("app").commit({"app.txt": "private\n"})
    fields = connected(site, guarded)
    site.cast.ada.groups.clear()
    run = ran(site, guarded, "cat app.txt", **fields)
    assert run.state == S.ERRORED
    assert "ada, who wrote the definition, may use" in run.error


# ---- Depth ---------------------------------------------------------------------------------------
def test_the_whole_history_comes_where_no_depth_is_named(
    site: Site, open_server: GitServer
) -> None:
    repository = open_server.make("app")
    for number in range(4):
        repository.commit({"app.txt": str(number)})
    count = "git rev-list --count HEAD"
    assert said(ran(site, open_server, count)) == ["4"]


def test_no_more_commits_come_than_were_asked_for(site: Site, open_server: GitServer) -> None:
    repository = open_server.make("app")
    for number in range(4):
        repository.commit({"app.txt": str(number)})
    assert said(ran(site, open_server, "git rev-list --count HEAD", cloneDepth=2)) == ["2"]


def test_a_branch_that_moves_on_does_not_move_under_a_run(
    site: Site, open_server: GitServer
) -> None:
    repository = open_server.make("app")
    first = repository.commit({"app.txt": "one\n"})
    source = {"type": "git", "endpoint": open_server.url_of("app"), "branch": "main"}
    definition = yaml(
        {"gate": job("true", driven="manual")},
        {"only": job("cat app.txt")},
        sources={"code": {**source, "cloneDepth": 1}},
    )
    run = worked(site, definition)
    repository.commit({"app.txt": "two\n"})
    runs.pass_job(job_of(run, "gate"), by=site.cast.ben)
    assert work_off(run).state == S.SUCCEEDED, log_of(run)
    assert (said(run), run.sources["code"]["commit"]) == (["one"], first)


# ---- Submodules ----------------------------------------------------------------------------------
def test_submodules_come_by_the_commit_that_is_named(site: Site, open_server: GitServer) -> None:
    library = open_server.make("library")
    old = library.commit({"lib.txt": "old\n"})
    library.commit({"lib.txt": "new\n"})
    app = open_server.make("app")
    app.commit({"app.txt": "app\n"})
    app.add_submodule("vendored/lib", open_server.url_of("library"), old)
    run = ran(site, open_server, "cat vendored/lib/lib.txt", submodule=True)
    assert run.state == S.SUCCEEDED, log_of(run)
    assert said(run) == ["old"]


def test_submodules_stay_away_where_nobody_asked(site: Site, open_server: GitServer) -> None:
    library = open_server.make("library")
    commit = library.commit({"lib.txt": "old\n"})
    app = open_server.make("app")
    app.commit({"app.txt": "app\n"})
    app.add_submodule("lib", open_server.url_of("library"), commit)
    assert said(ran(site, open_server, "ls lib | wc -l")) == ["0"]


def test_a_relative_submodule_lies_beside_its_repository(
    site: Site, open_server: GitServer
) -> None:
    commit = open_server.make("library").commit({"lib.txt": "beside\n"})
    app = open_server.make("app")
    app.commit({"app.txt": "app\n"})
    app.add_submodule("lib", "../library.git", commit)
    assert said(ran(site, open_server, "cat lib/lib.txt", submodule=True)) == ["beside"]


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/x.git", "file:///etc", "/etc", "ext::sh -c id", "http://[::1]/x"],
)
def test_a_submodule_leads_nowhere_that_a_source_may_not(
    site: Site, open_server: GitServer, url: str
) -> None:
    app = open_server.make("app")
    app.commit({"app.txt": "app\n"})
    app.add_submodule("lib", url, "1" * 40)
    run = ran(site, open_server, "echo never", submodule=True)
    assert run.state == S.ERRORED
    assert said(run) == []


def test_a_submodule_out_of_the_checkout_is_refused(site: Site, open_server: GitServer) -> None:
    commit = open_server.make("library").commit({"lib.txt": "x\n"})
    app = open_server.make("app")
    app.commit({"app.txt": "app\n"})
    app.add_submodule("lib", open_server.url_of("library"), commit)
    text = (app.work / ".gitmodules").read_text().replace("path = lib", "path = ../../out")
    app.commit({".gitmodules": text})
    run = ran(site, open_server, "echo never", submodule=True)
    assert run.state == S.ERRORED
    assert "leads out of the checkout" in run.error


# ---- Stopped -------------------------------------------------------------------------------------
def test_git_ends_with_the_job_when_its_server_does_not_answer(
    loopback: None, tmp_path: Path
) -> None:
    """A cancelled run, or one whose time is up, does not wait for git's own patience."""
    came = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            with silent.accept()[0] as caller:
                came.set()
                # Until git is gone: then there is nothing more to read.
                while caller.recv(4096):
                    pass

        server = threading.Thread(target=accept)
        server.start()
        remote = git.Remote(
            f"http://127.0.0.1:{silent.getsockname()[1]}/app.git",
            should_stop=lambda: "The run was cancelled." if came.is_set() else "",
        )
        with pytest.raises(Invalid, match="The run was cancelled"):
            git.check_out(remote, "0" * 40, tmp_path)
        server.join()
