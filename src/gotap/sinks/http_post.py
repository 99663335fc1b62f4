"""HTTP POST over one kept connection, with a deadline on the whole exchange that a slow server cannot stretch."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from gotap.errors import GotapError

#: A longer answer is not read (OTLP exporter specification, max response size).
_MAX_ANSWER = 4 << 20


class PostFailed(Exception):
    """There was no answer: str() says why."""


class CertificateUnusable(GotapError):
    """A file with certificates or a key cannot be read, or holds none."""


class Answer(Struct, frozen=True):
    status: int
    reason: str
    headers: Mapping[str, str]  # by lower-case name
    body: bytes


class Poster:
    """Posts to one URL. Used by one thread; `abort` may be called by another."""

    def __init__(self, url: str, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        """`timeout` in seconds is for each exchange; `tls` for https, where None trusts what the system trusts."""
        parts = urlsplit(url)
        self.shown_url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout = timeout
        host, port = parts.hostname or "", parts.port
        self._connection: http.client.HTTPConnection
        if parts.scheme.lower() == "https":
            context = tls or ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        self._socket: socket.socket | None = None  # of the running exchange: http.client lets go of it early
        self._aborted = False
        self._late = False

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises PostFailed when there is no answer in time. An idle connection that the server closed is renewed."""
        self._late = False
        watchdog = threading.Timer(self._timeout, self._expire)
        watchdog.daemon = True
        watchdog.start()
        try:
            reused = self._connection.sock is not None
            try:
                return self._exchange(body, headers)
            except (ConnectionError, http.client.RemoteDisconnected):
                if not reused or self._late or self._aborted:
                    raise
                self._connection.close()
                return self._exchange(body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise PostFailed(self._why(error)) from error
        finally:
            watchdog.cancel()

    def abort(self) -> None:
        """Makes a running exchange fail at once, and every later one too."""
        self._aborted = True
        self._break()

    def close(self) -> None:
        self._connection.close()

    def _exchange(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._aborted:
            raise ConnectionAbortedError("gotap ends")
        self._connection.request("POST", self._target, body, dict(headers))
        self._socket = self._connection.sock
        with self._connection.getresponse() as response:
            content = response.read(_MAX_ANSWER)
            if response.read(1):
                self._connection.close()  # what is left of it would be taken for the next answer
            if self._late or self._aborted:  # http.client takes the end of the stream for the end of the headers
                raise ConnectionAbortedError("cut short")
            fields = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, response.reason, fields, content)

    def _expire(self) -> None:
        self._late = True
        self._break()

    def _break(self) -> None:
        # The socket is shut down and not closed, so that the thread that waits on it wakes; and below TLS, whose
        # state is that thread's.
        for one in (self._socket, self._connection.sock):
            if one is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(one, socket.SHUT_RDWR)

    def _why(self, error: Exception) -> str:
        if self._late or isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if isinstance(error, http.client.BadStatusLine | http.client.UnknownProtocol | http.client.LineTooLong):
            return "what answers there does not speak HTTP"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {error.verify_message}"
        if isinstance(error, OSError):
            return error.strerror or str(error)
        return str(error) or type(error).__name__


def tls_context(authorities: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """A client's context of PEM files: who is trusted, and by which certificate the client is known."""
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
