"""Git sources: real repositories, pinned to one commit, fetched from allowed places only."""

import os
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from pipelines import destinations, runs
from pipelines.connections import Opened
from pipelines.errors import BadRequest, Invalid
from pipelines.flow.document import Position, Source
from pipelines.git import GitSource
from pipelines.models import ExecutionState, Run
from pipelines.sources import Fetch
from tests.cast import Site, work_off
from tests.pipelines.working import job, log_of, said, started, upload, yaml
from tests.world import nothing_changes

pytestmark = pytest.mark.outside

S = ExecutionState
NOBODY = Run()


class Repository:
    """A bare repository below an allowed folder, and the commits in it."""

    def __init__(self, name: str) -> None:
        self.path = settings.LOCAL_REPOSITORIES[0] / name
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.path], check=True)
        self.work = self.path.with_suffix(".work")
        self.git("clone", "-q", str(self.path), str(self.work), inside=False)
        self.git("checkout", "-q", "-b", "main")

    def git(self, *arguments: str, inside: bool = True) -> str:
        at = ["-C", str(self.work)] if inside else []
        who = {f"GIT_{role}_{part}": "a@b.c" for role in ("AUTHOR", "COMMITTER")
               for part in ("NAME", "EMAIL")}  # fmt: skip
        done = subprocess.run(
            ["git", *at, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **who},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, text: str) -> str:
        (self.work / "app.txt").write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"Say {text}")
        self.git("push", "-q", "--all", "origin")
        self.git("push", "-q", "--tags", "origin")
        return self.git("rev-parse", "HEAD")

    @property
    def source(self) -> dict[str, Any]:
        return {"type": "git", "endpoint": str(self.path), "branch": "main"}


@pytest.fixture
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    settings.LOCAL_REPOSITORIES[0].mkdir(parents=True, exist_ok=True)
    return Repository(f"{tmp_path_factory.mktemp('repository').name}.git")


def pin(fields: dict[str, Any], **asked: str) -> dict[str, Any]:
    return GitSource().pin(NOBODY, Source("code", "git", fields, Position(1, 1)), asked)


def bring(pinned: dict[str, Any], folder: Path) -> Fetch:
    """What to fetch, for a run that may use no connection at all."""

    def none(name: str, kind: str) -> Opened:
        raise AssertionError(f"{name} ({kind}) is not to be opened")

    return Fetch(NOBODY, pinned, folder, lambda line: None, none)


# ---- Pinned --------------------------------------------------------------------------------------
def test_a_branch_is_pinned_to_its_head(repository: Repository) -> None:
    commit = repository.commit("one")
    pinned = pin(repository.source)
    assert (pinned["commit"], pinned["branch"]) == (commit, "main")
    assert pinned["why"] == "the head of main, named by the definition"
    assert repository.commit("two") == pin(repository.source)["commit"] != commit


def test_a_caller_may_name_another_branch_tag_or_commit(repository: Repository) -> None:
    one = repository.commit("one")
    repository.git("tag", "light")
    repository.git("tag", "-a", "annotated", "-m", "A release")
    repository.git("checkout", "-q", "-b", "feature/x")
    two = repository.commit("two")
    assert pin(repository.source)["commit"] == one
    assert pin(repository.source, branch="feature/x")["commit"] == two
    assert pin(repository.source, branch="light")["commit"] == one
    assert pin(repository.source, branch="annotated")["commit"] == one, "not the tag's own object"
    pinned = pin(repository.source, commit=two.upper())
    assert (pinned["commit"], pinned["why"]) == (two, "the commit was named for this run")


def test_a_branch_stands_before_a_tag_of_its_name(repository: Repository) -> None:
    repository.commit("one")
    repository.git("tag", "same")
    repository.git("checkout", "-q", "-b", "same")
    (repository.work / "app.txt").write_text("two")
    repository.git("commit", "-q", "-am", "two")
    repository.git("push", "-q", "origin", "refs/heads/same", "refs/tags/same")
    assert pin(repository.source, branch="same")["commit"] == repository.git("rev-parse", "HEAD")


def test_a_branch_whose_name_only_ends_so_is_not_it(repository: Repository) -> None:
    repository.commit("one")
    repository.git("checkout", "-q", "-b", "team/release")
    repository.commit("two")
    with pytest.raises(Invalid, match="has no branch or tag “release”"):
        pin(repository.source, branch="release")


@pytest.mark.parametrize(
    "branch",
    ["--upload-pack=touch owned", "--upload-pack=x", "-b", "a b", "$(id)", ";id", "a..b", "a\n",
     "a:b", "ext::sh", "*", "refs/heads/*", "ä", "@{-1}", "x" * 300],
)  # fmt: skip
def test_a_branch_that_looks_like_anything_else_is_refused(
    repository: Repository, branch: str
) -> None:
    repository.commit("one")
    with pytest.raises(Invalid):
        pin(repository.source, branch=branch)
    with pytest.raises(Invalid):
        pin({**repository.source, "branch": branch})


@pytest.mark.parametrize("commit", ["abc", "HEAD", "--all", "0" * 39, "g" * 40, "0" * 40 + "\n"])
def test_a_commit_is_its_whole_id(repository: Repository, commit: str) -> None:
    with pytest.raises(Invalid, match="whole id"):
        pin(repository.source, commit=commit)


# ---- Where to ------------------------------------------------------------------------------------
FORBIDDEN = [
    "http://127.0.0.1/app.git",
    "http://127.0.0.1:8000/app.git",
    "http://localhost/app.git",
    "http://[::1]/app.git",
    "http://[::ffff:127.0.0.1]/app.git",
    "http://2130706433/app.git",
    "http://0x7f000001/app.git",
    "http://0177.0.0.1/app.git",
    "http://127.1/app.git",
    "http://0.0.0.0/app.git",
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/app.git",
    "http://192.168.1.1/app.git",
    "http://100.64.0.1/app.git",
    "http://[fe80::1]/app.git",
    "http://[fd00::1]/app.git",
    "http://224.0.0.1/app.git",
    "http://user:password@127.0.0.1/app.git",
    "https://127.0.0.1/app.git",
]


@pytest.mark.parametrize("endpoint", FORBIDDEN)
def test_an_address_that_leads_inward_is_forbidden(endpoint: str) -> None:
    with pytest.raises(destinations.DestinationForbidden):
        pin({"endpoint": endpoint})
    pinned = {"endpoint": endpoint, "commit": "0" * 40, "branch": "main", "why": "x"}
    with pytest.raises(destinations.DestinationForbidden):
        GitSource().fetch(bring(pinned, Path("/nonexistent")))


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "%2Fetc",
        "git@github.com:team/app.git",
        "http://1.1.1.1:99999/x",
        "http://[::1",
        "http://",
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(endpoint: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        pin({"endpoint": endpoint})
    assert not isinstance(refusal.value, destinations.DestinationForbidden)


@pytest.mark.parametrize(
    "address", ["64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:10.0.0.1", "2001:0:1:1::80ff:fffe"]
)
def test_an_inner_address_in_the_clothes_of_another_family_is_forbidden(address: str) -> None:
    with pytest.raises(destinations.DestinationForbidden):
        destinations.allowed_address(address, 80)


@pytest.mark.parametrize("path", ["/etc", "{}/../../etc", "file:///etc", "{}-other"])
def test_a_repository_outside_the_allowed_folders_is_forbidden(path: str) -> None:
    endpoint = path.format(settings.LOCAL_REPOSITORIES[0])
    with pytest.raises(destinations.DestinationForbidden):
        pin({"endpoint": endpoint})


def test_a_link_out_of_the_allowed_folder_is_forbidden(
    repository: Repository, tmp_path: Path
) -> None:
    link = repository.path.with_suffix(".link")
    link.symlink_to(tmp_path)
    with pytest.raises(destinations.DestinationForbidden):
        pin({"endpoint": str(link)})
    link.unlink()


@pytest.mark.parametrize(
    "endpoint", ["ssh://git@example.com/app", "ext::sh -c id", "ftp://example.com/x", "git://x/y",
                 "--upload-pack=id", "http://", "git@example.com:app.git"]
)  # fmt: skip
def test_an_address_of_another_kind_is_refused(endpoint: str) -> None:
    with pytest.raises(BadRequest):
        pin({"endpoint": endpoint})


def test_an_operator_may_open_an_inner_network() -> None:
    with override_settings(ALLOWED_NETWORKS=(ip_network("10.1.0.0/16"), ip_network("127.0.0.0/8"))):
        assert destinations.allowed_address("10.1.2.3", 80) == "10.1.2.3"
        assert destinations.allowed_address("127.0.0.1", 80) == "127.0.0.1"
        with pytest.raises(destinations.DestinationForbidden):
            destinations.allowed_address("10.2.0.1", 80)
    assert destinations.allowed_address("8.8.8.8", 443) == "8.8.8.8"


# ---- In a run ------------------------------------------------------------------------------------
runs_for_real = pytest.mark.django_db(transaction=True)


@runs_for_real
def test_a_run_works_on_the_commit_that_it_was_pinned_to(
    site: Site, repository: Repository
) -> None:
    one = repository.commit("one")
    script = 'cat app.txt; echo; echo "$CI_COMMIT_SHA $CI_COMMIT_REF_NAME $CI_COMMIT_TITLE"'
    definition = yaml(
        {"build": job(script, upload("app.txt"))},
        {"again": job("cat app.txt; rm -rf .git; git rev-parse HEAD || echo none")},
        sources={"code": {**repository.source, "name": "the code"}},
    )
    run = started(site, definition)
    assert run.sources == {}, "a worker asks the remote, not the request"
    runs.begin(run.pk)
    repository.commit("two")
    run = work_off(run)
    assert run.state == S.SUCCEEDED, run.error
    assert run.sources["code"]["commit"] == one
    assert said(run, "build") == ["one", f"{one} main Say one"]
    assert said(run, "again")[0].startswith("one")
    again = work_off(runs.start(run.pipeline, by=site.cast.ada, asked={"code": {"commit": one}}))
    assert said(again, "build")[0] == "one"
    assert said(work_off(runs.start(run.pipeline, by=site.cast.ada)), "build")[0] == "two"


@runs_for_real
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"branch": "nope"}, "has no branch or tag “nope”"),
        ({"branch": "--upload-pack=x"}, "is not a branch or tag name"),
        ({"endpoint": "/etc"}, "is not below a folder"),
        ({"endpoint": "http://127.0.0.1/x"}, "is not on the public internet"),
    ],
)
def test_a_source_that_cannot_be_pinned_breaks_the_run_before_any_step(
    site: Site, repository: Repository, fields: dict[str, str], says: str
) -> None:
    repository.commit("one")
    source = {**repository.source, **fields}
    run = work_off(started(site, yaml({"only": job("echo begun")}, sources={"code": source})))
    assert run.state == S.ERRORED
    assert says in run.error
    assert run.jobs.get().state == S.CANCELLED
    assert log_of(run) == ""
    with nothing_changes():
        runs.begin(run.pk)


@runs_for_real
def test_a_commit_that_the_repository_does_not_have_breaks_the_job(
    site: Site, repository: Repository
) -> None:
    repository.commit("one")
    definition = yaml({"only": job("echo begun")}, sources={"code": repository.source})
    run = work_off(started(site, definition, asked={"code": {"commit": "0" * 40}}))
    assert run.state == S.ERRORED
    assert "begun" not in log_of(run)


@runs_for_real
def test_a_job_may_do_without_sources_or_name_its_workspace(
    site: Site, repository: Repository
) -> None:
    repository.commit("one")
    other = {**repository.source}
    definition = yaml(
        {
            "none": job("ls", sourceOption=[]),
            "both": job("pwd; cat app.txt; ls $WORKSPACE_DIR"),
            "one": job("ls $WORKSPACE_DIR", sourceOption=["other"]),
        },
        sources={"code": repository.source, "other": other},
        defaultWorkspace="other",
    )
    run = work_off(started(site, definition))
    assert run.state == S.SUCCEEDED, run.error
    assert said(run, "none") == []
    assert said(run, "both")[0].endswith("/other")
    assert said(run, "one") == ["other"]
