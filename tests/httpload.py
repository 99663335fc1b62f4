"""Load that is counted: raw keep-alive HTTP/1 connections with optional pipelining; every request's fate is known.

No client library stands between, so nothing is retried, redirected or reordered: what `Counts` says was sent is what
the server saw, and tests compare it with the spans.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """`sent` = sum of `status` + `lost` + `unanswered`.

    `lost`: the connection ended where this request's response should have begun or while its body came, so the server
    has taken the request up (panic, abort, hijack). `unanswered`: pipelined behind a lost one, never taken up.
    A response that broke off within its body is in `status` and in `cut`, not in `lost`.
    """

    sent: int = 0
    lost: int = 0
    unanswered: int = 0
    cut: int = 0
    status: Counter[int] = field(default_factory=Counter)
    connections: int = 0

    @property
    def answered(self) -> int:
        return self.status.total()

    @property
    def handled(self) -> int:
        """Requests that the server has taken up."""
        return self.answered + self.lost

    def add(self, other: Counts) -> None:
        self.sent += other.sent
        self.lost += other.lost
        self.unanswered += other.unanswered
        self.cut += other.cut
        self.status += other.status
        self.connections += other.connections


class _Lost(Exception):
    """The peer closed where a response should have begun."""


class _Cut(Exception):
    """The peer closed within a response's body."""


class _Connection:
    """One keep-alive connection; closes and reopens itself when the server does."""

    def __init__(self, host: str, port: int, counts: Counts) -> None:
        self._address = (host, port)
        self._counts = counts
        self._socket: socket.socket | None = None

    def _opened(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._reader = self._socket.makefile("rb")
            self._counts.connections += 1
        return self._socket

    def close(self) -> None:
        if self._socket is not None:
            self._reader.close()
            self._socket.close()
            self._socket = None

    def batch(self, requests: Sequence[bytes]) -> None:
        """Sends all requests at once and reads one response each; what follows a closed connection is unanswered."""
        counts = self._counts
        counts.sent += len(requests)
        self._opened().sendall(b"".join(requests))
        for index, request in enumerate(requests):
            keep = False
            try:
                status, keep = self._response(head=request.startswith(b"HEAD "))
                counts.status[status] += 1
            except _Lost:
                counts.lost += 1
            except _Cut as cut:
                counts.status[int(cut.args[0])] += 1
                counts.cut += 1
            if not keep:
                counts.unanswered += len(requests) - index - 1
                self.close()
                return

    def _line(self) -> bytes:
        try:
            line = self._reader.readline(65536)
        except ConnectionResetError:
            line = b""
        if not line.endswith(b"\n"):
            raise _Lost
        return line

    def _response(self, head: bool) -> tuple[int, bool]:
        """Status, and whether the connection goes on; 1xx responses are skipped."""
        status = 100
        while status < 200:
            version, code, *_ = self._line().split(b" ", 2)
            status = int(code)
            headers: dict[bytes, bytes] = {}
            while (line := self._line()).strip():
                name, _, value = line.partition(b":")
                headers[name.strip().lower()] = value.strip().lower()
        connection = headers.get(b"connection", b"keep-alive" if version == b"HTTP/1.1" else b"close")
        keep = connection != b"close"
        if head or status in (204, 304):
            return status, keep
        try:
            return status, self._body(headers) and keep
        except (_Lost, ConnectionResetError):
            raise _Cut(status) from None

    def _body(self, headers: Mapping[bytes, bytes]) -> bool:
        """Reads the body away; False if its end is the connection's."""
        if headers.get(b"transfer-encoding") == b"chunked":
            while size := int(self._line().split(b";")[0], 16):
                self._exactly(size + 2)
            while self._line().strip():
                pass
            return True
        if b"content-length" in headers:
            self._exactly(int(headers[b"content-length"]))
            return True
        self._reader.read()
        return False

    def _exactly(self, size: int) -> None:
        if len(self._reader.read(size)) < size:
            raise _Lost


def request_bytes(
    path: str,
    *,
    host: str = "localhost",
    method: str = "GET",
    version: str = "1.1",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """One request without a body as it goes over the wire."""
    lines = [f"{method} {path} HTTP/{version}", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def load(
    address: str,
    paths: str | Sequence[str],
    requests: int,
    *,
    connections: int = 2,
    pipeline: int = 1,
    method: str = "GET",
    version: str = "1.1",
    headers: Mapping[str, str] | None = None,
) -> Counts:
    """Sends exactly `requests` requests for `paths` in turn to `address` (HOST:PORT) and waits for all answers.

    `pipeline` requests are written at once on each of the `connections`. Raises what a connection raises, for example
    ConnectionRefusedError or TimeoutError (30 s without an answer).
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    each = [paths] if isinstance(paths, str) else list(paths)
    ready = [request_bytes(path, host=address, method=method, version=version, headers=headers) for path in each]
    total, failures = Counts(), []
    lock = threading.Lock()

    def batches(worker: int) -> Iterator[list[bytes]]:
        mine = range(worker, requests, connections)
        for start in range(0, len(mine), pipeline):
            yield [ready[number % len(ready)] for number in mine[start : start + pipeline]]

    def work(worker: int) -> None:
        counts = Counts()
        try:
            connection = _Connection(host, int(port), counts)
            try:
                for batch in batches(worker):
                    connection.batch(batch)
            finally:
                connection.close()
        except Exception as failure:
            failures.append(failure)
        with lock:
            total.add(counts)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return total
