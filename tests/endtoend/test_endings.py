"""The rare ways a handler ends, over HTTP/1 and HTTP/2, in servers that httptest starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

import gobuild
from endtoend_requests import exchange, one, until_begun
from goservers import Client, Server, serving
from httpload import request_bytes
from watching import Span, Watch, watching


@pytest.fixture(scope="module")
def edges(go: str) -> Iterator[Server]:
    with serving(gobuild.build("httpedges", go)) as server:
        yield server


@pytest.fixture(scope="module")
def edges_watch(edges: Server) -> Iterator[Watch]:
    with watching(edges.pid) as one:
        yield one


@pytest.fixture
def seen(edges_watch: Watch) -> Iterator[Watch]:
    edges_watch.take()
    yield edges_watch
    edges_watch.settle()
    assert not edges_watch.losses()


@pytest.fixture(params=["http", "https"])
def listener(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asked(edges: Server, seen: Watch, peer: Client, listener: str, path: str) -> Span:
    """The span of one POST (which net/http's client does not repeat when it is lost)."""
    peer.call(edges.url(path, listener), "post")
    span = one(seen.take("server"))
    assert span["network.protocol.version"] == ("2" if listener == "https" else "1.1")
    return span


@pytest.mark.parametrize(
    ("path", "error", "status"),
    [
        ("/panic-again", "panic", None),
        ("/panic-streaming?n=3", "panic", 200),
        ("/panic-streaming?n=2000", "panic", 200),
        ("/panic-unsent", "panic", None),
        ("/panic-twice", "abort", None),
        ("/goexit", None, None),
        ("/timed/panic", "panic", None),
    ],
)
def test_unwound(
    edges: Server, seen: Watch, peer: Client, listener: str, path: str, error: str | None, status: int | None
) -> None:
    span = asked(edges, seen, peer, listener, path)
    assert span["error.type"] == error
    assert span.error == (error is not None)
    assert span["http.response.status_code"] == status


def test_panic_nil(edges: Server, seen: Watch, peer: Client, listener: str, go: str) -> None:
    """Before Go 1.21 net/http cannot tell it from no panic at all; since then it is a *runtime.PanicNilError."""
    span = asked(edges, seen, peer, listener, "/panic-nil")
    assert span["error.type"] == (None if go.startswith(("1.18", "1.19", "1.20")) else "panic")
    assert span["http.response.status_code"] is None


def test_an_expired_timeout_handler(edges: Server, seen: Watch, peer: Client, listener: str) -> None:
    span = asked(edges, seen, peer, listener, "/short/timed/expired")
    assert span["http.response.status_code"] == 503
    assert span["error.type"] == "503"
    assert span.milliseconds >= 50


def test_protocol_switch_that_outlives_its_handler(edges: Server, seen: Watch) -> None:
    host, _, port = edges.http.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request_bytes("/switch", headers={"Connection": "Upgrade", "Upgrade": "echo"}))
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        span = one(seen.take("server"))
        assert span["http.response.status_code"] is None, "net/http did not send it"
        connection.sendall(b"ping")
        assert connection.recv(4) == b"ping"


def test_expect_continue(edges: Server, seen: Watch) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "4", "Connection": "close"}
    host, _, port = edges.http.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request_bytes("/continue", method="POST", headers=headers))
        assert b" 100 " in connection.recv(4096)
        connection.sendall(b"body")
        assert b" 202 " in connection.recv(4096)
    assert one(seen.take("server"))["http.response.status_code"] == 202


def test_it_lasts_until_a_slow_client_has_taken_the_response(edges: Server, seen: Watch) -> None:
    """Four megabytes do not fit into the sockets' buffers: the server waits for its reader."""
    host, _, port = edges.http.rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(request_bytes("/big?bytes=8000000", headers={"Connection": "close"}))
    until_begun(seen)
    connection.recv(1)
    seen.drain()
    assert not seen.batches, "it is still being sent"
    while connection.recv(1 << 20):
        pass
    connection.close()
    assert one(seen.take("server"))["http.response.status_code"] == 200


def test_a_large_response_over_http_2(edges: Server, seen: Watch, peer: Client) -> None:
    peer.call(edges.url("/big?bytes=8000000", "https"))
    assert one(seen.take("server"))["http.response.status_code"] == 200


def test_requests_without_a_body_close_cleanly(edges: Server, seen: Watch) -> None:
    assert b"404" in exchange(edges.http, request_bytes("/nowhere", headers={"Connection": "close"}))
    assert one(seen.take("server"))["http.response.status_code"] == 404
