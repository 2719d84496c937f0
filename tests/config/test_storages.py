"""Where the bytes lie, as an operator writes it."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.storages import folder_of, storage

NAME, KEYS = "SLUICE_BLOBS_URL", "SLUICE_S3"
HOME = Path("/srv/sluice/blobs")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        NAME,
        *(f"{KEYS}_{key}_KEY{end}" for key in ("ACCESS", "SECRET") for end in ("", "_FILE")),
    ):
        monkeypatch.delenv(name, raising=False)


def test_without_an_address_it_is_a_folder_or_nothing() -> None:
    found = storage(NAME, KEYS, HOME)
    assert found is not None
    assert found["OPTIONS"] == {"location": str(HOME)}
    assert storage(NAME, KEYS, None) is None


def test_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "file:///srv/some%20where")
    found = storage(NAME, KEYS, HOME)
    assert found is not None
    assert folder_of(found, HOME) == Path("/srv/some where")


def test_a_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(
        NAME, "s3://releases/a/b?endpoint=https://s3.example.com/&region=eu-1&addressing=path"
    )
    monkeypatch.setenv("SLUICE_S3_ACCESS_KEY", "ada")
    (tmp_path / "secret").write_text("hers\n")
    monkeypatch.setenv("SLUICE_S3_SECRET_KEY_FILE", str(tmp_path / "secret"))
    found = storage(NAME, KEYS, HOME)
    assert found is not None
    options = found["OPTIONS"]
    assert (options["bucket_name"], options["location"]) == ("releases", "a/b")
    assert options["endpoint_url"] == "https://s3.example.com"
    assert (options["region_name"], options["addressing_style"]) == ("eu-1", "path")
    assert (options["access_key"], options["secret_key"]) == ("ada", "hers")
    assert folder_of(found, HOME) == HOME


def test_a_bucket_of_aws_needs_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "s3://releases")
    found = storage(NAME, KEYS, HOME)
    assert found is not None
    options = found["OPTIONS"]
    assert (options["endpoint_url"], options["region_name"], options["access_key"]) == (None,) * 3


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "/srv/blobs",
        "http://s3.example.com/releases",
        "file://host/srv",
        "file:///",
        "file:srv",
        "file:///srv?x=1",
        "s3://",
        "s3://UPPER",
        "s3://b",
        "s3://releases/../other",
        "s3://releases/a b",
        "s3://releases?endpoint=s3.example.com",
        "s3://releases?endpoint=https://s3.example.com/path",
        "s3://releases?addressing=sideways",
        "s3://releases?regoin=eu-1",
        "s3://releases?region=",
        "s3://releases?region=a&region=b",
        "s3://releases?region",
        "s3://releases#part",
    ],
)
def test_nonsense_is_refused_with_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(NAME, url)
    with pytest.raises(ImproperlyConfigured, match=NAME):
        storage(NAME, KEYS, HOME)


def test_a_key_in_the_address_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "s3://ada:hers@releases")
    with pytest.raises(ImproperlyConfigured, match=f"{KEYS}_ACCESS_KEY") as refusal:
        storage(NAME, KEYS, HOME)
    assert "hers" not in str(refusal.value)


@pytest.mark.parametrize("key", ["ACCESS", "SECRET"])
def test_half_a_pair_of_keys_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(NAME, "s3://releases")
    monkeypatch.setenv(f"{KEYS}_{key}_KEY", "x")
    with pytest.raises(ImproperlyConfigured, match="Only one"):
        storage(NAME, KEYS, HOME)
