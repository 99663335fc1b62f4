"""Server spans of HTTP/1 over the real kernel: what a request says, what a response was, how handlers end."""

from __future__ import annotations

import socket
import ssl

import pytest

from endtoend_requests import exchange, get, has_routes, one, until_begun
from goservers import Client, Server
from httpload import load, request_bytes
from watching import Watch

# What the request says


def test_attributes_of_a_request(server: Server, watch: Watch, go: str) -> None:
    headers = {"User-Agent": "probe/1.0 (x)", "Accept": "*/*"}
    data = request_bytes("/status?code=201&a=b", host="shop.example:8080", headers=headers | {"Connection": "close"})
    assert b"201 Created" in exchange(server.http, data)
    span = one(watch.take("server"))
    route = {"http.route": "/status"} if has_routes(go) else {}
    assert span.attributes == route | {
        "http.request.method": "GET",
        "http.response.status_code": 201,
        "url.path": "/status",
        "url.query": "code=201&a=b",
        "url.scheme": "http",
        "server.address": "shop.example",
        "server.port": 8080,
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": "probe/1.0 (x)",
    }
    assert span.name == ("GET /status" if route else "GET")
    assert span.kind == "server"
    assert not span.error
    assert span.parent_id == ""
    assert 0 < span.end - span.start < 20e9


def test_http_1_0(server: Server, watch: Watch) -> None:
    exchange(server.http, b"GET /hello HTTP/1.0\r\n\r\n")
    span = one(watch.take("server"))
    assert span["network.protocol.version"] == "1.0"
    assert span["server.address"] is None, "no Host was sent"
    assert span["user_agent.original"] is None
    assert span["http.response.status_code"] == 200


@pytest.mark.parametrize("pipeline", [1, 8])
def test_keep_alive_and_pipelining_give_one_span_a_request(server: Server, watch: Watch, pipeline: int) -> None:
    counts = load(server.http, ["/hello", "/status?code=404", "/nothing"], 60, connections=2, pipeline=pipeline)
    assert counts.connections == 2
    spans = watch.take("server")
    assert len(spans) == counts.handled == 60
    assert sorted(span["http.response.status_code"] for span in spans) == [200] * 40 + [404] * 20  # type: ignore[type-var]


def test_an_unknown_method(server: Server, watch: Watch, go: str) -> None:
    span = get(server, watch, "/hello", method="BREW")
    assert span["http.request.method"] == "_OTHER"
    assert span["http.request.method_original"] == "BREW"
    assert span.name == ("HTTP /hello" if has_routes(go) else "HTTP")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "TRACE"])
def test_known_methods(server: Server, watch: Watch, method: str) -> None:
    span = get(server, watch, "/hello", method=method)
    assert span["http.request.method"] == method
    assert span["http.request.method_original"] is None


def test_sensitive_keys_of_the_query_are_redacted(server: Server, watch: Watch) -> None:
    span = get(server, watch, "/hello?a=1&sig=secret&X-Amz-Signature=s&b=2")
    assert span["url.query"] == "a=1&sig=REDACTED&X-Amz-Signature=REDACTED&b=2"


@pytest.mark.parametrize("length", [511, 512, 513, 4000])
def test_long_paths_keep_512_bytes_and_show_the_cut(server: Server, watch: Watch, length: int) -> None:
    path = "/hello/" + "p" * (length - 7)
    assert get(server, watch, path)["url.path"] == (path if length <= 512 else path[:512] + "…")


@pytest.mark.parametrize("length", [512, 640, 641, 4000])
def test_long_queries_keep_512_bytes_and_show_the_cut(server: Server, watch: Watch, length: int) -> None:
    query = ("key=value&" * 400)[:length]
    found = get(server, watch, f"/hello?{query}")["url.query"]
    assert isinstance(found, str)
    kept = found.removesuffix("…")
    assert query.startswith(kept)
    assert len(kept) >= min(length, 512)
    assert found.endswith("…") == (len(kept) < length)


def test_all_texts_at_their_longest_fit_into_one_record(server: Server, watch: Watch) -> None:
    headers = {
        "User-Agent": "u" * 300,
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": "k=" + "v" * 500,
    }
    span = get(server, watch, f"/{'p' * 600}?{'q' * 700}", headers=headers)
    assert len(str(span["url.path"])) == 513
    assert len(str(span["url.query"])) == 641
    assert len(str(span["user_agent.original"])) == 257
    assert span.trace_state is not None


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [("example.com", "example.com", None), ("example.com:80", "example.com", 80), ("[::1]:8080", "::1", 8080)],
)
def test_server_address_comes_from_host(server: Server, watch: Watch, host: str, address: str, port: int) -> None:
    exchange(server.http, request_bytes("/hello", host=host, headers={"Connection": "close"}))
    span = one(watch.take("server"))
    assert (span["server.address"], span["server.port"]) == (address, port)


def test_what_net_http_refuses_before_a_handler_gives_no_span(server: Server, watch: Watch) -> None:
    assert b" 400 " in exchange(server.http, b"GET / HTTP/1.1\r\n\r\n")
    assert b" 505 " in exchange(server.http, b"GET / HTTP/3.1\r\nHost: x\r\n\r\n")
    assert watch.take("server") == []


# What the response was


@pytest.mark.parametrize("status", [204, 304, 400, 404, 499])
def test_no_error_below_500(server: Server, watch: Watch, status: int) -> None:
    span = get(server, watch, f"/status?code={status}")
    assert span["http.response.status_code"] == status
    assert span["error.type"] is None
    assert not span.error


@pytest.mark.parametrize("status", [500, 503, 599])
def test_an_error_from_500_up(server: Server, watch: Watch, status: int) -> None:
    span = get(server, watch, f"/status?code={status}")
    assert span["http.response.status_code"] == status
    assert span["error.type"] == str(status)
    assert span.error


def test_a_handler_that_writes_nothing_sent_200(server: Server, watch: Watch) -> None:
    assert get(server, watch, "/nothing")["http.response.status_code"] == 200


def test_streaming_lasts_until_the_response_is_complete(server: Server, watch: Watch) -> None:
    span = get(server, watch, "/slow?ms=80")
    assert span.milliseconds >= 80
    span = get(server, watch, "/stream?n=50")
    assert span["http.response.status_code"] == 200


def test_a_client_that_goes_away(server: Server, watch: Watch) -> None:
    host, _, port = server.http.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(request_bytes("/slow?ms=20000") + b"")
    until_begun(watch)
    connection.close()
    span = one(watch.take("server"))
    assert span.milliseconds < 20000
    assert span["http.response.status_code"] == 200
    assert not span.error


# How handlers end


def test_a_panic(server: Server, watch: Watch) -> None:
    span = get(server, watch, "/panic")
    assert span["error.type"] == "panic"
    assert span.error
    assert span["http.response.status_code"] is None, "nothing was sent"


def test_an_abort(server: Server, watch: Watch) -> None:
    span = get(server, watch, "/abort")
    assert span["error.type"] == "abort"
    assert span.error
    assert span["http.response.status_code"] is None


@pytest.mark.parametrize("code", [200, 503])
def test_a_panic_after_the_headers_were_sent(server: Server, watch: Watch, code: int) -> None:
    span = get(server, watch, f"/panic-after-write?code={code}")
    assert span["error.type"] == "panic"
    assert span["http.response.status_code"] == code


def test_a_panic_that_the_handler_recovers_is_none(server: Server, watch: Watch) -> None:
    span = get(server, watch, "/recovered")
    assert span["error.type"] == "500"
    assert span["http.response.status_code"] == 500


def test_a_hijacked_connection(server: Server, watch: Watch) -> None:
    span = get(server, watch, "/hijack")
    assert span["http.response.status_code"] is None
    assert span["error.type"] is None
    assert not span.error


def test_the_stack_grows_while_the_handler_runs(server: Server, watch: Watch) -> None:
    spans = []
    for depth in (10, 1000, 20000, 10):
        spans.append(get(server, watch, f"/deep?n={depth}"))
    assert [span["http.response.status_code"] for span in spans] == [200] * 4
    assert len({span.span_id for span in spans}) == 4


def test_every_hit_is_accounted_for(server: Server, watch: Watch) -> None:
    """Four hits a request: begin, mux, end, and the goroutine of net/http's background read."""
    before = watch.totals
    load(server.http, "/hello", 200, connections=1)
    watch.take()
    after = watch.totals
    hits = {name: after.hits[name] - before.hits[name] for name in after.hits}
    assert sum(hits.values()) <= 4 * 200 + 10, hits


def test_spans_carry_the_process(server: Server, watch: Watch, go: str) -> None:
    resource = get(server, watch, "/hello").resource
    assert resource["process.pid"] == server.pid
    assert resource["service.name"] == "httpserver"
    assert resource["telemetry.sdk.language"] == "go" or resource["process.runtime.name"] == "go"
    assert f"go{go}" in str(resource["process.runtime.version"])


@pytest.mark.parametrize("listener", ["https", "h2c"])
def test_http_2(server: Server, watch: Watch, peer: Client, listener: str, go: str) -> None:
    """By TLS, and without from Go 1.24; every outcome as over HTTP/1."""
    if listener not in server.addresses:
        pytest.skip("net/http has no HTTP/2 without TLS before Go 1.24")
    mode = "h2c" if listener == "h2c" else "get"
    for path, status, error in (
        ("/hello?a=b&sig=s", 200, None),
        ("/nothing", 200, None),
        ("/stream?n=20", 200, None),
        ("/status?code=404", 404, None),
        ("/status?code=503", 503, "503"),
        ("/panic", None, "panic"),
        ("/abort", None, "abort"),
        ("/panic-after-write", 200, "panic"),
        ("/recovered", 500, "500"),
        ("/hijack", 505, "505"),
    ):
        peer.call(server.url(path, listener), mode)
        span = one(watch.take("server"))
        assert (span["http.response.status_code"], span["error.type"]) == (status, error), path
        assert span["network.protocol.version"] == "2"
        assert span["url.scheme"] == ("https" if listener == "https" else "http")
        assert span["user_agent.original"] == "Go-http-client/2.0"
        assert span["client.address"] == "127.0.0.1"
        assert f"{span['server.address']}:{span['server.port']}" == server.addresses[listener]
        if has_routes(go):
            assert span["http.route"] == path.partition("?")[0]


def test_a_stream_that_its_client_resets(server: Server, watch: Watch, peer: Client) -> None:
    assert peer.call(server.url("/slow?ms=10000", "https"), "cancel")["errors"]
    span = one(watch.take("server"))
    assert span.milliseconds < 10000
    assert not span.error


def test_a_connection_of_http_1_by_tls(server: Server, watch: Watch) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = server.addresses["https"].rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(request_bytes("/hello", headers={"Connection": "close"}))
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    span = one(watch.take("server"))
    assert (span["url.scheme"], span["network.protocol.version"]) == ("https", "1.1")
