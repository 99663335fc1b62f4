"""Single requests to a watched server, and the span of each."""

from __future__ import annotations

import socket

from goservers import Server
from httpload import load
from processes import eventually
from watching import Span, Watch

_WITHOUT_ROUTES = ("1.18", "1.19", "1.20", "1.21")  # the Go versions without http.route


def has_routes(go: str) -> bool:
    return not go.startswith(_WITHOUT_ROUTES)


def exchange(address: str, data: bytes) -> bytes:
    """Sends the bytes and reads until the server closes the connection."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def one(spans: list[Span]) -> Span:
    assert len(spans) == 1, [(span.name, span.attributes) for span in spans]
    return spans[0]


def get(server: Server, watch: Watch, path: str, **options: object) -> Span:
    """The span of a single request."""
    load(server.http, path, 1, connections=1, **options)  # type: ignore[arg-type]
    return one(watch.take("server"))


def until_begun(watch: Watch) -> None:
    """Waits until an operation is open."""
    eventually(watch.in_flight, "the begin of an operation")
