"""The core of it for every Go version and build mode; with --matrix the outcome is docs/versions.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

import gobuild
from endtoend_requests import has_routes
from goservers import Client, Server, serving
from httpload import load
from support_table import Seen
from watching import Span, Watch, watching

PATHS = ["/hello", "/status?code=404", "/panic", "/nothing", "/deep?n=3000", "/abort", "/recovered", "/users/7"]
CALLS = ["/call", "/call-derived", "/call-bare", "/call-goroutine", "/call-pool"]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def inner() -> Iterator[Server]:
    with serving(gobuild.build("httpserver", gobuild.NEWEST)) as server:
        yield server


@pytest.mark.parametrize("mode", gobuild.every_mode())
def test_core(go: str, mode: str, inner: Server, peer: Client, table: list[Seen]) -> None:
    with serving(gobuild.build("httpserver", go, mode=mode)) as server, watching(server.pid) as watch:
        check_counts(server, watch)
        check_attributes(server, watch, go)
        check_http_2(server, watch, peer)
        check_calls(server, watch, inner)
        routes = check_routes(server, watch)
        assert routes == has_routes(go)
        assert watch.losses() == {}
        plain, streams = hits_of_http_1(server, watch), hits_of_http_2(server, watch, peer)
        hits = (plain, streams, hits_of_a_call(server, watch, inner))
        assert hits[0] <= 4.1
        assert hits[2] <= 10.1
    # Everything above was asserted.
    table.append(Seen(go, mode, server=True, client=True, http2=True, routes=routes, hits=hits))


def check_counts(server: Server, watch: Watch) -> None:
    counts = load(server.http, PATHS, 400, connections=8)
    spans = watch.take()
    assert len(spans) == len({span.span_id for span in spans}) == counts.handled == 400
    assert sum(span["error.type"] == "panic" for span in spans) == 50
    assert sum(span["error.type"] == "abort" for span in spans) == 50
    for status, count in counts.status.items():
        assert sum(span["http.response.status_code"] == status for span in spans) == count


def check_attributes(server: Server, watch: Watch, go: str) -> None:
    headers = {"User-Agent": "probe/1.0", "traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1"}
    headers |= {f"X-Other-{number}": "v" for number in range(12)}
    load(server.http, "/status?code=503&sig=x", 1, connections=1, headers=headers)
    [span] = watch.take()
    host, _, port = server.http.rpartition(":")
    route = {"http.route": "/status"} if has_routes(go) else {}
    assert span.attributes == route | {
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "url.path": "/status",
        "url.query": "code=503&sig=REDACTED",
        "url.scheme": "http",
        "server.address": host,
        "server.port": int(port),
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": "probe/1.0",
        "error.type": "503",
    }
    assert (span.trace_id, span.parent_id, span.trace_state) == (TRACE, PARENT, "a=1")


def check_http_2(server: Server, watch: Watch, peer: Client) -> None:
    for path, error in (("/hello", None), ("/status?code=500", "500"), ("/panic", "panic"), ("/abort", "abort")):
        peer.call(server.url(path, "https"), "post", 5)
        spans = watch.take()
        assert [span["error.type"] for span in spans] == [error] * 5
        assert {(span["network.protocol.version"], span["url.scheme"]) for span in spans} == {("2", "https")}


def check_calls(server: Server, watch: Watch, inner: Server) -> None:
    for listener, version in (("http", "1.1"), ("https", "2")):
        url = quote(inner.url("/status?code=404&sig=x", listener), safe="")
        load(server.http, [f"{path}?url={url}" for path in CALLS], 50, connections=4)
        spans = watch.take()
        parents = {span.span_id: span for span in spans if span.kind == "server"}
        calls = [span for span in spans if span.kind == "client"]
        assert len(parents) == len(calls) == 50
        for span in calls:
            assert span.is_child_of(parents[span.parent_id])
            check_call(span, inner, listener, version)
    load(server.http, f"/call?url={quote('http://127.0.0.1:1/', safe='')}", 1)
    [refused] = [span for span in watch.take() if span.kind == "client"]
    assert refused["error.type"] == "syscall.Errno"


def check_call(span: Span, inner: Server, listener: str, version: str) -> None:
    host, _, port = inner.addresses[listener].rpartition(":")
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "url.full": inner.url("/status?code=404&sig=REDACTED", listener),
        "url.path": "/status",
        "url.query": "code=404&sig=REDACTED",
        "url.scheme": listener,
        "server.address": host,
        "server.port": int(port),
        "network.protocol.version": version,
        "error.type": "404",
    }


def check_routes(server: Server, watch: Watch) -> bool:
    """Whether routes were told, and all of them rightly."""
    load(server.http, ["/users/1", "/api/users/2", "/copied/users/3"], 30, connections=2)
    routes = {span["http.route"] for span in watch.take()}
    assert len(routes) == 1
    return routes == {"/users/{id}"}


def hits_of_http_1(server: Server, watch: Watch) -> float:
    return _hits(watch, 200, lambda: load(server.http, "/hello", 200, connections=1))


def hits_of_http_2(server: Server, watch: Watch, peer: Client) -> float:
    return _hits(watch, 200, lambda: peer.call(server.url("/hello", "https"), "get", 200))


def hits_of_a_call(server: Server, watch: Watch, inner: Server) -> float:
    path = f"/call?url={quote(inner.url('/hello'), safe='')}"
    return _hits(watch, 200, lambda: load(server.http, path, 200, connections=1))


def _hits(watch: Watch, requests: int, ask: Callable[[], object]) -> float:
    watch.take()
    before = sum(watch.totals.hits.values())
    ask()
    watch.take()
    return (sum(watch.totals.hits.values()) - before) / requests
