"""What Error() of the usual error types says, told from their fields: no code of the program runs.

Texts as in Go 1.18–1.27; the tests compare them with what the program itself prints.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from gotap.signals.values.gotext import quoted
from gotap.signals.values.model import (
    Bytes,
    Elements,
    Interface,
    Nil,
    Pointer,
    Record,
    Told,
    Unavailable,
    Value,
)
from gotap.signals.values.text import to_text


def message(type: str, value: Value) -> str | None:
    """The message of an error of that dynamic type; None where the type's Error method is not known.

    Parts that are not available stand in the message as such.
    """
    if isinstance(value, Told):
        return value.text
    known = _MESSAGES.get(type)
    if known is None:
        return None
    if isinstance(value, Pointer):
        value = value.target
    return None if isinstance(value, Nil | Unavailable) else known(value)


def of_error(value: Value) -> str:
    """What an error says that is part of another one: the message where it can be told, else the value."""
    return value.message if isinstance(value, Interface) and value.message is not None else to_text(value)


def _field(value: Value, name: str) -> Value:
    return value.get(name) if isinstance(value, Record) else Unavailable("no struct")


def _text(value: Value, name: str) -> str:
    return to_text(_field(value, name))


def _fields(template: str) -> Callable[[Value], str]:
    """`{Op} {Path}: {Err}`: fields by name; `{Err}` is an error, `{!Num}` is quoted as %q does."""
    pieces = template.replace("}", "{").split("{")

    def told(value: Value) -> str:
        out = []
        for index, piece in enumerate(pieces):
            if index % 2 == 0:
                out.append(piece)
            elif piece.startswith("!"):
                out.append(quoted(_text(value, piece[1:])))
            else:
                out.append(of_error(_field(value, piece)))
        return "".join(out)

    return told


def _constant(text: str) -> Callable[[Value], str]:
    return lambda value: text


def _itself(prefix: str = "") -> Callable[[Value], str]:
    """Errors that are strings."""
    return lambda value: prefix + to_text(value)


def _joined(value: Value) -> str:
    """errors/join.go."""
    errors = _field(value, "errs")
    if not isinstance(errors, Elements):
        return to_text(errors)
    lines = [of_error(error) for error in errors.items]
    return "\n".join(lines if len(lines) == errors.length else [*lines, "…"])


def _operation(value: Value) -> str:
    """net.(*OpError).Error."""
    said = _text(value, "Op")
    if network := _text(value, "Net"):
        said += f" {network}"
    source, address = _field(value, "Source"), _field(value, "Addr")
    if not isinstance(source, Nil):
        said += f" {network_address(source)}"
    if not isinstance(address, Nil):
        said += f"{' ' if isinstance(source, Nil) else '->'}{network_address(address)}"
    return f"{said}: {of_error(_field(value, 'Err'))}"


def _lookup(value: Value) -> str:
    """net.(*DNSError).Error."""
    server = _text(value, "Server")
    return f"lookup {_text(value, 'Name')}{f' on {server}' if server else ''}: {_text(value, 'Err')}"


def _address_error(value: Value) -> str:
    """net.(*AddrError).Error."""
    address = _text(value, "Addr")
    return f"address {address}: {_text(value, 'Err')}" if address else _text(value, "Err")


def network_address(value: Value) -> str:
    """What String() of a net.Addr says: net/{tcp,udp,ip,unix}sock.go."""
    if not isinstance(value, Interface):
        return to_text(value)
    inner = value.value.target if isinstance(value.value, Pointer) else value.value
    if value.type in ("*net.TCPAddr", "*net.UDPAddr"):
        host = _host(inner)
        return f"[{host}]:{_text(inner, 'Port')}" if ":" in host or "%" in host else f"{host}:{_text(inner, 'Port')}"
    if value.type == "*net.IPAddr":
        return _host(inner)
    if value.type == "*net.UnixAddr":
        return _text(inner, "Name")
    return to_text(value)


def _host(address: Value) -> str:
    host, zone = ip(_field(address, "IP")), _text(address, "Zone")
    return f"{host}%{zone}" if zone else host


def ip(value: Value) -> str:
    """net.IP.String of an address, empty for none."""
    if not isinstance(value, Bytes):
        return "" if isinstance(value, Nil) else to_text(value)
    content = value.content
    if len(content) == 16 and content[:12] == b"\0" * 10 + b"\xff\xff":
        content = content[12:]
    if len(content) == 4:
        return str(IPv4Address(content))
    if len(content) == 16:
        return str(IPv6Address(content))
    return f"?{content.hex()}" if content else ""


def _parse_error(value: Value) -> str:
    """time.(*ParseError).Error."""
    if said := _text(value, "Message"):
        return f"parsing time {quoted(_text(value, 'Value'))}{said}"
    parts = [quoted(_text(value, name)) for name in ("Value", "Layout", "ValueElem", "LayoutElem")]
    return f"parsing time {parts[0]} as {parts[1]}: cannot parse {parts[2]} as {parts[3]}"


_MESSAGES: dict[str, Callable[[Value], str]] = {
    "*errors.errorString": _fields("{s}"),
    "*errors.joinError": _joined,
    "*fmt.wrapError": _fields("{msg}"),
    "*fmt.wrapErrors": _fields("{msg}"),
    "*internal/poll.DeadlineExceededError": _constant("i/o timeout"),
    "internal/poll.errNetClosing": _constant("use of closed network connection"),
    "*io/fs.PathError": _fields("{Op} {Path}: {Err}"),
    "*os.LinkError": _fields("{Op} {Old} {New}: {Err}"),
    "*os.SyscallError": _fields("{Syscall}: {Err}"),
    "*os/exec.Error": _fields("exec: {!Name}: {Err}"),
    "os/exec.wrappedError": _fields("{prefix}: {err}"),
    "*net.OpError": _operation,
    "*net.DNSError": _lookup,
    "*net.AddrError": _address_error,
    "*net.ParseError": _fields("invalid {Type}: {Text}"),
    "*net.notFoundError": _fields("{s}"),
    "*net.temporaryError": _fields("{s}"),
    "*net.timeoutError": _constant("i/o timeout"),
    "net.canceledError": _constant("operation was canceled"),
    "net.UnknownNetworkError": _itself("unknown network "),
    "net.InvalidAddrError": _itself(),
    "*net/url.Error": _fields("{Op} {!URL}: {Err}"),
    "net/url.InvalidHostError": lambda value: f"invalid character {quoted(to_text(value))} in host name",
    "net/url.EscapeError": lambda value: "invalid URL escape " + quoted(to_text(value)),
    "*net/http.httpError": _fields("{err}"),
    "*net/http.timeoutError": _fields("{err}"),
    "*net/http.ProtocolError": _fields("{ErrorString}"),
    "*net/http.MaxBytesError": _constant("http: request body too large"),
    "net/http.tlsHandshakeTimeoutError": _constant("net/http: TLS handshake timeout"),
    "*net/textproto.Error": lambda value: f"{_text(value, 'Code').rjust(3, '0')} {_text(value, 'Msg')}",
    "net/textproto.ProtocolError": _itself(),
    "*strconv.NumError": _fields("strconv.{Func}: parsing {!Num}: {Err}"),
    "*time.ParseError": _parse_error,
    "context.deadlineExceededError": _constant("context deadline exceeded"),
    "*encoding/json.SyntaxError": _fields("{msg}"),
    "runtime.errorString": _itself("runtime error: "),
    "runtime.plainError": _itself(),
    "runtime.errorAddressString": _fields("runtime error: {msg}"),
    "*github.com/pkg/errors.fundamental": _fields("{msg}"),
    "*github.com/pkg/errors.withMessage": _fields("{msg}: {cause}"),
    "*github.com/pkg/errors.withStack": _fields("{error}"),
}
