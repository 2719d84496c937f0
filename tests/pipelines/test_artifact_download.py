"""ArtifactDownload: files of an artifact come into the workspace, and nothing else does."""

from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from pipelines import runs
from pipelines.models import Artifact, ExecutionState
from tests.cast import Site, work_off
from tests.pipelines.working import job, log_of, said, upload, worked, yaml

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
REFERENCE = "$[stages.stage1.make.s2.artifacts.app]"


def download(**with_: Any) -> dict[str, Any]:
    return {"step": "ArtifactDownload", "with": {"artifact": REFERENCE, **with_}}


def used(site: Site, make: str, path: Any, *steps: dict[str, Any] | str) -> Any:
    return worked(site, yaml({"make": job(make, upload(path))}, {"use": job(*steps)}))


def test_one_file_comes_under_its_own_name(site: Site) -> None:
    run = used(site, "echo hello > a.txt", "a.txt", download(), "cat a.txt; test -w a.txt")
    assert run.state == S.SUCCEEDED, log_of(run, "use")
    assert said(run, "use") == ["hello"]
    bundle = Artifact.objects.get(run=run).bundle
    assert bundle is not None
    assert f"sha256 {bundle.sha256} checked" in log_of(run, "use")


def test_an_archive_is_extracted_where_that_is_asked_for(site: Site) -> None:
    run = used(
        site,
        "mkdir -p out/bin; echo one > out/bin/a; echo two > out/b; chmod +x out/bin/a",
        "out/",
        download(path="got/here", extract=True),
        "cd got/here; find . -type f | sort; test -x bin/a; echo three >> b; cat b",
    )
    assert run.state == S.SUCCEEDED, log_of(run, "use")
    assert said(run, "use") == ["./b", "./bin/a", "two", "three"]


@pytest.mark.parametrize("path", ["../out", "/etc", "link"])
def test_it_writes_nowhere_but_in_the_workspace(site: Site, path: str) -> None:
    run = used(site, "echo 1 > a", "a", "ln -s /tmp link", download(path=path))
    assert run.state == S.FAILED
    assert "leads out of the workspace" in run.error


def test_what_is_no_archive_is_not_extracted(site: Site) -> None:
    run = used(site, "echo 1 > a", "a", download(extract=True))
    assert run.state == S.FAILED
    assert "a cannot be extracted" in run.error


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        ("tar -cPf a --transform 's,^,../../,' f", "leads out of its folder"),
        ("ln -s /etc/passwd l; tar -cf a l", "leads out of its folder"),
    ],
)
def test_an_archive_that_leads_out_of_its_folder_is_refused(
    site: Site, archive: str, why: str
) -> None:
    run = used(site, f"echo 1 > f; {archive}", "a", download(extract=True))
    assert run.state == S.FAILED
    assert why in run.error


def test_an_archive_larger_than_a_job_may_write_is_refused(site: Site) -> None:
    with override_settings(MAX_WORKSPACE_BYTES=1024**2):
        run = used(
            site,
            "head -c 3000000 /dev/zero > /dev/null; truncate -s 3M big; tar -czSf a big; rm big",
            "a",
            download(extract=True),
        )
    assert run.state == S.FAILED
    assert "1048576 bytes that a job may write" in run.error


def test_damaged_bytes_are_not_handed_out(site: Site) -> None:
    definition = yaml(
        {"make": job("echo 1 > a", upload("a"))},
        {"gate": job("true", driven="manual")},
        {"use": job(download())},
    )
    run = worked(site, definition)
    bundle = Artifact.objects.get(run=run).bundle
    assert bundle is not None
    file = settings.DATA_DIR / "blobs" / bundle.storage_name
    whole = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(b"2\n")
    try:
        runs.pass_job(run.jobs.get(key="gate"), by=site.cast.ben)
        run = work_off(run)
    finally:
        file.write_bytes(whole)
    assert run.state == S.FAILED
    assert "are damaged" in run.error
