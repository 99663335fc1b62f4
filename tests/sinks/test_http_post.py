"""One kept connection against servers that close it, answer unasked or early, or cannot be reached."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certificates import self_signed
from gotap.sinks.http_post import Poster, PostFailed, tls_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nsorry"
TIMEOUT = 20.0


@contextlib.contextmanager
def server(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that handles one connection after the other, and closes each."""

    def run() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.settimeout(TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset discards what waits for an ACK
            with connection, contextlib.suppress(OSError):
                handle(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.contextmanager
def poster(url: str, timeout: float = TIMEOUT, tls: ssl.SSLContext | None = None) -> Iterator[Poster]:
    one = Poster(url, timeout, tls)
    try:
        yield one
    finally:
        one.close()


def read_request(connection: socket.socket) -> bytes:
    """The head, after the whole request has come."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += received(connection)
    head, _, body = content.partition(b"\r\n\r\n")
    (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    left = int(length.partition(b":")[2]) - len(body)
    while left > 0:
        left -= len(received(connection))
    return head


def received(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65536)):
        raise ConnectionError
    return data


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


class TestKeptConnection:
    @pytest.mark.parametrize("size", [10, 300_000])
    @pytest.mark.parametrize("reset", [False, True])
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_closed_below_tls(self, certificate: Path, version: ssl.TLSVersion, reset: bool, size: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.maximum_version = version
        closed = threading.Semaphore(0)

        def handle(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as over_tls:
                read_request(over_tls)
                over_tls.sendall(OK)
                if reset:
                    over_tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            closed.release()

        trusted = tls_context(str(certificate), None, None)
        with server(handle) as port, poster(f"https://127.0.0.1:{port}/", tls=trusted) as one:
            for _ in range(3):
                assert one.post(b"x" * size, {}).status == 200
                assert closed.acquire(timeout=TIMEOUT)

    def test_open_connection_of_tls_is_kept(self, certificate: Path) -> None:
        """TLS 1.3 sends tickets that nobody asked for; they are no reason for a new connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        connections = []

        def handle(connection: socket.socket) -> None:
            connections.append(connection)
            with context.wrap_socket(connection, server_side=True) as over_tls:
                while read_request(over_tls):
                    over_tls.sendall(OK)

        trusted = tls_context(str(certificate), None, None)
        with server(handle) as port, poster(f"https://127.0.0.1:{port}/", tls=trusted) as one:
            assert [one.post(b"x", {}).status for _ in range(5)] == [200] * 5
            one.close()
        assert len(connections) == 1

    @pytest.mark.parametrize("unasked", [TIMED_OUT, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"])
    def test_what_was_said_before_an_idle_close_is_no_answer(self, unasked: bytes) -> None:
        answered = threading.Semaphore(0)

        def handle(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(OK)
            assert answered.acquire(timeout=TIMEOUT)
            connection.sendall(unasked)

        with server(handle) as port, poster(f"http://127.0.0.1:{port}/") as one:
            for _ in range(3):
                assert one.post(b"x", {}).status == 200
                assert one._socket is not None
                answered.release()
                assert select.select([one._socket], [], [], TIMEOUT)[0]

    def test_request_timeout_on_a_kept_connection_is_repeated_on_a_new_one(self) -> None:
        """The close that crosses the next request."""
        connections = []

        def handle(connection: socket.socket) -> None:
            connections.append(connection)
            read_request(connection)
            connection.sendall(OK)
            read_request(connection)
            connection.sendall(TIMED_OUT)

        with server(handle) as port, poster(f"http://127.0.0.1:{port}/") as one:
            assert [one.post(b"x", {}).status for _ in range(3)] == [200] * 3
            one.close()
        assert len(connections) == 3

    def test_request_timeout_on_a_new_connection_is_the_answer(self) -> None:
        def handle(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(TIMED_OUT)

        with server(handle) as port, poster(f"http://127.0.0.1:{port}/") as one:
            assert one.post(b"x", {}).status == 408


@pytest.mark.parametrize("size", [1 << 10, 1 << 20, 16 << 20])
def test_answer_that_comes_before_the_request_was_read(size: int) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(TOO_LARGE)  # closed behind that with the rest unread, which resets the connection

    with server(handle) as port, poster(f"http://127.0.0.1:{port}/") as one:
        for _ in range(2):
            answer = one.post(b"x" * size, {})
            assert (answer.status, answer.body) == (413, b"sorry")


class TestConnecting:
    @pytest.fixture
    def full_port(self) -> Iterator[int]:
        """A port that takes no more connections: each further one hangs."""
        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listening.getsockname())
            yield listening.getsockname()[1]

    def addresses(self, monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)

    def test_deadline_is_of_all_addresses_together(self, full_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses(monkeypatch, *[full_port] * 20)
        start = time.monotonic()
        with poster("http://many.test/", timeout=0.5) as one, pytest.raises(PostFailed, match=r"no answer within 0\.5"):
            one.post(b"x", {})
        assert time.monotonic() - start < 5.0  # twenty times the deadline would be 10

    def test_address_that_hangs_does_not_hide_the_next(self, full_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        def handle(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(OK)

        with server(handle) as port, poster("http://many.test/", timeout=6.0) as one:
            self.addresses(monkeypatch, full_port, full_port, port)
            assert one.post(b"x", {}).status == 200

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_abort(self, full_port: int, scheme: str) -> None:
        failed: list[PostFailed] = []
        with poster(f"{scheme}://127.0.0.1:{full_port}/", timeout=60.0) as one:
            start, thread = self.posting(one, failed)
            while one._socket is None or one._socket.getsockname()[1] == 0:  # until it connects
                assert time.monotonic() - start < TIMEOUT
            one.abort()
            thread.join(TIMEOUT)
        assert [str(each) for each in failed] == ["gotap ends"]

    def test_abort_of_a_handshake(self) -> None:
        failed: list[PostFailed] = []
        greeted, done = threading.Event(), threading.Event()

        def handle(connection: socket.socket) -> None:
            connection.recv(100)
            greeted.set()
            done.wait(TIMEOUT)

        with server(handle) as port, poster(f"https://127.0.0.1:{port}/", timeout=60.0) as one:
            _, thread = self.posting(one, failed)
            assert greeted.wait(TIMEOUT)
            one.abort()
            thread.join(TIMEOUT)
            alive = thread.is_alive()
            done.set()
        assert not alive
        assert len(failed) == 1

    def posting(self, one: Poster, failed: list[PostFailed]) -> tuple[float, threading.Thread]:
        def post() -> None:
            try:
                one.post(b"x", {})
            except PostFailed as failure:
                failed.append(failure)

        thread = threading.Thread(target=post, daemon=True)
        thread.start()
        return time.monotonic(), thread


def sent_head(path: str, headers: dict[str, str]) -> list[str]:
    heads = []

    def handle(connection: socket.socket) -> None:
        heads.append(read_request(connection))
        connection.sendall(OK)

    with server(handle) as port, poster(f"http://127.0.0.1:{port}{path}") as one:
        one.post(b"body", headers)
        (head,) = heads
        return head.decode().replace(f":{port}", "").split("\r\n")


class TestHead:
    def test_no_header_is_sent_twice(self) -> None:
        given = {"Host": "otel.internal", "ACCEPT-Encoding": "gzip", "Content-Length": "7", "X": "y"}
        given |= {"Transfer-Encoding": "chunked", "connection": "close"}
        first, *headers = sent_head("/v1/traces", given)
        assert first == "POST /v1/traces HTTP/1.1"
        assert sorted(headers) == ["accept-encoding: gzip", "content-length: 4", "host: otel.internal", "x: y"]

    def test_without_the_user_s(self) -> None:
        _, *headers = sent_head("/", {})
        assert sorted(headers) == ["accept-encoding: identity", "content-length: 4", "host: 127.0.0.1"]

    @pytest.mark.parametrize(
        ("path", "sent"),
        [("/a b?c=d e", "/a%20b?c=d%20e"), ("/é\u2028", "/%C3%A9%E2%80%A8"), ("/a%20b;c?d=[e]", "/a%20b;c?d=[e]")],
    )
    def test_target_is_quoted_where_it_must_be(self, path: str, sent: str) -> None:
        assert sent_head(path, {})[0] == f"POST {sent} HTTP/1.1"

    def test_line_break_in_a_header(self) -> None:
        with poster("http://127.0.0.1:1/") as one, pytest.raises(PostFailed, match="line break"):
            one.post(b"", {"x": "a\r\ny: b"})
