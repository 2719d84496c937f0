"""ArtifactDownload: files of an artifact come into the workspace, and nothing else does."""

from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from pipelines import runs
from pipelines.models import Artifact, ExecutionState
from pipelines.steps import artifact_download
from tests.cast import Site, work_off
from tests.pipelines.working import job, job_of, log_of, said, upload, worked, yaml

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


# ---- What is not extracted (safety.md, lines 2 and 3) --------------------------------------------
PYTHON = "/usr/bin/python3 - <<'END'\nimport io, tarfile\n{}\nEND"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        ("echo 1 > f; tar -cPf a $PWD/f", "leads outside"),
        ("mkdir d; ln -s ../../out d/l; tar -cf a d", "leads outside, to ../../out"),
        ("mkfifo p; tar -cf a p", "“p” is a device"),
        (
            "ln -s . here; tar -cf a here; rm here; mkdir here; echo 1 > here/f; tar -rf a here/f",
            "“here/f” lies behind a link",
        ),
        (
            PYTHON.format(
                "with tarfile.open('a', 'w') as tar:\n"
                "    made = tarfile.TarInfo('h')\n"
                "    made.type, made.linkname = tarfile.LNKTYPE, '/etc/passwd'\n"
                "    tar.addfile(made)\n"
            ),
            "“h” leads outside, to /etc/passwd",
        ),
        (
            PYTHON.format(
                "made = tarfile.TarInfo('x')\n"
                "made.type, made.size = b'x', 8 * 1024**3 - 1\n"
                "open('a', 'wb').write(made.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))\n"
            ),
            "claims to have 8589934591 bytes",
        ),
    ],
    ids=["absolute", "symlink", "device", "behind a link", "hard link", "endless header"],
)
def test_an_archive_that_would_do_harm_is_refused_before_anything_is_extracted(
    site: Site, make: str, why: str
) -> None:
    run = used(site, make, "a", download(path="got", extract=True))
    assert job_of(run, "make").state == S.SUCCEEDED, log_of(run, "make")
    assert run.state == S.FAILED
    assert why in run.error
    assert "extracted into" not in log_of(run, "use")


@pytest.mark.parametrize("pack", ["gzip", "bz2", "lzma"])
def test_a_packed_bomb_is_refused_before_anything_is_extracted(site: Site, pack: str) -> None:
    """Its bytes are no file's, so that no size of a member tells of them."""
    bomb = PYTHON.format(
        f"import {pack}\n"
        "made = tarfile.TarInfo('label')\n"
        "made.type, made.size = b'V', 30_000_000\n"
        f"open('a', 'wb').write({pack}.compress(made.tobuf() + bytes(30_000_256)))\n"
    )
    with override_settings(MAX_WORKSPACE_BYTES=1024**2):
        run = used(site, bomb, "a", download(extract=True))
    assert job_of(run, "make").state == S.SUCCEEDED, log_of(run, "make")
    assert run.state == S.FAILED
    assert "unpacks to more than 500 times" in run.error or "2 MiB of it" in run.error
    assert "extracted into" not in log_of(run, "use")


def test_more_members_than_a_disk_has_places_for_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact_download, "MAX_MEMBERS", 20)
    make = "mkdir d; cd d; for n in $(seq 30); do : > $n; done; cd ..; tar -cf a d"
    run = used(site, make, "a", download(extract=True))
    assert run.state == S.FAILED
    assert "more than 20 members" in run.error


@pytest.mark.parametrize("option", ["", "z", "j", "J"])
def test_links_that_stay_inside_are_extracted(site: Site, option: str) -> None:
    links = "ln -s ../bin/x d/bin/y; ln d/bin/x d/z"
    make = f"mkdir -p d/bin; echo 1 > d/bin/x; {links}; tar -c{option}f a d"
    run = used(site, make, "a", download(path="got", extract=True), "cat got/d/bin/y got/d/z")
    assert run.state == S.SUCCEEDED, log_of(run, "use")
    assert said(run, "use") == ["1", "1"]
