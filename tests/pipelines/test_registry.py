"""Registries of images: a real one is asked, with and without a login."""

import json
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import override_settings

from pipelines import registry
from pipelines.destinations import DestinationForbidden
from pipelines.errors import Invalid, NotFound, Unreachable
from pipelines.registry import Credentials, CredentialsRefused, ImageName
from tests.parts import registry as parts
from tests.parts.registry import PASSWORD, USER, TokenServer
from tests.parts.web import Asked, Handler, answer, serve

ADA = Credentials(USER, PASSWORD)
D = "sha256:" + "0" * 64


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)):
        yield


@pytest.fixture(scope="module")
def open_registry() -> Iterator[str]:
    with parts.server() as address:
        yield address


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with parts.server(password=True) as address:
        yield address


@pytest.fixture(scope="module")
def with_tokens() -> Iterator[TokenServer]:
    with parts.server_with_tokens() as server:
        yield server


# ---- Names ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "parts_"),
    [
        ("registry.example.com/team/app:1.0", ("registry.example.com", "team/app", "1.0", "")),
        ("127.0.0.1:5000/app", ("127.0.0.1:5000", "app", "", "")),
        ("localhost/app:x", ("localhost", "app", "x", "")),
        ("[::1]:5000/app:x", ("[::1]:5000", "app", "x", "")),
        (f"r.example/a/b/c_d-e.f:T_1@{D}", ("r.example", "a/b/c_d-e.f", "T_1", D)),
        (f"r.example/a@{D}", ("r.example", "a", "", D)),
        ("docker.io/alpine:3", ("docker.io", "library/alpine", "3", "")),
        ("docker.io/team/app:3", ("docker.io", "team/app", "3", "")),
    ],
)
def test_a_name_has_its_parts(text: str, parts_: tuple[str, str, str, str]) -> None:
    assert registry.parse(text) == ImageName(*parts_)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app",
        "app:1",
        "team/app:1",
        "registry.example.com/App:1",
        "registry.example.com/app:1:2",
        "registry.example.com/app:",
        "registry.example.com/app@sha256:abc",
        "registry.example.com/../app:1",
        "registry.example.com//app:1",
        "https://registry.example.com/app:1",
        "user:password@registry.example.com/app:1",
        "registry.example.com/app:1\n",
        "registry.example.com/app:--tag=x y",
        "-registry.example.com/app:1",
        "--help/app:1",
        "r.example/" + "a/" * 300 + "a:1",
    ],
)
def test_what_is_no_name_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(Invalid, match=r"like registry\.example\.com/team/app:1\.0"):
        registry.parse(text)


def test_a_name_is_written_as_it_was_read() -> None:
    for text in ("r.example/a:1", f"r.example/a:1@{D}", f"r.example/a@{D}", "r.example:5000/a/b"):
        assert str(registry.parse(text)) == text
    assert str(registry.parse("r.example/a:1").pinned(D)) == f"r.example/a:1@{D}"


def test_credentials_do_not_show_their_password() -> None:
    assert repr(ADA) == f"Credentials(username='{USER}')"


def test_http_is_spoken_only_to_an_address_that_an_operator_opened() -> None:
    for host in ("127.0.0.1", "127.0.0.1:5000", "localhost:5000"):
        assert registry.is_plain(host)
    for host in ("registry.example.com", "10.0.0.1:5000", "[::1]:5000", "1.1.1.1"):
        assert not registry.is_plain(host)
    with override_settings(ALLOWED_NETWORKS=(ip_network("::1/128"),)):
        assert registry.is_plain("[::1]:5000")
        assert not registry.is_plain("localhost:5000")


# ---- Digests and tags ----------------------------------------------------------------------------
def test_a_tag_is_pinned_to_the_digest_that_the_registry_reports(open_registry: str) -> None:
    one = parts.push_image(open_registry, "team/one", "1.0", content=b"one")
    image = registry.parse(f"{open_registry}/team/one:1.0")
    assert registry.digest_of(image) == one
    two = parts.push_image(open_registry, "team/one", "1.0", content=b"two")
    assert registry.digest_of(image) == two != one
    assert registry.digest_of(image.pinned(one)) == one, "the old one is still there by digest"


def test_an_index_has_the_digest_of_the_index(open_registry: str) -> None:
    one = parts.push_image(open_registry, "team/multi", "one")
    index = parts.push_index(open_registry, "team/multi", "all", one)
    image = registry.parse(f"{open_registry}/team/multi:all")
    assert registry.digest_of(image) == index != one


def test_every_tag_is_listed(open_registry: str) -> None:
    names = [f"v{number}" for number in range(30)]
    parts.push_image(open_registry, "team/many", *names)
    image = registry.parse(f"{open_registry}/team/many")
    assert sorted(registry.tags(image)) == sorted(names)


def test_pages_of_tags_are_followed_to_the_end() -> None:
    """Debian's registry hands out all tags at once, so the pages are made up here."""
    pages = {"": ["c", "a"], "a": ["d"], "d": ["b"]}

    def page(handler: Handler, asked: Asked) -> None:
        last = parse_qs(urlsplit(asked.path).query).get("last", [""])[0]
        tags = pages[last]
        more = f"/v2/app/tags/list?n=1000&last={tags[-1]}"
        headers = {} if tags[-1] == "b" else {"link": f'<{more}>; rel="next"'}
        answer(handler, 200, json.dumps({"tags": tags}).encode(), **headers)

    with serve(page) as served:
        assert registry.tags(registry.parse(f"{served.address}/app")) == ["c", "a", "d", "b"]
    assert [each.path.partition("?")[2] for each in served.asked] == [
        "n=1000",
        "n=1000&last=a",
        "n=1000&last=d",
    ]


def test_an_unknown_tag_is_told_with_those_that_exist(open_registry: str) -> None:
    parts.push_image(open_registry, "team/some", *[f"v{number:02}" for number in range(25)])
    with pytest.raises(NotFound) as refusal:
        registry.digest_of(registry.parse(f"{open_registry}/team/some:nope"))
    assert f"{open_registry}/team/some has no tag “nope”. It has: v00, v01," in refusal.value.detail
    assert refusal.value.detail.endswith("v18, v19, ….")
    with pytest.raises(NotFound, match=f"has no {D}. It has: v00"):
        registry.digest_of(registry.parse(f"{open_registry}/team/some@{D}"))


def test_an_unknown_repository_is_told_apart_from_an_unknown_tag(open_registry: str) -> None:
    for ask in (registry.digest_of, registry.tags):
        with pytest.raises(NotFound, match="has no repository “team/none”"):
            ask(registry.parse(f"{open_registry}/team/none:1"))


def test_what_is_meant_must_be_said(open_registry: str) -> None:
    with pytest.raises(Invalid, match="neither a tag nor a digest"):
        registry.digest_of(registry.parse(f"{open_registry}/team/one"))


# ---- Logins --------------------------------------------------------------------------------------
def test_user_and_password_open_a_guarded_registry(guarded: str) -> None:
    pushed = parts.push_image(guarded, "team/app", "1", password=True)
    image = registry.parse(f"{guarded}/team/app:1")
    assert registry.digest_of(image, ADA) == pushed
    assert registry.tags(image, ADA) == ["1"]
    registry.check_login(guarded, ADA)


@pytest.mark.parametrize("who", [Credentials(USER, "wrong secret"), Credentials("eve", PASSWORD)])
def test_wrong_credentials_are_refused_by_name_of_the_registry(
    guarded: str, who: Credentials
) -> None:
    image = registry.parse(f"{guarded}/team/app:1")
    for ask in (
        registry.digest_of,
        registry.tags,
        lambda _, who: registry.check_login(guarded, who),
    ):
        with pytest.raises(CredentialsRefused) as refusal:
            ask(image, who)
        assert (
            f"{guarded} does not take the credentials of “{who.username}”" in refusal.value.detail
        )
        assert who.password not in refusal.value.detail


def test_no_credentials_are_told_apart_from_wrong_ones(guarded: str) -> None:
    with pytest.raises(CredentialsRefused, match=f"{guarded} wants credentials"):
        registry.digest_of(registry.parse(f"{guarded}/team/app:1"))
    with pytest.raises(CredentialsRefused, match=f"{guarded} wants credentials"):
        registry.check_login(guarded, None)


def test_a_token_is_fetched_where_the_registry_says(with_tokens: TokenServer) -> None:
    registry.check_login(with_tokens.address, ADA)
    image = registry.parse(f"{with_tokens.address}/team/app:1")
    with pytest.raises(NotFound, match="has no repository"):
        registry.digest_of(image, ADA)
    assert set(with_tokens.scopes) == {"", "repository:team/app:pull"}, "no more than is needed"
    with pytest.raises(CredentialsRefused, match="does not take the credentials"):
        registry.digest_of(image, Credentials(USER, "wrong"))
    with pytest.raises(CredentialsRefused, match="wants credentials"):
        registry.digest_of(image)


def test_a_realm_that_leads_inward_gets_no_credentials(with_tokens: TokenServer) -> None:
    before = len(with_tokens.served.asked)
    only_the_registry = override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.1/32"),))
    with only_the_registry, pytest.raises(DestinationForbidden):
        registry.check_login(with_tokens.address, ADA)
    assert len(with_tokens.served.asked) == before


def test_a_registry_that_leads_inward_is_not_asked(open_registry: str) -> None:
    with override_settings(ALLOWED_NETWORKS=()):
        for ask in (registry.digest_of, registry.tags):
            with pytest.raises(DestinationForbidden):
                ask(registry.parse(f"{open_registry}/team/one:1"))
        with pytest.raises(DestinationForbidden):
            registry.check_login(open_registry, ADA)


# ---- Registries that do not behave ---------------------------------------------------------------
def test_a_manifest_that_is_not_the_one_of_its_digest_is_refused() -> None:
    def lie(handler: Handler, asked: Asked) -> None:
        if asked.method == "HEAD":
            answer(handler, 405)
        else:
            answer(handler, 200, b"{}", docker_content_digest=D)

    with serve(lie) as served, pytest.raises(Unreachable, match="cannot be relied on"):
        registry.digest_of(registry.parse(f"{served.address}/app:1"))


def test_a_digest_other_than_the_one_asked_for_is_refused() -> None:
    other = "sha256:" + "1" * 64

    def lie(handler: Handler, asked: Asked) -> None:
        answer(handler, 200, docker_content_digest=other)

    with serve(lie) as served, pytest.raises(Unreachable, match="cannot be relied on"):
        registry.digest_of(registry.parse(f"{served.address}/app@{D}"))


def test_a_registry_that_leaves_the_digest_to_us_is_understood() -> None:
    with serve(lambda handler, asked: answer(handler, 200, b"{}")) as served:
        digest = registry.digest_of(registry.parse(f"{served.address}/app:1"))
    assert digest == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert [each.method for each in served.asked] == ["HEAD", "GET"]
    assert "application/vnd.oci.image.index.v1+json" in served.asked[0].headers["accept"]
    assert "docker.distribution.manifest.list.v2+json" in served.asked[0].headers["accept"]


@pytest.mark.parametrize("link", ["http://127.0.0.2:1/v2/app/tags/list?n=1", "//evil.example/x"])
def test_a_list_that_goes_on_elsewhere_is_not_followed(link: str) -> None:
    body = json.dumps({"tags": ["a"]}).encode()
    respond = lambda handler, asked: answer(handler, 200, body, link=f'<{link}>; rel="next"')  # noqa: E731
    with serve(respond) as served, pytest.raises(Unreachable, match="on another host"):
        registry.tags(registry.parse(f"{served.address}/app"))


def test_a_list_that_never_ends_is_left() -> None:
    body = json.dumps({"tags": ["a"] * 1000}).encode()

    def endless(handler: Handler, asked: Asked) -> None:
        more = f"/v2/app/tags/list?n=1000&last={len(served.asked)}"
        answer(handler, 200, body, link=f'<{more}>; rel="next"')

    with serve(endless) as served, pytest.raises(Invalid, match="more than 10000 tags"):
        registry.tags(registry.parse(f"{served.address}/app"))


@pytest.mark.parametrize(
    ("status", "says"), [(500, "answered HTTP 500"), (302, "HTTP 302"), (429, "Try again later")]
)
def test_a_registry_that_is_not_well_is_said_to_be_so(status: int, says: str) -> None:
    with serve(lambda handler, asked: answer(handler, status)) as served:
        with pytest.raises(Unreachable, match=says):
            registry.digest_of(registry.parse(f"{served.address}/app:1"))
        with pytest.raises(Unreachable, match=says):
            registry.check_login(served.address, ADA)
