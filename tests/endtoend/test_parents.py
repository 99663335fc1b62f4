"""Whose child a client span is: by its request's context first, then by its goroutine and those it comes from."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

import gobuild
from endtoend_requests import one
from goservers import Client, Server, serving
from httpload import load, request_bytes
from watching import Span, Watch, watching


@pytest.fixture(scope="module")
def inner() -> Iterator[Server]:
    """Whom the watched server calls; not watched itself."""
    with serving(gobuild.build("httpserver", gobuild.NEWEST)) as server:
        yield server


@pytest.fixture(scope="module")
def edges(go: str) -> Iterator[Server]:
    with serving(gobuild.build("httpedges", go)) as server:
        yield server


def family(spans: list[Span]) -> tuple[Span, list[Span]]:
    """The one server span and the client spans."""
    return one([span for span in spans if span.kind == "server"]), [span for span in spans if span.kind == "client"]


def ask(server: Server, watch: Watch, path: str, **queries: object) -> tuple[Span, list[Span]]:
    query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in queries.items())
    load(server.http, f"{path}?{query}", 1, connections=1)
    return family(watch.take())


@pytest.mark.parametrize("path", ["/call", "/call-derived", "/call-bare", "/call-goroutine", "/call-pool"])
@pytest.mark.parametrize("listener", ["http", "https"])
def test_a_call_in_a_request_is_its_child(
    server: Server, watch: Watch, inner: Server, path: str, listener: str
) -> None:
    """With the request's context, one derived from it, none (the goroutine), through goroutines, through a pool."""
    parent, children = ask(server, watch, path, url=inner.url("/hello", listener))
    child = one(children)
    assert child.is_child_of(parent)
    assert parent.start <= child.start <= child.end <= parent.end
    assert child["http.response.status_code"] == 200
    assert child["network.protocol.version"] == ("2" if listener == "https" else "1.1")


@pytest.mark.parametrize("path", ["/call", "/call-derived", "/call-bare", "/call-goroutine", "/call-pool"])
def test_a_call_in_a_request_that_came_by_http_2(
    server: Server, watch: Watch, inner: Server, peer: Client, path: str
) -> None:
    peer.call(server.url(f"{path}?url={quote(inner.url('/hello'), safe='')}", "https"), n=10)
    spans = watch.take()
    parents = {span.span_id: span for span in spans if span.kind == "server"}
    calls = [span for span in spans if span.kind == "client"]
    assert len(parents) == len(calls) == len({call.parent_id for call in calls}) == 10
    assert all(call.is_child_of(parents[call.parent_id]) for call in calls)


@pytest.mark.parametrize("depth", [1, 2, 3, 10, 40])
def test_goroutine_ancestry_however_deep(server: Server, watch: Watch, inner: Server, depth: int) -> None:
    parent, children = ask(server, watch, "/call-goroutine", depth=depth, url=inner.url("/hello"))
    assert one(children).is_child_of(parent)


@pytest.mark.parametrize("depth", [1, 10, 50])
@pytest.mark.parametrize("pool", [0, 1])
def test_deep_chains_of_contexts(edges: Server, inner: Server, depth: int, pool: int) -> None:
    with watching(edges.pid) as watch:
        parent, children = ask(edges, watch, "/context/deep", n=depth, pool=pool, url=inner.url("/hello"))
        assert one(children).is_child_of(parent)


@pytest.mark.parametrize("kind", ["value", "pointer", "detached"])
def test_context_types_of_ones_own(edges: Server, inner: Server, kind: str, go: str) -> None:
    """Types that embed a context first, called from a pool: nothing but the context tells the parent."""
    with watching(edges.pid) as watch:
        for pool in (0, 1):
            parent, children = ask(edges, watch, f"/context/{kind}", pool=pool, url=inner.url("/hello"))
            assert one(children).is_child_of(parent)


@pytest.mark.parametrize("kind", ["hidden", "todo"])
def test_a_context_that_leads_nowhere(edges: Server, inner: Server, kind: str) -> None:
    """The goroutine tells, if it is the handler's; in a pool nothing does, and none is better than a wrong one."""
    with watching(edges.pid) as watch:
        parent, children = ask(edges, watch, f"/context/{kind}", pool=0, url=inner.url("/hello"))
        assert one(children).is_child_of(parent)
        parent, children = ask(edges, watch, f"/context/{kind}", pool=1, url=inner.url("/hello"))
        assert one(children).parent_id == ""
        assert one(children).trace_id != parent.trace_id


def test_a_context_that_holds_another_requests_context(edges: Server, inner: Server) -> None:
    """Its first field leads to a live request by way of what is no context: that request has nothing to do with it."""
    host, _, port = edges.http.rpartition(":")
    with watching(edges.pid) as watch, socket.create_connection((host, int(port)), timeout=20) as holding:
        holding.sendall(request_bytes("/context/hold"))
        assert holding.recv(4096).startswith(b"HTTP/1.1 200")
        load(edges.http, f"/context/borrowed?pool=1&url={quote(inner.url('/hello'), safe='')}", 1)
        assert one(watch.wait_for(1, "client")).parent_id == ""


def test_a_mux_and_a_call_behind_a_timeout_handler(edges: Server, inner: Server) -> None:
    with watching(edges.pid) as watch:
        parent, children = ask(edges, watch, "/timed/call", url=inner.url("/hello"))
        assert one(children).is_child_of(parent)


def test_a_call_that_outlives_its_request_has_no_parent(server: Server, watch: Watch, inner: Server) -> None:
    url = quote(inner.url("/hello"), safe="")
    load(server.http, f"/call-background?after=1&url={url}", 3, connections=1)
    load(server.http, "/release", 1, connections=1)
    spans = watch.take()
    background = [span for span in spans if span.kind == "client"]
    assert len(background) == 3
    assert {span.parent_id for span in background} == {""}
    assert not {span.trace_id for span in background} & {span.trace_id for span in spans if span.kind == "server"}


def test_goroutines_of_an_earlier_request_are_not_children_of_a_later_one(
    server: Server, watch: Watch, inner: Server
) -> None:
    """One connection is one goroutine of net/http: what an earlier request on it started belongs to no later one."""
    url = quote(inner.url("/hello"), safe="")
    paths = [f"/call-background?after=1&url={url}", "/slow?ms=1", "/release"]
    load(server.http, paths, 30, connections=1)
    load(server.http, "/release", 1, connections=1)
    spans = watch.take()
    calls = [span for span in spans if span.kind == "client"]
    assert len(calls) == 10
    assert {span.parent_id for span in calls} == {""}


def test_calls_of_concurrent_requests_do_not_mix(server: Server, watch: Watch, inner: Server) -> None:
    paths = []
    for number in range(40):
        url = quote(inner.url(f"/hello?n={number}"), safe="")
        path = ("/call", "/call-derived", "/call-bare", "/call-goroutine", "/call-pool")[number % 5]
        paths.append(f"{path}?n={number}&url={url}")
    load(server.http, paths, 400, connections=16)
    spans = watch.take()
    parents = {span.span_id: span for span in spans if span.kind == "server"}
    calls = [span for span in spans if span.kind == "client"]
    assert len(parents) == len(calls) == 400
    assert len({call.parent_id for call in calls}) == 400
    for call in calls:
        which = str(call["url.query"]).removeprefix("n=")
        assert str(parents[call.parent_id]["url.query"]).startswith(f"n={which}&")
        assert call.is_child_of(parents[call.parent_id])


def test_a_server_calls_itself(server: Server, watch: Watch) -> None:
    """Both ends watched in one process; nothing is written into the request, so the inner one begins its own trace."""
    load(server.http, f"/call?url={quote(server.url('/hello'), safe='')}", 1)
    spans = watch.take()
    assert sorted(span.kind for span in spans) == ["client", "server", "server"]
    outer = one([span for span in spans if span["url.path"] == "/call"])
    assert one([span for span in spans if span.kind == "client"]).is_child_of(outer)


def test_a_trace_goes_through(server: Server, watch: Watch, inner: Server) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    path = f"/call?url={quote(inner.url('/hello'), safe='')}"
    load(server.http, path, 1, headers={"traceparent": f"00-{trace}-{parent}-01"})
    above, children = family(watch.take())
    assert above.parent_id == parent
    assert one(children).is_child_of(above)
    assert {above.trace_id, one(children).trace_id} == {trace}


# Requests within requests


@pytest.mark.parametrize("hook", ["proxy", "dialer"])
@pytest.mark.parametrize("listener", ["http", "https"])
def test_a_request_inside_of_a_request_has_its_own_span(
    edges: Server, inner: Server, hook: str, listener: str
) -> None:
    with watching(edges.pid) as watch:
        first, url = inner.url("/status?code=201"), inner.url("/hello", listener)
        parent, children = ask(edges, watch, f"/call/{hook}", first=first, url=url)
        assert sorted(str(child["url.path"]) for child in children) == ["/hello", "/status"]
        assert all(child.is_child_of(parent) for child in children)


def test_a_transport_that_panics_disturbs_no_later_call(edges: Server, inner: Server) -> None:
    with watching(edges.pid) as watch:
        for _ in range(3):
            load(edges.http, f"/call/panicking?url={quote(inner.url('/hello'), safe='')}", 1)
        spans = watch.wait_for(3, "client")
        assert [span["http.response.status_code"] for span in spans] == [200, 200, 200]
        parents = {span.span_id for span in watch.wait_for(3, "server")}
        assert {span.parent_id for span in spans} == parents


def test_http_2_with_bodies_over_one_url_value(edges: Server, inner: Server) -> None:
    with watching(edges.pid) as watch:
        parent, children = ask(edges, watch, "/call/post", n=8, url=inner.url("/echo", "https"))
        assert len(children) == 8
        assert all(child.is_child_of(parent) and child["http.request.method"] == "POST" for child in children)


@pytest.mark.parametrize("listener", ["http", "https"])
def test_a_connection_taken_from_a_transport(edges: Server, inner: Server, listener: str, go: str) -> None:
    if go.startswith(("1.18", "1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25")):
        pytest.skip("net/http has ClientConn from Go 1.26")
    with watching(edges.pid) as watch:
        parent, children = ask(edges, watch, "/call/connection", url=inner.url("/hello", listener))
        assert one(children).is_child_of(parent)
        assert one(children)["http.response.status_code"] == 200
        assert one(children)["network.protocol.version"] == ("2" if listener == "https" else "1.1")


def test_the_hits_of_a_request_with_a_call(server: Server, watch: Watch, inner: Server) -> None:
    path = f"/call?url={quote(inner.url('/hello'), safe='')}"
    load(server.http, path, 5, connections=1)
    before = watch.totals
    load(server.http, path, 200, connections=1)
    watch.take()
    hits = {name: count - before.hits[name] for name, count in watch.totals.hits.items()}
    assert sum(hits.values()) <= 10 * 200, hits


