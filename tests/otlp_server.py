"""An OTLP/HTTP server for tests, which answers as a test tells it to, and waits for nothing but conditions."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData


@dataclass
class Request:
    path: str
    headers: dict[str, str]  # by lower-case name
    body: bytes  # as it was before compression
    peer: tuple[str, int]

    def spans(self) -> int:
        if self.path == "/v1/metrics":
            return 0
        data = TracesData.FromString(self.body)
        return sum(len(scope.spans) for one in data.resource_spans for scope in one.scope_spans)


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None  # instead of all that
    hold: threading.Event | None = None  # answer only when it is set


@dataclass
class Collector:
    """What came, and what is answered: `replies` one by one, then `reply`."""

    url: str = ""
    reply: Reply = field(default_factory=Reply)
    replies: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    change: threading.Condition = field(default_factory=threading.Condition)
    released: threading.Event = field(default_factory=threading.Event)

    def wait(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        with self.change:
            assert self.change.wait_for(condition, timeout), f"after {timeout} s: {len(self.requests)} requests"

    def spans(self) -> int:
        return sum(request.spans() for request in self.requests)


@contextlib.contextmanager
def collector(*replies: Reply, tls: str = "") -> Iterator[Collector]:
    """`tls`: a PEM file with certificate and key."""
    state = Collector(replies=list(replies))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            with state.change:
                state.requests.append(Request(self.path, headers, body, self.client_address))
                reply = state.replies.pop(0) if state.replies else state.reply
                state.change.notify_all()
            if reply.hold is not None:
                reply.hold.wait(20)
            with contextlib.suppress(OSError):
                self.answer(reply)

        def answer(self, reply: Reply) -> None:
            if reply.raw is not None:
                self.wfile.write(reply.raw)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in ({"Content-Length": str(len(reply.body))} | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # clients of these tests break connections on purpose

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        # The handshake is each connection's thread's, at its first read.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    state.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
