"""Calling out: safety.md's attack 15 from every side, and what an answer may cost."""

import contextlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from pipelines import outbound
from pipelines.destinations import DestinationForbidden
from pipelines.errors import BadRequest, Unreachable
from tests.parts import certificates
from tests.parts.web import Asked, Handler, Served, answer, serve

LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def opened() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=LOOPBACK):
        yield


def hello(handler: Handler, asked: Asked) -> None:
    answer(handler, 200, b"hello", content_type="text/plain", x_two="words")


@pytest.fixture
def server() -> Iterator[Served]:
    with serve(hello) as served:
        yield served


# ---- Where to ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "host",
    [
        pytest.param("127.0.0.1", id="loopback"),
        pytest.param("localhost", id="the name of loopback"),
        pytest.param("[::1]", id="loopback of IPv6"),
        pytest.param("[::ffff:127.0.0.1]", id="a mapped address"),
        pytest.param("2130706433", id="a decimal address"),
        pytest.param("0x7f000001", id="a hexadecimal address"),
        pytest.param("0177.0.0.1", id="an octal address"),
        pytest.param("127.1", id="a short address"),
        pytest.param("169.254.169.254", id="link-local"),
        pytest.param("10.0.0.1", id="a private network"),
        pytest.param("0.0.0.0", id="any address"),
        pytest.param("[64:ff9b::7f00:1]", id="NAT64"),
    ],
)
def test_an_address_that_leads_inward_is_never_connected_to(server: Served, host: str) -> None:
    with pytest.raises(DestinationForbidden, match="SLUICE_ALLOWED_NETWORKS"):
        outbound.request("GET", f"http://{host}:{server.port}/")
    assert server.asked == []


def test_an_operator_may_open_a_network_and_no_other(server: Served) -> None:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.1/32"),)):
        assert outbound.request("GET", server.url).status == 200
        with pytest.raises(DestinationForbidden):
            outbound.request("GET", f"http://127.0.0.2:{server.port}/")


def test_a_name_that_re_resolves_is_connected_to_where_it_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the name's lookup is made up: no name server is ours to change its mind."""
    answers = ["127.0.0.2", "127.0.0.1", "127.0.0.1"]
    really = socket.getaddrinfo

    def lookup(host: Any, *more: Any, **named: Any) -> Any:
        return really(answers.pop(0) if host == "moves.test" else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with (
        serve(hello) as inner,
        serve(hello, host="127.0.0.2", port=inner.port) as outer,
        override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.2/32"),)),
    ):
        assert outbound.request("GET", f"http://moves.test:{inner.port}/").body == b"hello"
        assert len(outer.asked) == 1
        assert outer.asked[0].headers["host"] == f"moves.test:{inner.port}"
        with pytest.raises(DestinationForbidden):
            outbound.request("GET", f"http://moves.test:{inner.port}/")
        assert inner.asked == []


def test_a_name_with_one_inward_address_among_others_is_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in ("1.1.1.1", "::1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(DestinationForbidden, match="leads to ::1"):
        outbound.request("GET", "http://both.test/")


def test_a_redirect_inward_is_an_answer_and_not_followed(opened: None) -> None:
    with serve(hello, host="127.0.0.2") as inner:
        inward = f"{inner.url}/secret"
        with serve(lambda handler, asked: answer(handler, 302, location=inward)) as outer:
            got = outbound.request("GET", outer.url)
        assert (got.status, got.headers["location"]) == (302, inward)
        assert inner.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com/a b",
        "http://example.com/\r\nX-Evil: 1",
        "http://example.com/ä",
        "https://ada:secret@example.com/",
    ],
)
def test_what_is_no_address_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        outbound.request("GET", url)
    assert not isinstance(refusal.value, DestinationForbidden)
    assert "secret" not in refusal.value.detail


# ---- What is sent and what comes back ------------------------------------------------------------
def test_a_request_is_sent_as_it_is_given(server: Served, opened: None) -> None:
    got = outbound.request(
        "POST", f"{server.url}/a/b?c=%2F&d=e", headers={"X-Mine": "yes"}, body=b"{}"
    )
    assert (got.status, got.body, got.headers["content-type"]) == (200, b"hello", "text/plain")
    asked = server.asked[0]
    assert (asked.method, asked.path, asked.body) == ("POST", "/a/b?c=%2F&d=e", b"{}")
    assert asked.headers["x-mine"] == "yes"
    assert asked.headers["accept-encoding"] == "identity", "a bomb would unpack past the cap"
    assert "cookie" not in asked.headers


def test_neither_a_proxy_nor_a_netrc_of_the_worker_has_a_say(
    server: Served, opened: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert outbound.request("GET", server.url).status == 200
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "“quoted”"])
def test_a_header_that_would_become_two_is_refused(
    server: Served, opened: None, value: str
) -> None:
    with pytest.raises(BadRequest):
        outbound.request("GET", server.url, headers={"X-Mine": value})
    assert server.asked == []


def test_an_answer_that_is_no_json_is_said_to_be_none(server: Served, opened: None) -> None:
    with pytest.raises(Unreachable, match="is not JSON"):
        outbound.request("GET", server.url).json()
    deep = outbound.Answer(200, {}, b"[" * 200_000)
    with pytest.raises(Unreachable, match="is not JSON"):
        deep.json()
    assert outbound.Answer(200, {}, b'{"a": 1}').json() == {"a": 1}


# ---- Credentials ---------------------------------------------------------------------------------
def test_credentials_go_to_the_host_that_they_are_for(server: Served, opened: None) -> None:
    auth = outbound.basic(server.url, "ada", "secret")
    outbound.request("GET", f"{server.url}/x", auth=auth)
    assert server.asked[0].headers["authorization"] == "Basic YWRhOnNlY3JldA=="
    outbound.request("GET", server.url, auth=outbound.bearer(server.url, "t0ken"))
    assert server.asked[1].headers["authorization"] == "Bearer t0ken"
    assert "secret" not in repr(auth)
    assert "YWRh" not in repr(auth)


def test_no_credentials_to_another_host_port_or_scheme(server: Served, opened: None) -> None:
    for other in ("http://127.0.0.2", f"https://127.0.0.1:{server.port}", "http://127.0.0.1:1"):
        auth = outbound.basic(other, "ada", "secret")
        with pytest.raises(DestinationForbidden, match="are not sent to"):
            outbound.request("GET", server.url, auth=auth)
    assert server.asked == []


def test_no_credentials_in_the_clear_where_no_operator_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    auth = outbound.basic("http://1.1.1.1", "ada", "secret")
    monkeypatch.setattr(socket, "create_connection", None)
    with pytest.raises(DestinationForbidden, match="anybody on the way"):
        outbound.request("GET", "http://1.1.1.1/", auth=auth)


@pytest.mark.parametrize("name", ["Authorization", "authorization", "Cookie", "Host"])
def test_credentials_do_not_go_in_by_the_side_door(name: str) -> None:
    with pytest.raises(ValueError, match="auth"):
        outbound.request("GET", "https://example.com", headers={name: "x"})


# ---- What an answer may cost ---------------------------------------------------------------------
def test_an_endless_answer_is_cut_off(opened: None) -> None:
    def endless(handler: Handler, asked: Asked) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    with serve(endless) as served, pytest.raises(Unreachable, match="more than 100000 bytes"):
        outbound.request("GET", served.url, most=100_000)


def test_an_endless_head_is_cut_off(opened: None) -> None:
    def endless(handler: Handler, asked: Asked) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            handler.wfile.write(b"X-More: " + b"x" * 8192 + b"\r\n")

    with serve(endless) as served, pytest.raises(Unreachable):
        outbound.request("GET", served.url)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b""])
def test_a_slow_answer_is_cut_off_wherever_it_dribbles(opened: None, head: bytes) -> None:
    """Without one deadline for the whole call this would go on until the test is killed."""

    def dribble(handler: Handler, asked: Asked) -> None:
        handler.wfile.write(head)
        while True:
            handler.wfile.write(b"x" if head else b"")
            # Sooner than any time limit on a single read.
            time.sleep(0.05)
            if not head and handler.connection.recv(1) == b"":
                return

    with serve(dribble) as served, pytest.raises(Unreachable, match=r"within 0\.4 s"):
        outbound.request("GET", served.url, seconds=0.4)


def test_a_machine_that_does_not_answer_is_named_with_its_address(opened: None) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{port} .*cannot be talked to"):
            outbound.request("GET", f"http://127.0.0.1:{port}/")


def test_an_answer_that_ends_too_early_or_is_no_http_is_none(opened: None) -> None:
    def short(handler: Handler, asked: Asked) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        handler.close_connection = True

    def rubbish(handler: Handler, asked: Asked) -> None:
        handler.wfile.write(b"220 mail.example.com ESMTP\r\n")
        handler.close_connection = True

    for respond in (short, rubbish):
        with serve(respond) as served, pytest.raises(Unreachable, match="cannot be talked to"):
            outbound.request("GET", served.url)


# ---- Streams -------------------------------------------------------------------------------------
def test_a_body_goes_out_and_an_answer_comes_in_piece_by_piece(
    server: Served, opened: None
) -> None:
    pieces = (b"x" * 100_000 for _ in range(30))
    with outbound.open("PUT", server.url, body=pieces, length=3_000_000) as streamed:
        assert (streamed.status, streamed.headers["x-two"]) == (200, "words")
        assert b"".join(streamed.chunks()) == b"hello"
    assert server.asked[0].headers["content-length"] == "3000000"
    assert server.asked[0].body == b"x" * 3_000_000


def test_a_stream_of_unknown_length_is_sent_in_chunks(opened: None) -> None:
    got = bytearray()

    def take(handler: Handler, asked: Asked) -> None:
        while size := int(handler.rfile.readline(), 16):
            got.extend(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        answer(handler, 201)

    with (
        serve(take) as served,
        outbound.open("POST", served.url, body=iter([b"one", b"", b"two"])) as streamed,
    ):
        assert (streamed.status, streamed.read()) == (201, b"")
    assert bytes(got) == b"onetwo"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_request_without_a_body_does_not_announce_one(
    server: Served, opened: None, method: str
) -> None:
    outbound.request(method, server.url)
    assert server.asked[0].headers.keys().isdisjoint({"transfer-encoding", "content-length"})


def test_a_head_has_no_body_whatever_its_length_says(server: Served, opened: None) -> None:
    with outbound.open("HEAD", server.url) as streamed:
        assert streamed.headers["content-length"] == "5"
        assert list(streamed.chunks()) == []


def test_a_stream_is_held_in_memory_piece_by_piece(opened: None) -> None:
    size = 32 * 1024 * 1024

    def much(handler: Handler, asked: Asked) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        for _ in range(size // 65536):
            handler.wfile.write(b"x" * 65536)

    with serve(much) as served:
        tracemalloc.start()
        try:
            with outbound.open("GET", served.url) as streamed:
                assert sum(len(chunk) for chunk in streamed.chunks()) == size
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_a_stream_may_take_its_time_but_not_fall_silent(opened: None) -> None:
    over = threading.Event()

    def stall(handler: Handler, asked: Asked) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        for _ in range(10):
            handler.wfile.write(b"x")
            time.sleep(0.1)
        over.wait(60)

    with serve(stall) as served:
        # Ten bytes take longer than the silence allowed between two of them.
        streaming = outbound.open("GET", served.url, seconds=60, silence=0.7)
        got = bytearray()
        with streaming as streamed, pytest.raises(Unreachable, match=r"within 0\.7 s"):
            for chunk in streamed.chunks():
                got += chunk
        over.set()
    assert bytes(got) == b"x" * 10


def trickle(piece: bytes, times: int, every: float) -> Callable[[Handler, Asked], None]:
    """Answers in so many pieces, each after a while."""

    def respond(handler: Handler, asked: Asked) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(piece) * times))
        handler.end_headers()
        for _ in range(times):
            handler.wfile.write(piece)
            time.sleep(every)

    return respond


def test_a_stream_that_dribbles_is_given_up(
    opened: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LEAST_PACE = 1000
    monkeypatch.setattr(outbound, "PACE_WINDOW", 0.3)
    with (
        serve(trickle(b"x", 1000, 0.02)) as served,
        outbound.open("GET", served.url) as streamed,
        pytest.raises(Unreachable, match="less than 1000 a second"),
    ):
        list(streamed.chunks())
    with (
        serve(trickle(b"x", 30, 0.02)) as served,
        outbound.open("GET", served.url, is_paced=False) as streamed,
    ):
        assert len(streamed.read()) == 30
    settings.LEAST_PACE = 0
    with (
        serve(trickle(b"x", 30, 0.02)) as served,
        outbound.open("GET", served.url) as streamed,
    ):
        assert len(streamed.read()) == 30


def test_a_receiver_that_hardly_takes_anything_is_given_up(
    opened: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LEAST_PACE = 100_000_000
    monkeypatch.setattr(outbound, "PACE_WINDOW", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def sip() -> None:
            taken, _ = server.accept()
            with taken, contextlib.suppress(OSError):
                while taken.recv(1024):
                    time.sleep(0.01)

        threading.Thread(target=sip, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        body = (bytes(64 * 1024) for _ in range(10_000))
        with (
            pytest.raises(Unreachable, match="less than 100000000 a second"),
            outbound.open("PUT", url, body=body, length=10_000 * 64 * 1024),
        ):
            pytest.fail("it was answered")


def test_who_takes_the_bytes_slowly_is_not_put_down_to_who_sends_them(
    opened: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LEAST_PACE = 1000
    monkeypatch.setattr(outbound, "PACE_WINDOW", 0.2)
    with (
        serve(trickle(bytes(64 * 1024), 8, 0.0)) as served,
        outbound.open("GET", served.url) as streamed,
    ):
        size = 0
        for chunk in streamed.chunks():
            size += len(chunk)
            time.sleep(0.05)
    assert size == 8 * 64 * 1024


def test_a_stream_that_breaks_off_says_so(opened: None) -> None:
    def short(handler: Handler, asked: Asked) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        handler.close_connection = True

    with serve(short) as served, outbound.open("GET", served.url) as streamed:
        chunks = streamed.chunks()
        assert next(chunks) == b"half"
        with pytest.raises(Unreachable, match="cannot be talked to"):
            next(chunks)


def test_a_fault_of_ones_own_is_not_put_down_to_the_network(server: Served, opened: None) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk it is read from")

    with (
        pytest.raises(OSError, match="the disk it is read from"),
        outbound.open("PUT", server.url, body=broken(), length=100),
    ):
        pytest.fail("there is nothing to answer to half a body")
    with (
        pytest.raises(OSError, match="the disk it is written to"),
        outbound.open("GET", server.url) as streamed,
    ):
        for _ in streamed.chunks():
            raise OSError("the disk it is written to")


def test_an_answer_that_comes_before_the_body_is_wanted_is_heard(opened: None) -> None:
    """A registry refuses what it does not take without reading all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            taken, _ = listening.accept()
            taken.recv(65536)
            taken.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            taken.shutdown(socket.SHUT_WR)
            while taken.recv(65536):
                pass
            taken.close()

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        pieces = (b"x" * 65536 for _ in range(64))
        with outbound.open("PUT", url, body=pieces, length=64 * 65536) as streamed:
            assert streamed.status == 413
        thread.join()


def test_a_stream_keeps_to_the_rules_of_every_call(server: Served) -> None:
    with (
        pytest.raises(DestinationForbidden),
        outbound.open("PUT", server.url, body=iter([b"x"]), length=1),
    ):
        pytest.fail("nothing was to be opened")
    assert server.asked == []


# ---- TLS -----------------------------------------------------------------------------------------
@contextlib.contextmanager
def trusted(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    outbound._tls.cache_clear()
    try:
        yield
    finally:
        outbound._tls.cache_clear()


def test_the_certificate_is_checked_for_the_name_although_the_address_is_pinned(
    opened: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = socket.getaddrinfo
    names = {"good.test", "other.test"}
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **named: really("127.0.0.1" if host in names else host, *more, **named),
    )
    made = certificates.make(tmp_path, "good.test")
    with serve(hello, certificate=made) as served:
        with trusted(made[0], monkeypatch):
            good = f"https://good.test:{served.port}/"
            assert outbound.request("GET", good).body == b"hello"
            with pytest.raises(Unreachable, match="certificate is not trusted"):
                outbound.request("GET", f"https://other.test:{served.port}/")
            with pytest.raises(Unreachable, match="certificate is not trusted"):
                outbound.request("GET", served.url)
        monkeypatch.delenv("SSL_CERT_FILE")
        outbound._tls.cache_clear()
        with pytest.raises(Unreachable, match="certificate is not trusted"):
            outbound.request("GET", good)
    assert len(served.asked) == 1
