"""golang.org/x/net/http2 as programs link it: serving h2c by itself, below net/http, and as a client's transport."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

import gobuild
from goservers import Client, Server, run_client, serving
from watching import Watch, watching

#: x/net 0.40 asks for Go 1.23; the copy in net/http is another one up to 1.26 and from 1.27.
VERSIONS = [version for version in gobuild.ALL if not version.startswith(("1.18", "1.19", "1.20", "1.21", "1.22"))]
FIRST = VERSIONS[0]


@pytest.fixture(
    scope="module",
    params=[v if v in (FIRST, gobuild.NEWEST) else pytest.param(v, marks=pytest.mark.matrix) for v in VERSIONS],
)
def go(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def xnet(go: str) -> Iterator[Server]:
    with serving(gobuild.build("h2c", go)) as server:
        yield server


@pytest.fixture(scope="module")
def xnet_watch(xnet: Server) -> Iterator[Watch]:
    with watching(xnet.pid) as one:
        yield one


@pytest.fixture
def seen(xnet_watch: Watch) -> Iterator[Watch]:
    xnet_watch.take()
    yield xnet_watch
    xnet_watch.settle()
    assert not xnet_watch.losses()


def call(go: str, url: str, n: int) -> str:
    done = subprocess.run(
        [str(gobuild.build("h2c", go)), "-client", url, "-n", str(n)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("listener", ["h2c", "https"])
def test_requests_served(xnet: Server, seen: Watch, go: str, listener: str) -> None:
    assert call(go, xnet.url("/hello", listener), 20) == "map[200:20]"
    spans = seen.take("server")
    assert len(spans) == len({span.span_id for span in spans}) == 20
    for span in spans:
        assert span["network.protocol.version"] == "2"
        assert span["http.response.status_code"] == 200
        assert span["http.route"] == "/hello"
        assert span["url.scheme"] == ("https" if listener == "https" else "http")
        assert span["client.address"] == "127.0.0.1"
        assert not span.error


@pytest.mark.parametrize("listener", ["h2c", "https"])
@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/nothing", 200, None),
        ("/status?code=404", 404, None),
        ("/status?code=503", 503, "503"),
        ("/panic", None, "panic"),
        ("/abort", None, "abort"),
    ],
)
def test_how_handlers_end(
    xnet: Server, seen: Watch, go: str, listener: str, path: str, status: int | None, error: str | None
) -> None:
    call(go, xnet.url(path, listener), 1)
    [span] = seen.take("server")
    assert span["http.response.status_code"] == status
    assert span["error.type"] == error


def test_an_http_1_request_to_the_same_listener(xnet: Server, seen: Watch, peer: Client) -> None:
    assert peer.call(xnet.url("/hello", "h2c"))["status"] == {"200": 1}
    [span] = seen.take("server")
    assert span["network.protocol.version"] == "1.1"


def test_upgrade_from_http_1(xnet: Server, seen: Watch) -> None:
    """curl upgrades its first request; that request is served as stream 1."""
    said_at_the_end = "%{http_version} %{http_code}"
    command = ["curl", "-s", "--http2", "-o", "/dev/null", "-w", said_at_the_end, xnet.url("/hello", "h2c")]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    except FileNotFoundError:
        pytest.skip("curl is not installed")
    assert said == "2 200"
    [span] = seen.take("server")
    assert span["url.path"] == "/hello"
    assert span["http.response.status_code"] == 200
    assert span["network.protocol.version"] == "1.1", "the request itself came by 1.1"


@pytest.fixture(scope="module")
def transports(go: str) -> Iterator[Server]:
    with serving(gobuild.build("xnetclient", go)) as server:
        yield server


@pytest.mark.parametrize("listener", ["http", "https"])
@pytest.mark.parametrize("transport", ["own", "configured", "plain"])
def test_one_span_a_call_whatever_transports_stand_above_one_another(
    transports: Server, peer: Client, transport: str, listener: str, go: str
) -> None:
    """x/net's Transport by itself, net/http's that x/net has configured, and net/http's alone."""
    target = "h2c" if listener == "http" and transport == "own" else listener
    with serving(gobuild.build("httpserver", gobuild.NEWEST)) as inner, watching(transports.pid) as watch:
        for method in ("GET", "POST"):
            url = inner.url("/echo", target)
            said = peer.call(transports.url(f"/{transport}?method={method}&n=4&url={url}"))
            assert said["status"] == {"200": 1}
            spans = watch.take()
            calls = [span for span in spans if span.kind == "client"]
            [parent] = [span for span in spans if span.kind == "server"]
            assert len(calls) == 4, [(span["error.type"], span["http.response.status_code"]) for span in calls]
            version = "1.1" if target == "http" else "2"
            for span in calls:
                assert span.is_child_of(parent)
                assert span["http.request.method"] == method
                assert span["http.response.status_code"] == 200
                assert span["network.protocol.version"] == version
        assert not watch.losses()


def test_a_request_made_while_another_dials(transports: Server, peer: Client) -> None:
    """A connection pool of one's own asks for something else first, on the same goroutine: two round trips."""
    with serving(gobuild.build("httpserver", gobuild.NEWEST)) as inner, watching(transports.pid) as watch:
        first, then = inner.url("/nothing", "h2c"), inner.url("/hello", "h2c")
        assert peer.call(transports.url(f"/pool?first={first}&url={then}"))["status"] == {"200": 1}
        assert sorted(str(span["url.path"]) for span in watch.client()) == ["/hello", "/nothing"]


def test_errors_of_the_transport(transports: Server, peer: Client, closed_port: str) -> None:
    with watching(transports.pid) as watch:
        peer.call(transports.url(f"/own?url=http://{closed_port}/"))
        assert [span["error.type"] for span in watch.client()] == ["syscall.Errno"]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(text: bytes) -> bytes:
    """A text as HPACK has it (RFC 7541, section 5.2), not Huffman-coded."""
    length, rest = bytearray([min(len(text), 127)]), len(text) - 127
    while rest >= 0:
        length.append(rest & 127 | (128 if rest > 127 else 0))
        rest = (rest >> 7) or -1
    return bytes(length) + text


def test_what_x_net_refuses_itself_gives_no_span(xnet: Server, seen: Watch) -> None:
    """A little more than the megabyte of header it takes: answered 431, without the program's handler."""
    block = bytes([0x82, 0x86, 0x84, 0x01]) + literal(b"localhost")  # GET, http, /, :authority
    block += b"".join(b"\0" + literal(b"x-%d" % number) + literal(b"v" * 10000) for number in range(105))
    parts = [block[start : start + 16384] for start in range(0, len(block), 16384)]
    frames = [frame(1, 1, 1, parts[0]), *(frame(9, 0, 1, part) for part in parts[1:-1]), frame(9, 4, 1, parts[-1])]
    host, _, port = xnet.addresses["h2c"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + b"".join(frames))
        reader = connection.makefile("rb")
        while True:
            head = reader.read(9)
            payload = reader.read(int.from_bytes(head[:3], "big"))
            if head[3] == 1:
                break
        assert b"431" in payload or b"\x1d\xb1" in payload, "the status, plain or Huffman-coded"
    assert seen.take("server") == []


def test_load_over_many_streams(xnet: Server, seen: Watch) -> None:
    load = gobuild.build("httpload", gobuild.NEWEST)
    with seen.drained():
        said = run_client(load, "-n", "5000", "-c", "32", xnet.url("/hello", "https"))
    assert said["status"] == {"200": 5000}
    seen.settle()
    assert seen.count("server") == seen.distinct_ids() == 5000
