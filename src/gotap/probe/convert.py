"""The conversions: the closed, named list of functions that turn captured values into attributes.

The catalogue names them; no backend has conversion code of its own. A conversion is a pure function of its inputs
(None: the column is absent; a TYPE column comes as the type's full name, "" for a nil interface; a text that was cut
comes as Cut) and of constants (keyword-only parameters, given by the catalogue or by the user's options). Its result
is the attribute's value, or None: the operation has no such attribute.

`tests/probe/conversion_vectors.yaml` holds the vectors that every other implementation of this list must pass.
Checked with OpenTelemetry's semantic conventions 1.44.0 (HTTP, URL, client, server, error).
"""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote

from msgspec import Struct

from gotap.errors import GotapError
from gotap.probe.record import Attribute
from gotap.probe.redact import SENSITIVE_QUERY_KEYS, redact_query

Value = str | int | bool
Param = str | int | tuple[str, ...]
Convert = Callable[..., Value | None]
_Function = TypeVar("_Function", bound=Convert)

#: Ends the text of an attribute whose value was cut.
ELLIPSIS = "…"

#: Methods that are reported by name: RFC 9110, PATCH (RFC 5789), QUERY (semconv http.request.method, note 1).
KNOWN_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")


class ConversionError(GotapError):
    """A catalogue names a conversion that does not exist, or gives it inputs or parameters that it does not take."""


class Cut(str):
    """The kept beginning of a text that was longer than what its column keeps."""

    __slots__ = ()


class Result(Enum):
    TEXT = "text"
    INT = "int"
    BOOL = "bool"


class Conversion(Struct, frozen=True):
    """One conversion; `inputs` is the fewest and the most columns it takes.

    `free`: results are texts of which most may be different, so there is no use in numbering them.
    `verbatim`: a text that was not cut stays as it is, unless it is empty.
    `separator`: of texts joined by it, none of them cut or empty, the result is their results joined by it.
    """

    name: str
    function: Convert
    result: Result
    inputs: tuple[int, int]
    params: frozenset[str]
    free: bool
    verbatim: bool
    separator: str = ""

    def bind(self, attribute: Attribute, options: Mapping[str, Param] = MappingProxyType({})) -> Convert:
        """The function with its constants in place: the catalogue's, and over them the user's `options`.

        An option names a parameter (`sensitive`, `known`) and goes to every conversion that has it.
        """
        fewest, most = self.inputs
        if not fewest <= len(attribute.inputs) <= most:
            count = str(most) if fewest == most else f"{fewest} to {most}"
            raise ConversionError(
                f"{attribute.key}: conversion {self.name} takes {count} columns, not {len(attribute.inputs)}"
            )
        params: dict[str, Any] = dict(attribute.params)
        for name in params:
            if name not in self.params:
                raise ConversionError(
                    f"{attribute.key}: conversion {self.name} has no parameter {name}",
                    f"its parameters: {', '.join(sorted(self.params)) or 'none'}",
                )
        params |= {name: value for name, value in options.items() if name in self.params}
        return partial(self.function, **params) if params else self.function


_registry: dict[str, Conversion] = {}

#: All conversions by name.
CONVERSIONS: Mapping[str, Conversion] = MappingProxyType(_registry)


def conversion(name: str) -> Conversion:
    """The conversion of that name; raises ConversionError if there is none."""
    try:
        return CONVERSIONS[name]
    except KeyError:
        known = ", ".join(sorted(CONVERSIONS))
        raise ConversionError(f"there is no conversion {name}", f"conversions: {known}") from None


def _register(
    result: Result, *, name: str = "", free: bool = False, verbatim: bool = False, separator: str = ""
) -> Callable[[_Function], _Function]:
    """Enters a function into the list: positional parameters are inputs, keyword-only ones constants."""

    def enter(function: _Function) -> _Function:
        parameters = inspect.signature(function).parameters.values()
        inputs = [one for one in parameters if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        fewest = sum(one.default is inspect.Parameter.empty for one in inputs)
        params = frozenset(one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY)
        key = name or function.__name__
        _registry[key] = Conversion(key, function, result, (fewest, len(inputs)), params, free, verbatim, separator)
        return function

    return enter


def _shown(text: str) -> str:
    return text + ELLIPSIS if isinstance(text, Cut) else text


# Values as they are


@_register(Result.TEXT, free=True, verbatim=True)
def text(value: str | None) -> str | None:
    """The text; absent when empty."""
    return _shown(value) if value else None


@_register(Result.INT, name="int")
def integer(value: int | None) -> int | None:
    return None if value is None else int(value)


@_register(Result.BOOL, name="bool")
def boolean(value: int | None) -> bool | None:
    return None if value is None else bool(value)


# HTTP


@_register(Result.TEXT)
def http_method(method: str | None, *, known: Collection[str] = KNOWN_METHODS) -> str | None:
    """`http.request.method`: "" is GET (net/http: Request.Method), what is not known `_OTHER`."""
    if method is None:
        return None
    if method == "":
        return "GET"
    return method if method in known and not isinstance(method, Cut) else "_OTHER"


@_register(Result.TEXT)
def http_method_original(method: str | None, *, known: Collection[str] = KNOWN_METHODS) -> str | None:
    """`http.request.method_original`: the method, only where http_method says `_OTHER`."""
    return _shown(method) if method and http_method(method, known=known) == "_OTHER" else None


@_register(Result.INT)
def http_status(status: int | None) -> int | None:
    """`http.response.status_code`: 0, no call of WriteHeader, is what net/http then sends: 200."""
    return None if status is None else status or 200


@_register(Result.TEXT)
def http_version(major: int | None, minor: int | None) -> str | None:
    """`network.protocol.version`: 1.0, 1.1, 2, 3; absent for 0.0, a message that never was on a wire."""
    if major is None or minor is None or major == minor == 0:
        return None
    return f"{major}.{minor}" if major < 2 or minor else str(major)


@_register(Result.TEXT)
def scheme_from_tls(tls: int | None) -> str | None:
    """`url.scheme` of a server's request from whether it came by TLS."""
    return None if tls is None else "https" if tls else "http"


@_register(Result.TEXT)
def route_of_pattern(pattern: str | None) -> str | None:
    """`http.route` of a ServeMux pattern, `[METHOD ][HOST]/[PATH]`: without method and host.

    The syntax: net/http/pattern.go, parsePattern (Go 1.22 to 1.27); older patterns are `[HOST]/[PATH]`.
    """
    if not pattern:
        return None
    slash = pattern.find("/")
    return _shown(type(pattern)(pattern[slash:])) if slash >= 0 else None


# URL


@_register(Result.TEXT, free=True, verbatim=True)
def url_path(path: str | None) -> str | None:
    """`url.path`; absent when empty."""
    return _shown(path) if path else None


@_register(Result.TEXT, free=True, separator="&")
def url_query(query: str | None, *, sensitive: Collection[str] = SENSITIVE_QUERY_KEYS) -> str | None:
    """`url.query` with the values of sensitive keys REDACTED, however the key is escaped and where it was cut."""
    if not query:
        return None
    redacted = redact_query(query, tuple(sensitive))
    return redacted + ELLIPSIS if isinstance(query, Cut) else redacted


@_register(Result.TEXT, free=True)
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
    full = f"{scheme}://{_shown(host)}"
    if isinstance(host, Cut) or (not path and not query):
        return full
    # The bytes that Go's URL.EscapedPath leaves alone (net/url/url.go, shouldEscape, mode encodePath).
    full += quote(path or "", safe="$&+,/:;=@")
    if isinstance(path, Cut):
        return full + ELLIPSIS
    shown = url_query(query, sensitive=sensitive)
    return f"{full}?{shown}" if shown else full


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


@_register(Result.TEXT)
def host_name(host: str | None) -> str | None:
    """`server.address` from a Host value: without port and brackets."""
    if not host:
        return None
    if isinstance(host, Cut):
        return _shown(host)
    return _split_host(host)[0] or None


@_register(Result.INT)
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


@_register(Result.TEXT)
def peer_address(peer: str | None) -> str | None:
    """`client.address` from a connection's remote address: the IP, or a Unix socket's name if it has one."""
    if not peer or isinstance(peer, Cut):
        return None
    if peer.startswith(("/", "@")):
        return peer if len(peer) > 1 else None
    return _split_peer(peer)[0] or None


@_register(Result.INT)
def peer_port(peer: str | None) -> int | None:
    """`client.port` from a connection's remote address."""
    port = _split_peer(peer)[1] if peer and not isinstance(peer, Cut) else ""
    return int(port) if port.isascii() and port.isdigit() else None


# Errors

#: What http.ErrAbortHandler is (net/http/server.go, Go 1.8 to 1.27).
_ABORT_HANDLER = ("*errors.errorString", "net/http: abort Handler")


@_register(Result.TEXT)
def http_server_error(status: int | None, panic_type: str | None = None, panic_text: str | None = None) -> str | None:
    """`error.type` of a server: `abort`, `panic`, or the status from 500 up. A nil panic is none, as for net/http."""
    if panic_type:
        return "abort" if (panic_type, panic_text) == _ABORT_HANDLER else "panic"
    return str(status) if status is not None and status >= 500 else None


@_register(Result.TEXT)
def go_error(
    type_name: str | None,
    message: str | None = None,
    number: int | None = None,
    *,
    timeout: Collection[str] = (),
    canceled: Collection[str] = (),
) -> str | None:
    """`error.type` of a Go error: `timeout` and `canceled` where the lists say so, else its type's name.

    An entry of the lists is a type's name, a message, or `TYPE=NUMBER` (`syscall.Errno=110`).
    """
    if not type_name:
        return None
    seen = {type_name}
    if number is not None:
        seen.add(f"{type_name}={number}")
    if message is not None and not isinstance(message, Cut):
        seen.add(message)
    if not seen.isdisjoint(timeout):
        return "timeout"
    return "canceled" if not seen.isdisjoint(canceled) else type_name


@_register(Result.TEXT)
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
