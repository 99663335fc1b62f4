"""One description, two ways to follow it: a woven program's spans are those that uprobes see of the plain one."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import gobuild
from endtoend_requests import exchange
from goservers import Client, Server, calling, serving
from httpload import load
from otlp_server import collector
from watching import watching
from wovenprograms import Shown, of_live, of_woven, sending, woven

VERSIONS = [
    "1.26.8",
    *(pytest.param(one, marks=pytest.mark.matrix) for one in gobuild.ALL if one >= "1.21" and one != "1.26.8"),
]

PATHS = (
    "/hello", "/status?code=404", "/status?code=500&sig=secret", "/status?code=302", "/nothing", "/none/at/all",
    "/panic", "/abort", "/panic-after-write", "/recovered", "/hijack", "/deep?n=300", "/echo?a=1&X-Amz-Signature=s",
    "/redirect", "/users/42", "/api/inner", "/copied/inner", "/%E2%82%AC/%2F?x=%zz", "/" + "long" * 200,
    "/echo?" + "q=1&" * 300,
)  # fmt: skip
#: What only a client sends that is told nothing else.
RAW = (
    b"PROPFIND /echo HTTP/1.1\r\nHost: a:8080\r\nConnection: close\r\n\r\n",
    b"get /echo HTTP/1.1\r\nHost: [::1]\r\nUser-Agent: \xff\xfe \xe2\x82\r\nConnection: close\r\n\r\n",
    b"GET /hello HTTP/1.0\r\nHost: xn--nxasmq6b.example\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nHost: c\r\nConnection: close\r\n"
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"GET /hello HTTP/1.1\r\nHost: " + b"e" * 300 + b"\r\nUser-Agent: " + b"u" * 300 + b"\r\nConnection: close\r\n\r\n",
)


@pytest.fixture(scope="module")
def bystander() -> Iterator[Server]:
    """Whom others call; nobody looks at it."""
    with serving(gobuild.build("httpserver", gobuild.NEWEST)) as server:
        yield server


def _ask(server: Server, client: Client, bystander: Server) -> None:
    """Every way that a request can go, over HTTP/1 and HTTP/2, and requests that a request makes."""
    for path in PATHS:
        load(server.http, path, 2, connections=1)
        client.call(server.url(path, "https"))
    for request in RAW:
        exchange(server.http, request)
    for route in ("call", "call-derived", "call-goroutine", "call-pool"):
        for target in (bystander.url("/echo"), bystander.url("/status?code=503", "https"), "http://127.0.0.1:1/refused"):
            load(server.http, f"/{route}?url={target.replace('&', '%26').replace('?', '%3F')}", 1, connections=1)


def _ports(*servers: Server) -> dict[str, str]:
    return {
        address.rpartition(":")[2]: f"{name}-{number}"
        for number, one in enumerate(servers) for name, address in one.addresses.items()
    }  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server(version: str, tmp_path: Path, bystander: Server) -> None:
    plain = gobuild.build("httpserver", version)
    program = woven("httpserver", version, tmp_path)
    with calling(gobuild.build("httpserver", gobuild.NEWEST)) as client:
        with serving(plain) as server, watching(server.pid) as watch:
            _ask(server, client, bystander)
            live = of_live(watch.spans(), _ports(server, bystander))
            assert not watch.losses()
        with collector() as received, serving(program, environment=sending(received)) as server:
            _ask(server, client, bystander)
            server.stop()
            told = of_woven(received, _ports(server, bystander))
    assert sum(live.values()) > 4 * len(PATHS)
    _same(live, told)


MODES = ("get", "post", "roundtrip", "late", "unread", "timeout", "deadline", "canceled", "cancel", "custom")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client(version: str, tmp_path: Path, bystander: Server) -> None:
    targets = [
        bystander.url("/echo?a=1&sig=x"), bystander.url("/status?code=404", "https"), bystander.url("/redirect"),
        bystander.url("/" + "p" * 600), bystander.url("/abort"), "http://127.0.0.1:1/", "http://no.such.host.invalid/",
    ]  # fmt: skip
    slow = bystander.url("/slow?ms=400")

    def ask(client: Client) -> None:
        for mode in MODES:
            for target in [slow] if mode in ("timeout", "deadline", "cancel") else targets:
                client.call(target, mode)

    with calling(gobuild.build("httpserver", version)) as client, watching(client.pid) as watch:
        ask(client)
        live = of_live(watch.spans(), _ports(bystander))
    program = woven("httpserver", version, tmp_path)
    with collector() as received:
        with calling(program, environment=sending(received)) as client:
            ask(client)
            _leave(client.process)
        told = of_woven(received, _ports(bystander))
    assert sum(live.values()) > len(MODES)
    _same(live, told)


XNET = ["1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in ("1.23.12", "1.27.4"))]


@pytest.mark.parametrize("version", XNET)
def test_a_server_of_another_module(version: str, tmp_path: Path) -> None:
    """golang.org/x/net/http2, from the module cache, serves by itself and below net/http."""
    plain = gobuild.build("h2c", version)

    def ask(server: Server) -> None:
        for path in ("/hello", "/nothing", "/status?code=404", "/status?code=503", "/panic", "/abort"):
            for listener in ("h2c", "https"):
                subprocess.run([str(plain), "-client", server.url(path, listener), "-n", "3"], check=True, timeout=60)
        load(server.addresses["h2c"], "/hello", 2, connections=1)

    with serving(plain) as server, watching(server.pid) as watch:
        ask(server)
        live = of_live(watch.spans(), _ports(server))
    with collector() as received, serving(woven("h2c", version, tmp_path), environment=sending(received)) as server:
        ask(server)
        server.stop()
        told = of_woven(received, _ports(server))
    assert sum(live.values()) >= 38
    _same(live, told)


@pytest.mark.parametrize("version", XNET)
def test_a_client_of_another_module(version: str, tmp_path: Path, bystander: Server) -> None:
    """Its Transport by itself, below net/http's, and with connections that ask for something else first."""

    def ask(server: Server, client: Client) -> None:
        for transport in ("own", "configured", "plain"):
            for listener in ("h2c" if transport == "own" else "http", "https"):
                for method in ("GET", "POST"):
                    url = bystander.url("/echo", listener)
                    said = client.call(server.url(f"/{transport}?method={method}&n=4&url={url}"))
                    assert said["status"] == {"200": 1}
        first, then = bystander.url("/nothing", "h2c"), bystander.url("/hello", "h2c")
        client.call(server.url(f"/pool?first={first}&url={then}"))
        client.call(server.url("/own?url=http://127.0.0.1:1/"))

    with calling(gobuild.build("httpserver", gobuild.NEWEST)) as client:
        with serving(gobuild.build("xnetclient", version)) as server, watching(server.pid) as watch:
            ask(server, client)
            live = of_live(watch.spans(), _ports(server, bystander))
        program = woven("xnetclient", version, tmp_path)
        with collector() as received, serving(program, environment=sending(received)) as server:
            ask(server, client)
            server.stop()
            told = of_woven(received, _ports(server, bystander))
    assert sum(live.values()) > 60
    _same(live, told)


def _leave(process: subprocess.Popen[str]) -> None:
    """A signal that the program does not handle: what it has is sent before it dies by it."""
    process.terminate()
    assert process.wait(timeout=30) == -signal.SIGTERM


def _same(live: Counter[Shown], told: Counter[Shown]) -> None:
    shown = [f"- {n} {one}" for one, n in sorted((live - told).items())]
    shown += [f"+ {n} {one}" for one, n in sorted((told - live).items())]
    assert not shown, "\n" + "\n".join(sorted(shown, key=lambda line: line[4:]))
