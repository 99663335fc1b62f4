"""Conversions of HTTP, of URLs and of the addresses that go with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import quote

from gotap.probe.convert_errors import go_error
from gotap.probe.convert_registry import ELLIPSIS, Cut, Result, register, shown
from gotap.probe.redact import SENSITIVE_QUERY_KEYS, redact_query

#: Methods that are reported by name: RFC 9110, PATCH (RFC 5789), QUERY (semconv http.request.method, note 1).
KNOWN_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")

# HTTP


@register(Result.TEXT)
def http_method(method: str | None, *, known: Collection[str] = KNOWN_METHODS) -> str | None:
    """`http.request.method`: "" is GET (net/http: Request.Method), what is not known `_OTHER`."""
    if method is None:
        return None
    if method == "":
        return "GET"
    return method if method in known and not isinstance(method, Cut) else "_OTHER"


@register(Result.TEXT)
def http_method_original(method: str | None, *, known: Collection[str] = KNOWN_METHODS) -> str | None:
    """`http.request.method_original`: the method, only where http_method says `_OTHER`."""
    return shown(method) if method and http_method(method, known=known) == "_OTHER" else None


@register(Result.INT)
def http_status(status: int | None) -> int | None:
    """`http.response.status_code`: 0, no call of WriteHeader, is what net/http then sends: 200."""
    return None if status is None else status or 200


@register(Result.TEXT)
def http_version(major: int | None, minor: int | None) -> str | None:
    """`network.protocol.version`: 1.0, 1.1, 2, 3; absent for 0.0, a message that never was on a wire."""
    if major is None or minor is None or major == minor == 0:
        return None
    return f"{major}.{minor}" if major < 2 or minor else str(major)


@register(Result.TEXT)
def scheme_from_tls(tls: int | None) -> str | None:
    """`url.scheme` of a server's request from whether it came by TLS."""
    return None if tls is None else "https" if tls else "http"


@register(Result.TEXT)
def route_of_pattern(pattern: str | None) -> str | None:
    """`http.route` of a ServeMux pattern, `[METHOD ][HOST]/[PATH]`: without method and host.

    The syntax: net/http/pattern.go, parsePattern (Go 1.22 to 1.27); older patterns are `[HOST]/[PATH]`.
    """
    if not pattern:
        return None
    slash = pattern.find("/")
    return shown(type(pattern)(pattern[slash:])) if slash >= 0 else None


# URL


@register(Result.TEXT, free=True, verbatim=True)
def url_path(path: str | None) -> str | None:
    """`url.path`; absent when empty."""
    return shown(path) if path else None


@register(Result.TEXT, free=True, separator="&")
def url_query(query: str | None, *, sensitive: Collection[str] = SENSITIVE_QUERY_KEYS) -> str | None:
    """`url.query` with the values of sensitive keys REDACTED, however the key is escaped and where it was cut."""
    if not query:
        return None
    redacted = redact_query(query, tuple(sensitive))
    return redacted + ELLIPSIS if isinstance(query, Cut) else redacted


@register(Result.TEXT, free=True)
def url_full(
    scheme: str | None,
    host: str | None,
    path: str | None,
    query: str | None,
    *,
    sensitive: Collection[str] = SENSITIVE_QUERY_KEYS,
) -> str | None:
    """`url.full` of a client's request: parts of a net/url.URL, the path escaped anew, the query redacted.

    Go keeps a URL's user and password apart (URL.User), so they cannot come along. Ends where a part was cut.
    """
    if not scheme or not host:
        return None
    full = f"{scheme}://{shown(host)}"
    if isinstance(host, Cut) or (not path and not query):
        return full
    # The bytes that Go's URL.EscapedPath leaves alone (net/url/url.go, shouldEscape, mode encodePath).
    full += quote(path or "", safe="$&+,/:;=@")
    if isinstance(path, Cut):
        return full + ELLIPSIS
    redacted = url_query(query, sensitive=sensitive)
    return f"{full}?{redacted}" if redacted else full


# Addresses

_DEFAULT_PORTS = {"http": 80, "https": 443}


def _split_host(host: str) -> tuple[str, str]:
    """(name, port) of a Host value, as net/url's URL.Hostname and URL.Port split it (net/url/url.go, splitHostPort).

    One difference: an IPv6 address without brackets is a name, not a name and a port.
    """
    name, colon, port = host.rpartition(":")
    if not colon or (port and not (port.isascii() and port.isdigit())) or (":" in name and not name.startswith("[")):
        name, port = host, ""
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    return name, port


@register(Result.TEXT)
def host_name(host: str | None) -> str | None:
    """`server.address` from a Host value: without port and brackets."""
    if not host:
        return None
    if isinstance(host, Cut):
        return shown(host)
    return _split_host(host)[0] or None


@register(Result.INT)
def host_port(host: str | None, scheme: str | None = None) -> int | None:
    """`server.port` from a Host value; without a port there the scheme's, if the scheme is given (clients)."""
    if not host or isinstance(host, Cut):
        return None
    port = _split_host(host)[1]
    if not port:
        return _DEFAULT_PORTS.get(scheme.lower()) if scheme else None
    return int(port) if int(port) <= 0xFFFF else None


def _split_peer(peer: str) -> tuple[str, str]:
    """(IP address with its zone, port) of what net.TCPAddr.String gives; two "" if it is something else."""
    name, _, port = peer.rpartition(":")
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "", ""
    return name, port


@register(Result.TEXT)
def peer_address(peer: str | None) -> str | None:
    """`client.address` from a connection's remote address: the IP, or a Unix socket's name if it has one."""
    if not peer or isinstance(peer, Cut):
        return None
    if peer.startswith(("/", "@")):
        return peer if len(peer) > 1 else None
    return _split_peer(peer)[0] or None


@register(Result.INT)
def peer_port(peer: str | None) -> int | None:
    """`client.port` from a connection's remote address."""
    port = _split_peer(peer)[1] if peer and not isinstance(peer, Cut) else ""
    return int(port) if port.isascii() and port.isdigit() else None


# Errors

#: What http.ErrAbortHandler is (net/http/server.go, Go 1.8 to 1.27).
_ABORT_HANDLER = ("*errors.errorString", "net/http: abort Handler")


@register(Result.TEXT)
def http_server_error(status: int | None, panic_type: str | None = None, panic_text: str | None = None) -> str | None:
    """`error.type` of a server: `abort`, `panic`, or the status from 500 up. A nil panic is none, as for net/http."""
    if panic_type:
        return "abort" if (panic_type, panic_text) == _ABORT_HANDLER else "panic"
    return str(status) if status is not None and status >= 500 else None


@register(Result.TEXT)
def http_client_error(
    status: int | None,
    type_name: str | None = None,
    message: str | None = None,
    number: int | None = None,
    *,
    timeout: Collection[str] = (),
    canceled: Collection[str] = (),
) -> str | None:
    """`error.type` of a client: the error if there is one, else the status from 400 up."""
    if type_name:
        return go_error(type_name, message, number, timeout=timeout, canceled=canceled)
    return str(status) if status is not None and status >= 400 else None
