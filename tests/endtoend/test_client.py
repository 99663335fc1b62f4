"""Client spans: one round trip each, from the call of the transport to the headers or the error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

import gobuild
from endtoend_requests import one
from goservers import Client, Server, serving
from httpload import load
from watching import Watch, watching


@pytest.fixture(scope="module")
def target() -> Iterator[Server]:
    """Whom the watched client calls; not watched itself."""
    with serving(gobuild.build("httpserver", gobuild.NEWEST)) as server:
        yield server


@pytest.fixture(scope="module")
def caller_watch(caller: Client) -> Iterator[Watch]:
    with watching(caller.pid) as one:
        yield one


@pytest.fixture
def seen(caller_watch: Watch) -> Iterator[Watch]:
    caller_watch.take()
    yield caller_watch
    caller_watch.settle()
    assert not caller_watch.losses()


@contextmanager
def silent(answer: bytes = b"") -> Iterator[str]:
    """A listener that accepts and says nothing, or says `answer` to every request and closes the connection."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                kept.append(connection)
                if answer:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_RDWR)

        worker = threading.Thread(target=accept, daemon=True)
        worker.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    worker.join()
    for connection in kept:
        connection.close()


@pytest.mark.parametrize(("listener", "version"), [("http", "1.1"), ("https", "2")])
def test_attributes_of_a_call(caller: Client, seen: Watch, target: Server, listener: str, version: str) -> None:
    assert caller.call(target.url("/echo?a=1&sig=x", listener))["status"] == {"200": 1}
    span = one(seen.take())
    host, _, port = target.addresses[listener].rpartition(":")
    scheme = target.url("", listener).partition(":")[0]
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.full": f"{target.url('/echo', listener)}?a=1&sig=REDACTED",
        "url.path": "/echo",
        "url.query": "a=1&sig=REDACTED",
        "url.scheme": scheme,
        "server.address": host,
        "server.port": int(port),
        "network.protocol.version": version,
    }
    assert span.name == "GET"
    assert span.kind == "client"
    assert span.parent_id == ""
    assert not span.error


@pytest.mark.parametrize("mode", ["get", "post", "roundtrip", "late", "unread"])
@pytest.mark.parametrize("listener", ["http", "https"])
def test_one_span_a_round_trip(caller: Client, seen: Watch, target: Server, mode: str, listener: str) -> None:
    outcome = caller.call(target.url("/stream?n=3", listener), mode, 5)
    assert outcome["status"] == {"200": 5}
    spans = seen.take()
    assert len(spans) == 5
    assert {span["http.request.method"] for span in spans} == {"POST" if mode == "post" else "GET"}
    assert len({span.trace_id for span in spans}) == 5


def test_it_ends_with_the_headers_not_with_the_body(caller: Client, seen: Watch, target: Server) -> None:
    with silent_stream() as address:
        outcome = caller.call(f"http://{address}/", "unread")
        assert outcome["status"] == {"200": 1}
        span = one(seen.take())
        assert span["http.response.status_code"] == 200
        assert not span.error


@contextmanager
def silent_stream() -> Iterator[str]:
    with silent(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart") as address:
        yield address


def test_every_redirect_is_its_own(caller: Client, seen: Watch, target: Server) -> None:
    caller.call(target.url("/redirect?n=3"))
    spans = seen.take()
    assert [span["http.response.status_code"] for span in spans] == [302, 302, 302, 200]
    assert not any(span.error for span in spans)
    assert [span["url.path"] for span in spans] == ["/redirect"] * 3 + ["/hello"]


@pytest.mark.parametrize("status", [399, 400, 404, 500, 503])
def test_400_and_up_is_an_error(caller: Client, seen: Watch, target: Server, status: int) -> None:
    caller.call(target.url(f"/status?code={status}"))
    span = one(seen.take())
    assert span["http.response.status_code"] == status
    assert span["error.type"] == (str(status) if status >= 400 else None)
    assert span.error == (status >= 400)


# Without a response


def failed(caller: Client, seen: Watch, url: str, mode: str = "get", n: int = 1) -> object:
    """error.type of calls that all fail alike."""
    outcome = caller.call(url, mode, n)
    assert sum(outcome["errors"].values()) == n
    spans = seen.take()
    assert len(spans) == n
    assert all(span["http.response.status_code"] is None and span.error for span in spans)
    assert len({span["error.type"] for span in spans}) == 1
    return spans[0]["error.type"]


def test_connection_refused(caller: Client, seen: Watch, closed_port: str) -> None:
    assert failed(caller, seen, f"http://{closed_port}/", n=3) == "syscall.Errno"


def test_connection_refused_before_tls(caller: Client, seen: Watch, closed_port: str) -> None:
    assert failed(caller, seen, f"https://{closed_port}/") == "syscall.Errno"


def test_a_name_that_does_not_resolve(caller: Client, seen: Watch) -> None:
    assert failed(caller, seen, "http://does-not-exist.invalid/") == "*net.DNSError"


def test_an_answer_that_is_not_http(caller: Client, seen: Watch) -> None:
    with silent(b"ssh-2.0 hello\r\n\r\n") as address:
        caller.call(f"http://{address}/")
        span = one(seen.take())
        assert span.error
        assert span["error.type"] not in ("timeout", "canceled", None)


def test_tls_to_a_server_without(caller: Client, seen: Watch, target: Server) -> None:
    assert failed(caller, seen, f"https://{target.http}/") == "crypto/tls.RecordHeaderError"


@pytest.mark.parametrize("mode", ["timeout", "deadline"])
def test_timeouts(caller: Client, seen: Watch, mode: str) -> None:
    with silent() as address:
        assert failed(caller, seen, f"http://{address}/", mode, 3) == "timeout"


@pytest.mark.parametrize("mode", ["timeout", "deadline"])
def test_timeouts_of_http_2(caller: Client, seen: Watch, target: Server, mode: str) -> None:
    assert failed(caller, seen, target.url("/slow?ms=3000", "https"), mode) == "timeout"


@pytest.mark.parametrize("mode", ["timeout", "deadline"])
def test_timeouts_of_a_tls_handshake(caller: Client, seen: Watch, mode: str) -> None:
    with silent() as address:
        assert failed(caller, seen, f"https://{address}/", mode) == "timeout"


@contextmanager
def unreachable() -> Iterator[str]:
    """HOST:PORT at which connecting takes forever: a listener whose backlog is full drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    ("mode", "error"),
    [("timeout", "timeout"), ("deadline", "timeout"), ("cancel", "canceled"), ("canceled", "canceled")],
)
def test_giving_up_while_connecting(caller: Client, seen: Watch, mode: str, error: str) -> None:
    with unreachable() as address:
        assert failed(caller, seen, f"http://{address}/", mode) == error


def test_a_certificate_that_nobody_vouches_for(go: str, target: Server) -> None:
    with serving(gobuild.build("httpedges", go)) as edges, watching(edges.pid) as watch:
        load(edges.http, f"/context/todo?url={quote(target.url('/hello', 'https'), safe='')}", 1)
        assert one(watch.client())["error.type"] == "crypto/x509.UnknownAuthorityError"


@pytest.mark.parametrize("mode", ["canceled", "cancel"])
@pytest.mark.parametrize("listener", ["http", "https"])
def test_cancellation(caller: Client, seen: Watch, target: Server, mode: str, listener: str) -> None:
    assert failed(caller, seen, target.url("/slow?ms=3000", listener), mode, 2) == "canceled"


def test_a_connection_that_closes_without_an_answer(caller: Client, seen: Watch, target: Server) -> None:
    assert failed(caller, seen, target.url("/abort"), "post") == "*errors.errorString"  # io.EOF


def test_a_stream_that_is_reset(caller: Client, seen: Watch, target: Server) -> None:
    error = failed(caller, seen, target.url("/abort", "https"), "post")
    assert error in ("net/http.http2StreamError", "net/http/internal/http2.StreamError")


def test_an_error_type_of_ones_own_is_reported_as_it_stands(caller: Client, seen: Watch, target: Server) -> None:
    """A RoundTripper of one's own is not net/http's transport: no round trip, no span."""
    outcome = caller.call(target.url("/hello"), "custom")
    assert outcome["errors"] == {"main.customError": 1}
    assert seen.take() == []


def test_response_header_timeout(go: str) -> None:
    with serving(gobuild.build("httpedges", go)) as edges, silent() as address, watching(edges.pid) as watch:
        load(edges.http, f"/call/headers?url={quote(f'http://{address}/', safe='')}", 1)
        assert one(watch.client())["error.type"] == "timeout"


def test_every_early_return(go: str) -> None:
    """What the transport refuses before it dials has a span with its error too."""
    with serving(gobuild.build("httpedges", go)) as edges, watching(edges.pid) as watch:
        load(edges.http, "/call/invalid", 1)
        spans = watch.client()
        assert len(spans) == 6
        assert all(span.error and span["error.type"] for span in spans)
        parent = one(watch.server())
        assert all(span.is_child_of(parent) for span in spans)


def test_both_ends_of_one_request(caller: Client, go: str) -> None:
    """Two processes in one watch: records find their process."""
    with serving(gobuild.build("httpserver", go)) as server, watching(caller.pid, server.pid) as watch:
        caller.call(server.url("/hello"), n=20)
        assert len(watch.client()) == len(watch.server()) == 20
        assert {span.resource["process.pid"] for span in watch.client()} == {caller.pid}
        assert {span.resource["process.pid"] for span in watch.server()} == {server.pid}
