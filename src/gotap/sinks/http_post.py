"""HTTP POST over one kept connection, with a deadline on the whole exchange that a slow server cannot stretch."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from gotap.errors import GotapError
from gotap.sinks.http_answer import Answer, AnswerReader, NotHttp

if TYPE_CHECKING:
    import ssl  # 5 MB, loaded where a URL asks for it

#: What may stand in a header or in the first line without ending it.
_PLAIN = re.compile(r"[^\x00\r\n]*")

#: What may not stand in the target of a request as it is (RFC 9112 §3.2).
_UNQUOTED = re.compile(r"[^!-~]+")

#: Headers that say how the message is framed, which is not the user's to say.
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})

_REQUEST_TIMEOUT = 408

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
        self._tls: ssl.SSLContext | None = None
        self._nothing_yet: tuple[type[OSError], ...] = (BlockingIOError,)
        if parts.scheme.lower() == "https":
            from ssl import SSLWantReadError

            self._tls = tls or tls_context(None, None, None)
            self._nothing_yet = (BlockingIOError, SSLWantReadError)
        self._port = parts.port or (80 if self._tls is None else 443)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._first_line = f"POST {_UNQUOTED.sub(lambda found: quote(found[0]), target)} HTTP/1.1\r\n"
        self._defaults = {"host": authority, "accept-encoding": "identity"}
        self._socket: socket.socket | None = None
        self._aborted = False
        self._deadline = 0.0  # of the running exchange, time.monotonic()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises PostFailed when there is no answer in time. An idle connection that the server closed is renewed."""
        self._deadline = time.monotonic() + self._timeout
        try:
            message = self._head(headers, len(body)) + body
            if self._socket is not None and not self._is_quiet(self._socket):
                self.close()
            if self._socket is not None and (answer := self._exchange_on_kept(message)) is not None:
                return answer
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
        given = {name.lower(): value for name, value in headers.items()}
        if not all(_PLAIN.fullmatch(one) for pair in given.items() for one in pair):
            raise ValueError("a header holds a line break")
        sent = self._defaults | {name: value for name, value in given.items() if name not in _FRAMING}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return f"{self._first_line}{lines}content-length: {length}\r\n\r\n".encode("latin-1")

    def _is_quiet(self, idle: socket.socket) -> bool:
        """Whether an idle connection is as it was left: not closed, and nothing said that nobody asked for.

        Servers that close an idle connection may send a 408 first, which would pass for the next request's answer.
        What TLS has to say between answers (tickets, keys) is no part of that.
        """
        idle.settimeout(0.0)
        try:
            idle.recv(1)
        except self._nothing_yet:
            return True
        except OSError:
            pass
        return False

    def _exchange_on_kept(self, message: bytes) -> Answer | None:
        """None: the server closed the connection, so that the request has to go over a new one."""
        reader = AnswerReader()
        try:
            answer = self._exchange(message, reader)
            if answer.status != _REQUEST_TIMEOUT:  # may be repeated on another connection (RFC 9110 §15.5.9)
                return answer
        except TimeoutError:
            raise
        except OSError:  # TLS has errors of its own for it, which are no ConnectionError
            if reader.began or self._aborted:
                raise
        self.close()
        return None

    def _exchange(self, message: bytes, reader: AnswerReader) -> Answer:
        if self._socket is None:
            self._connect()
        one = self._socket
        assert one is not None
        self._stop_if_aborted()  # behind the assignment: `abort` shuts down what it finds there
        self._until_deadline(one)
        try:
            one.sendall(message)
        except OSError:
            early = self._early_answer(one, reader)
            if early is None:
                raise
            self.close()
            return early
        answer = self._receive(one, reader)
        if not answer.reusable:
            self.close()
        return answer

    def _receive(self, one: socket.socket, reader: AnswerReader) -> Answer:
        while True:
            self._until_deadline(one)
            if data := one.recv(_RECEIVED):
                if (answer := reader.feed(data)) is not None:
                    return answer
                continue
            self._stop_if_aborted()
            if reader.began:
                return reader.end()
            raise ConnectionResetError("it closed the connection without an answer")

    def _early_answer(self, one: socket.socket, reader: AnswerReader) -> Answer | None:
        """What a server that did not take the whole request answered before it closed the connection (413, 401).

        Its answer comes before its reset, so there is nothing to wait for.
        """
        with contextlib.suppress(OSError, NotHttp):
            one.settimeout(0.0)
            while data := one.recv(_RECEIVED):
                if (answer := reader.feed(data)) is not None:
                    return answer
            if reader.began:
                return reader.end()
        return None

    def _connect(self) -> None:
        """Sets the socket, and from before its first wait on, so that `abort` reaches each."""
        plain = self._connect_any()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            # The handshake waits on the object that wraps, which takes the file descriptor away from `plain`.
            wrapped = self._tls.wrap_socket(plain, server_hostname=self._host, do_handshake_on_connect=False)
            self._socket = wrapped
            self._stop_if_aborted()
            self._until_deadline(wrapped)
            wrapped.do_handshake()

    def _connect_any(self) -> socket.socket:
        """Connects to the first of the host's addresses that answers; each gets its share of the time that is left."""
        addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        failed: OSError = ConnectionError("the host has no address")
        for others, (family, kind, protocol, _, address) in zip(
            range(len(addresses) - 1, -1, -1), addresses, strict=True
        ):
            try:
                self._socket = one = socket.socket(family, kind, protocol)
                self._stop_if_aborted()
                one.settimeout(self._left() / (others + 1))
                one.connect(address)
                return one
            except OSError as error:
                self.close()
                self._stop_if_aborted()
                failed = error
        raise failed

    def _stop_if_aborted(self) -> None:
        if self._aborted:
            raise ConnectionAbortedError("gotap ends")

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
