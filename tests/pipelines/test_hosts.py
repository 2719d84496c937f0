"""Where a secret may be sent: the same host is known as such, look-alikes are refused."""

import pytest

from pipelines.errors import Invalid
from pipelines.hosts import host_of, is_same_host


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("git.example.com", "git.example.com"),
        ("  Git.Example.COM ", "git.example.com"),
        ("https://git.example.com/team/repo.git", "git.example.com"),
        ("https://git.example.com:443/", "git.example.com"),
        ("http://git.example.com:80", "git.example.com"),
        ("http://git.example.com:443", "git.example.com:443"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("localhost:5000", "localhost:5000"),
        ("our_registry", "our_registry"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("[::1]:8080", "[::1]:8080"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_written_one_way(written: str, host: str) -> None:
    assert host_of(written) == host


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("git.example.com", "https://git.example.com/a.git"),
        ("git.example.com", "https://GIT.example.com:443/a.git"),
        ("git.example.com", "http://git.example.com/a.git"),
        ("git.example.com:443", "https://git.example.com/a.git"),
        ("git.example.com:8443", "https://git.example.com:8443/a.git"),
        ("[::1]:80", "http://[::1]/a.git"),
        ("registry.example.com", "registry.example.com"),
    ],
)
def test_the_same_host_is_known(host: str, address: str) -> None:
    assert is_same_host(host, address)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("git.example.com", "https://git.example.com:8443/a.git"),
        ("git.example.com:443", "http://git.example.com/a.git"),
        ("git.example.com:80", "https://git.example.com/a.git"),
        ("git.example.com", "https://git.example.com.evil.example/a.git"),
        ("git.example.com", "https://evil-git.example.com/a.git"),
        ("git.example.com", "https://example.com/git.example.com"),
        ("git.example.com", "https://evil.example/?x=git.example.com"),
        ("git.example.com", "https://evil.example#git.example.com"),
        ("127.0.0.1", "http://127.1/a.git"),
    ],
)
def test_another_host_or_port_is_another(host: str, address: str) -> None:
    assert not is_same_host(host, address)


TWOFOLD = [
    "https://evil.example@git.example.com/a.git",
    "https://git.example.com@evil.example/a.git",
    "https://user:open-sesame@git.example.com/a.git",
    "https://evil.example\\@git.example.com/a.git",
    "https://git.example.com\\.evil.example/a.git",
    "https://git.example.com%2eevil.example/",
    "https://gіt.example.com/a.git",  # a Cyrillic і
    "https://ｇit.example.com/a.git",  # of full width
    "https://ɡit.example.com/",
    "https://git。example.com/",
    "https://git.example.com\u200b/",
    "https://git.example.com\n.evil.example/",
    "https://git.example.com\t/",
    "https://git example.com/",
    "https://git.example.com./",
    "https://git.example.com:0/",
    "https://git.example.com:99999/",
    "https://git.example.com:port/",
    "https://[git.example.com]/",
    "https://[::1/",
    "ssh://git.example.com/a.git",
    "file:///srv/git.example.com",
    "javascript://git.example.com/",
    "/srv/repository",
    "git@git.example.com:team/repo.git",
    "-oProxyCommand=x",
    "",
    "https://",
]


@pytest.mark.parametrize("address", TWOFOLD)
def test_what_could_be_read_as_two_hosts_is_refused(address: str) -> None:
    for ask in (lambda: host_of(address), lambda: is_same_host("git.example.com", address)):
        with pytest.raises(Invalid) as refusal:
            ask()
        assert "open-sesame" not in refusal.value.detail
