"""HTTP POST over one kept connection, with a deadline on the whole exchange that a slow server cannot stretch."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gotap.errors import GotapError
from gotap.sinks.http_answer import Answer, AnswerReader, NotHttp

if TYPE_CHECKING:
    import ssl  # 5 MB, loaded where a URL asks for it

#: What may stand in a header or in the first line without ending it.
_PLAIN = re.compile(r"[^\x00\r\n]*")

_RECEIVED = 64 << 10


class PostFailed(Exception):
    """There was no answer: str() says why."""


class CertificateUnusable(GotapError):
    """A file with certificates or a key cannot be read, or holds none."""


class Poster:
    """Posts to one URL. Used by one thread; `abort` may be called by another."""

    def __init__(self, url: str, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        """`timeout` in seconds is for each exchange; `tls` for https, where None trusts what the system trusts."""
        parts = urlsplit(url)
        authority = parts.netloc.rpartition("@")[2]
        self.shown_url = parts._replace(netloc=authority).geturl()
        self._timeout = timeout
        self._host = parts.hostname or ""
        self._tls = (tls or tls_context(None, None, None)) if parts.scheme.lower() == "https" else None
        self._port = parts.port or (80 if self._tls is None else 443)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._first_lines = f"POST {target} HTTP/1.1\r\nHost: {authority}\r\nAccept-Encoding: identity\r\n"
        self._socket: socket.socket | None = None
        self._aborted = False
        self._deadline = 0.0  # of the running exchange, time.monotonic()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises PostFailed when there is no answer in time. An idle connection that the server closed is renewed."""
        self._deadline = time.monotonic() + self._timeout
        try:
            message = self._head(headers, len(body)) + body
            if self._socket is not None:
                reader = AnswerReader()
                try:
                    return self._exchange(message, reader)
                except ConnectionError:
                    if reader.began or self._aborted:
                        raise
                self.close()
            return self._exchange(message, AnswerReader())
        except (OSError, ValueError, NotHttp) as error:
            self.close()
            raise PostFailed(self._why(error)) from error

    def abort(self) -> None:
        """Makes a running exchange fail at once, and every later one too."""
        self._aborted = True
        # The socket is shut down and not closed, so that the thread that waits on it wakes; and below TLS, whose
        # state is that thread's.
        if (one := self._socket) is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _head(self, headers: Mapping[str, str], length: int) -> bytes:
        """ValueError: what the user gave cannot stand there."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if not all(_PLAIN.fullmatch(one) for pair in headers.items() for one in pair):
            raise ValueError("a header holds a line break")
        return f"{self._first_lines}Content-Length: {length}\r\n{lines}\r\n".encode("latin-1")

    def _exchange(self, message: bytes, reader: AnswerReader) -> Answer:
        if self._socket is None:
            self._socket = self._connect()
        if self._aborted:  # looked at behind the assignment: `abort` shuts down what it finds there
            raise ConnectionAbortedError("gotap ends")
        self._until_deadline(self._socket)
        self._socket.sendall(message)
        answer: Answer | None = None
        while answer is None:
            self._until_deadline(self._socket)
            if data := self._socket.recv(_RECEIVED):
                answer = reader.feed(data)
            elif self._aborted:
                raise ConnectionAbortedError("gotap ends")
            elif reader.began:
                answer = reader.end()
            else:
                raise ConnectionResetError("it closed the connection without an answer")
        if not answer.reusable:
            self.close()
        return answer

    def _connect(self) -> socket.socket:
        plain = socket.create_connection((self._host, self._port), self._left())
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return plain
            self._socket = plain  # so that `abort` reaches the handshake
            self._until_deadline(plain)
            return self._tls.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise

    def _left(self) -> float:
        """Seconds until the deadline; TimeoutError: it is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _until_deadline(self, one: socket.socket) -> None:
        """Each call waits no longer than the exchange may: the socket's own timeout begins anew with each byte."""
        one.settimeout(self._left())

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if isinstance(error, NotHttp):
            return "what answers there does not speak HTTP"
        if (unverified := getattr(error, "verify_message", None)) is not None:  # ssl.SSLCertVerificationError
            return f"its certificate is not trusted: {unverified}"
        if isinstance(error, OSError):
            return error.strerror or str(error)
        return str(error) or type(error).__name__


def tls_context(authorities: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """A client's context of PEM files: who is trusted, and by which certificate the client is known."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=authorities)
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # SSLError too
        files = ", ".join(name for name in (authorities, certificate, key) if name)
        raise CertificateUnusable(
            f"certificates cannot be used ({files}): {error.strerror or error}",
            "OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY name PEM files",
        ) from error
    return context
