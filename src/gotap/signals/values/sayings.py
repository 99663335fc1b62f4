"""What the String method of the standard library's usual types says, told from their fields: fmt's %+v calls it.

Texts as in Go 1.18–1.27; the tests compare them with what the program itself prints. JSON has the values themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

from gotap.signals.values.model import Bytes, Elements, Interface, Nil, Pointer, Record, Told, Unavailable, Value
from gotap.signals.values.text import to_text


def saying(type: str) -> Callable[[Value], str | None] | None:
    """What tells what a type's String method says of a value: None where parts of it are missing."""
    return _SAYINGS.get(type)


def field(value: Value, name: str) -> Value:
    """A field of a struct or of what a pointer leads to, Unavailable where there is none."""
    if isinstance(value, Told):
        value = value.value
    if isinstance(value, Pointer):
        value = value.target
    return value.get(name) if isinstance(value, Record) else Unavailable("no struct")


def text_of(value: Value, name: str) -> str:
    return to_text(field(value, name))


# -- package net --------------------------------------------------------------------------------------------------


def ip(value: Value) -> str | None:
    """net.IP.String, but empty for no address, as in String of what has addresses."""
    if isinstance(value, Told):
        value = value.value
    content = _whole(value)
    if content is None:
        return None
    if len(content) == 16 and content[:12] == b"\0" * 10 + b"\xff\xff":
        content = content[12:]
    if len(content) == 4:
        return str(IPv4Address(content))
    if len(content) == 16:
        return str(IPv6Address(content))
    return f"?{content.hex()}" if content else ""


def _alone(value: Value) -> str | None:
    return "<nil>" if (said := ip(value)) == "" else said


def _host(address: Value) -> str | None:
    host = ip(field(address, "IP"))
    zone = text_of(address, "Zone")
    return f"{host}%{zone}" if zone and host is not None else host


def _with_port(address: Value) -> str | None:
    """net.JoinHostPort."""
    host, port = _host(address), text_of(address, "Port")
    if host is None:
        return None
    return f"[{host}]:{port}" if ":" in host or "%" in host else f"{host}:{port}"


def network_address(value: Value) -> str:
    """What String() of a net.Addr says."""
    inner = value.value if isinstance(value, Interface) else value
    return inner.text if isinstance(inner, Told) else to_text(value)


# -- net/url ------------------------------------------------------------------------------------------------------


def _url(value: Value) -> str:
    """(*URL).String."""
    scheme, host, opaque = (text_of(value, name) for name in ("Scheme", "Host", "Opaque"))
    said = f"{scheme}:" if scheme else ""
    if opaque:
        said += opaque
    else:
        user, path = field(value, "User"), _path(value)
        named = bool(host) or not isinstance(user, Nil)
        if named or (scheme and path and field(value, "OmitHost") is not True):
            said += "//"
        if not isinstance(user, Nil):
            said += f"{_user(user)}@"
        said += quote(host, safe="!$&'()*+,;=:[]<>\"-_.~")
        if path and not path.startswith("/") and host:
            said += "/"
        if not said and ":" in path.partition("/")[0]:
            said += "./"
        said += path
    query, fragment = text_of(value, "RawQuery"), text_of(value, "Fragment")
    if query or field(value, "ForceQuery") is True:
        said += f"?{query}"
    return f"{said}#{_escaped(fragment, text_of(value, 'RawFragment'), _IN_FRAGMENT)}" if fragment else said


#: What is not escaped besides letters and digits, and in parts that were written escaped may stand besides.
_IN_PATH = "$&+,/:;=@-_.~"
_IN_FRAGMENT = "$&+,/:;=?@!()*-_.~"
_IN_WRITTEN = frozenset("!$&'()*+,;=:@[]%")


def _path(value: Value) -> str:
    """(*URL).EscapedPath."""
    path = text_of(value, "Path")
    return "*" if path == "*" else _escaped(path, text_of(value, "RawPath"), _IN_PATH)


def _escaped(part: str, written: str, safe: str) -> str:
    """A part of a URL as it was written, if that is a valid spelling of it, else escaped."""
    valid = all(one.isascii() and (one.isalnum() or one in safe or one in _IN_WRITTEN) for one in written)
    return written if written and valid else quote(part, safe=safe)


def _user(value: Value) -> str:
    name = quote(text_of(value, "username"), safe="$&+,;=-_.~")
    if field(value, "passwordSet") is not True:
        return name
    return f"{name}:{quote(text_of(value, 'password'), safe='$&+,;=-_.~')}"


# -- others -------------------------------------------------------------------------------------------------------


def _integer(value: Value) -> str | None:
    """(*big.Int).Format, which knows %+v and writes the plus sign."""
    words = field(value, "abs")
    if isinstance(words, Nil):
        return "+0"
    if not isinstance(words, Elements) or len(words.items) < words.length:
        return None
    number = 0
    for place, word in enumerate(words.items):
        if not isinstance(word, int):
            return None
        number |= word << 64 * place
    return f"{'-' if field(value, 'neg') is True else '+'}{number}"


def _mode(value: Value) -> str | None:
    """fs.FileMode.String."""
    if not isinstance(value, int):
        return None
    kinds = "".join(one for place, one in enumerate("dalTLDpSugct?") if value >> 31 - place & 1)
    return (kinds or "-") + "".join(one if value >> 8 - place & 1 else "-" for place, one in enumerate("rwxrwxrwx"))


def _whole(value: Value) -> bytes | None:
    """A []byte that is not cut; nil is empty."""
    if isinstance(value, Nil):
        return b""
    return value.content if isinstance(value, Bytes) and len(value.content) == value.length else None


def _mask(value: Value) -> str | None:
    content = _whole(value)
    return content if content is None else content.hex() or "<nil>"


def _hardware(value: Value) -> str | None:
    content = _whole(value)
    return content if content is None else content.hex(":")


def _location(value: Value) -> str | None:
    name = field(value, "name")
    return name if isinstance(name, str) else None


_SAYINGS: dict[str, Callable[[Value], str | None]] = {
    "net.IP": _alone,
    "net.IPMask": _mask,
    "net.HardwareAddr": _hardware,
    "*net.TCPAddr": _with_port,
    "*net.UDPAddr": _with_port,
    "*net.IPAddr": _host,
    "*net.UnixAddr": lambda value: text_of(value, "Name"),
    "*net/url.URL": _url,
    "*math/big.Int": _integer,
    "io/fs.FileMode": _mode,
    "*time.Location": _location,
}
