"""What Error() of the usual error types says, told from their fields: no code of the program runs.

Texts as in Go 1.18–1.27; the tests compare them with what the program itself prints.
"""

from __future__ import annotations

from collections.abc import Callable

from gotap.signals.values.errno import ERRNO
from gotap.signals.values.gotext import quoted
from gotap.signals.values.model import Elements, Interface, Nil, Pointer, Told, Unavailable, Value
from gotap.signals.values.sayings import field, network_address, text_of
from gotap.signals.values.text import to_text


def message(type: str, value: Value) -> str | None:
    """The message of an error of that dynamic type; None where the type's Error method is not known.

    Parts that are not available stand in the message as such.
    """
    if type == ERRNO and isinstance(value, Told):
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


def _fields(template: str) -> Callable[[Value], str]:
    """`{Op} {Path}: {Err}`: fields by name; `{Err}` is an error, `{!Num}` is quoted as %q does."""
    pieces = template.replace("}", "{").split("{")

    def told(value: Value) -> str:
        out = []
        for index, piece in enumerate(pieces):
            if index % 2 == 0:
                out.append(piece)
            elif piece.startswith("!"):
                out.append(quoted(text_of(value, piece[1:])))
            else:
                out.append(of_error(field(value, piece)))
        return "".join(out)

    return told


def _constant(text: str) -> Callable[[Value], str]:
    return lambda value: text


def _itself(prefix: str = "") -> Callable[[Value], str]:
    """Errors that are strings."""
    return lambda value: prefix + to_text(value)


def _joined(value: Value) -> str:
    """errors/join.go."""
    errors = field(value, "errs")
    if not isinstance(errors, Elements):
        return to_text(errors)
    lines = [of_error(error) for error in errors.items]
    return "\n".join(lines if len(lines) == errors.length else [*lines, "…"])


def _operation(value: Value) -> str:
    """net.(*OpError).Error."""
    said = text_of(value, "Op")
    if network := text_of(value, "Net"):
        said += f" {network}"
    source, address = field(value, "Source"), field(value, "Addr")
    if not isinstance(source, Nil):
        said += f" {network_address(source)}"
    if not isinstance(address, Nil):
        said += f"{' ' if isinstance(source, Nil) else '->'}{network_address(address)}"
    return f"{said}: {of_error(field(value, 'Err'))}"


def _lookup(value: Value) -> str:
    """net.(*DNSError).Error."""
    server = text_of(value, "Server")
    return f"lookup {text_of(value, 'Name')}{f' on {server}' if server else ''}: {text_of(value, 'Err')}"


def _address_error(value: Value) -> str:
    """net.(*AddrError).Error."""
    address = text_of(value, "Addr")
    return f"address {address}: {text_of(value, 'Err')}" if address else text_of(value, "Err")


def _parse_error(value: Value) -> str:
    """time.(*ParseError).Error."""
    if said := text_of(value, "Message"):
        return f"parsing time {quoted(text_of(value, 'Value'))}{said}"
    parts = [quoted(text_of(value, name)) for name in ("Value", "Layout", "ValueElem", "LayoutElem")]
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
    "*net/textproto.Error": lambda value: f"{text_of(value, 'Code').rjust(3, '0')} {text_of(value, 'Msg')}",
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
