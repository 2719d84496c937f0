"""`manage.py import_packages` with an address, against the stand-in of tests/parts/packages.py."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.test import override_settings

from pipelines.errors import BadRequest
from pipelines.models import Blob, Run
from promotion.yunxiao import Credentials, PackagesRepository
from tests.cast import Site
from tests.parts.packages import PASSWORD, TOKEN, USER, Packages, packages
from tests.promotion.importing import files_of, import_packages, versions
from tests.promotion.verifying import broken
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Packages]:
    """Seven files with versions, and the credentials where the command looks for them."""
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("SLUICE_IMPORT_USER", USER)
    monkeypatch.setenv("SLUICE_IMPORT_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("SLUICE_IMPORT_TOKEN", TOKEN)
    with (
        override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)),
        packages() as running,
    ):
        for version in ("1.10.0", "1.2.0", "nightly-b", "nightly-a"):
            running.add("shop/web/App.tgz", version, f"app {version}".encode())
        for number in range(6):
            running.add(f"tools/tool-{number}", "1.0.0", f"tool {number}".encode() * 50_000)
        yield running


def take(there: Packages, *arguments: str) -> tuple[int, str]:
    return import_packages(there.url, "--api", there.served.url, *arguments)


def test_every_file_becomes_a_package_and_its_versions_come_in_their_order(
    site: Site, there: Packages
) -> None:
    status, said = take(there)
    assert status == 0, said
    # By the time at which they were made, where their names have no order.
    assert versions("shop-web-app.tgz") == ["nightly-b", "nightly-a", "1.2.0", "1.10.0"]
    assert files_of("shop-web-app.tgz", "1.2.0") == {"App.tgz": b"app 1.2.0"}
    assert files_of("tools-tool-5", "1.0.0") == {"tool-5": b"tool 5" * 50_000}
    notes = set(Run.objects.values_list("comment", flat=True))
    assert f"Imported from {there.url}/files/shop/web/App.tgz?version=1.2.0" in notes
    assert broken("--scrub") == {}


def test_again_asks_for_checksums_and_fetches_nothing(site: Site, there: Packages) -> None:
    take(there)
    there.served.asked.clear()
    with nothing_changes():
        status, said = take(there)
    assert (status, there.asked_for("GET"), len(there.asked_for("HEAD"))) == (0, [], 10)
    assert "0 published (0 B), 10 there already" in said


def test_a_version_that_changed_there_is_a_conflict(site: Site, there: Packages) -> None:
    take(there)
    there.add("tools/tool-0", "1.0.0", b"other")
    with nothing_changes():
        status, said = take(there)
    assert status == 1
    assert "apps/tools-tool-0 1.0.0 exists and differs: tool-0 has other bytes." in said


def test_bytes_that_are_not_what_the_checksum_says_never_become_a_version(
    site: Site, there: Packages
) -> None:
    there.damaged.add("tools/tool-1")
    status, said = take(there)
    assert status == 1
    assert "Try again; if it stays so, the file there is damaged." in said
    assert (versions("tools-tool-1"), versions("tools-tool-2")) == ([], ["1.0.0"])
    assert not Run.objects.open().exists()
    assert Blob.objects.filter(size=300_000).count() == 5


def test_files_whose_names_would_be_one_package_are_told_apart_by_a_name(
    site: Site, there: Packages
) -> None:
    there.add("shop-web/app.tgz", "1.0.0", b"another")
    status, said = take(there)
    assert status == 1
    assert "would all be the package “shop-web-app.tgz”. Name the package with --rename" in said
    assert versions("shop-web-app.tgz") == []
    status, _ = take(there, "--rename", "shop-web/app.tgz=other")
    assert (status, versions("other")) == (0, ["1.0.0"])
    assert len(versions("shop-web-app.tgz")) == 4


def test_some_of_the_packages_can_be_chosen(site: Site, there: Packages) -> None:
    status, _ = take(there, "--package", "tools/tool-3", "--rename", "tools/tool-3=hammer")
    assert (status, versions("hammer"), Run.objects.count()) == (0, ["1.0.0"], 1)
    assert "There is no such package" in take(there, "--package", "tools/saw")[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SLUICE_IMPORT_TOKEN", "Check SLUICE_IMPORT_TOKEN."),
        ("SLUICE_IMPORT_USER", "Check SLUICE_IMPORT_USER and SLUICE_IMPORT_PASSWORD."),
    ],
)
def test_credentials_that_are_refused_stop_it_and_are_not_shown(
    site: Site, there: Packages, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "pt-wrong-one")
    status, answer = take(there)
    assert status == 2
    assert said in answer
    assert "pt-wrong-one" not in answer
    assert PASSWORD not in answer
    assert versions("shop-web-app.tgz") == []
    assert not Run.objects.open().exists()


def test_without_credentials_nothing_is_asked(
    site: Site, there: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_IMPORT_TOKEN")
    with nothing_changes():
        status, said = take(there)
    assert (status, there.served.asked) == (2, [])
    assert "a personal access token" in said


def test_an_address_that_leads_inward_is_refused(site: Site, there: Packages) -> None:
    with override_settings(ALLOWED_NETWORKS=()), nothing_changes():
        status, said = take(there)
    assert (status, there.served.asked) == (2, [])
    assert "SLUICE_ALLOWED_NETWORKS" in said


def test_a_server_that_fails_for_three_versions_in_a_row_ends_it(
    site: Site, there: Packages
) -> None:
    there.is_failing = True
    status, said = take(there)
    assert status == 2
    assert said.count("answers with HTTP 503, which is no answer to this.") == 3
    assert said.endswith("3 versions in a row could not be had. Run it again when it answers.")
    assert not Run.objects.open().exists()
    there.is_failing = False
    assert take(there)[0] == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://packages.example.com/",
        "https://packages.example.com/api/protocol/org/maven/repo",
        "https://packages.example.com/api/protocol/org/generic/repo/files/app",
        "https://user:word@packages.example.com/api/protocol/org/generic/repo",
    ],
)
def test_an_address_of_something_else_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        PackagesRepository(url, Credentials("user", "word", "token"))
    assert "word@" not in caught.value.detail


@pytest.mark.parametrize(
    ("token", "api"), [("pt-one\nX-Other: two", ""), ("pt-one", "http://packages.example.com")]
)
def test_a_token_goes_nowhere_in_the_clear_and_never_as_two_headers(token: str, api: str) -> None:
    url = "https://packages.example.com/api/protocol/org/generic/repo"
    with pytest.raises(BadRequest) as caught:
        PackagesRepository(url, Credentials("user", "word", token), api=api)
    assert "pt-one" not in caught.value.detail


def test_a_regional_edition_is_asked_on_its_own_host() -> None:
    url = "https://shop-cn-hangzhou.example.com/packages/api/protocol/generic/repo"
    made = PackagesRepository(url, Credentials("user", "word", "token"))
    assert made._list == (
        "https://shop-cn-hangzhou.example.com:443/oapi/v1/packages/repositories/repo/artifacts"
    )
