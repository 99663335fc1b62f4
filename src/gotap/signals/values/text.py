"""A value as Go's %+v writes it, but that pointers are followed wherever they stand.

What %+v would not say is marked: cuts `…(len 1000)`, cycles `<cycle>`, and `<unavailable: why>`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gotap.signals.values.gotext import civil, complex_text, duration_text, float_text
from gotap.signals.values.model import (
    TOO_DEEP,
    Address,
    Bytes,
    Channel,
    ContextChain,
    ContextLink,
    Cycle,
    Duration,
    Elements,
    Function,
    Interface,
    Mapping,
    Nil,
    Pointer,
    Record,
    Text,
    Time,
    Told,
    Unavailable,
    Value,
)
from gotap.signals.values.order import ordered


def to_text(value: Value) -> str:
    """One line, unless a string holds a newline. Control characters are as they are: terminals need them escaped."""
    if type(value) is str:
        return value
    try:
        return _written(value)
    except RecursionError:
        return _written(TOO_DEEP)


def _written(value: Value) -> str:
    return value if type(value) is str else _WRITERS[type(value)](value)


def _cut(known: int, length: int) -> str:
    return f"…(len {length})" if known < length else ""


def _text(value: Text) -> str:
    return value.content.decode("utf-8", "backslashreplace") + _cut(len(value.content), value.length)


def _list(items: list[str], length: int) -> str:
    return " ".join([*items, _cut(len(items), length)] if len(items) < length else items)


def _record(value: Record) -> str:
    return "{" + " ".join(f"{name}:{_written(one)}" for name, one in zip(value.names, value.values, strict=True)) + "}"


def _mapping(value: Mapping) -> str:
    entries = [f"{_written(key)}:{_written(elem)}" for key, elem in ordered(value.entries)]
    return f"map[{_list(entries, value.length)}]"


def _pointer(value: Pointer) -> str:
    if isinstance(value.target, Unavailable | Cycle | Told):
        return _written(value.target)
    return f"&{_written(value.target)}"


def _interface(value: Interface) -> str:
    return value.message if value.message is not None else _written(value.value)


def _function(value: Function) -> str:
    """A func whose captured variables are not known shows its name alone."""
    return value.name + (_record(value.captured) if isinstance(value.captured, Record) else "")


def _channel(value: Channel) -> str:
    return f"chan(len {value.length}, cap {value.capacity}{', closed' if value.closed else ''})"


def _time(value: Time) -> str:
    """time.Time.String."""
    day, clock = _moment(value)
    zone = offset_text(value.offset, "")
    text = f"{day} {clock} {zone} {value.zone or zone}"
    if value.monotonic is None:
        return text
    whole, rest = divmod(abs(value.monotonic), 1_000_000_000)
    return f"{text} m={'-' if value.monotonic < 0 else '+'}{whole}.{rest:09d}"


def offset_text(offset: int, colon: str) -> str:
    """`+0200`, with a colon `+02:00`."""
    minutes = abs(offset) // 60
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}{colon}{minutes % 60:02d}"


def rfc3339(value: Time) -> str:
    """RFC 3339 with nanoseconds, without trailing zeros (time.RFC3339Nano)."""
    day, clock = _moment(value)
    return f"{day}T{clock}{offset_text(value.offset, ':') if value.offset else 'Z'}"


def _moment(value: Time) -> tuple[str, str]:
    """Day and time of day in the value's zone."""
    year, month, day, hour, minute, second = civil(value.seconds + value.offset)
    fraction = f".{value.nanoseconds:09d}".rstrip("0") if value.nanoseconds else ""
    sign = "-" if year < 0 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}", f"{hour:02d}:{minute:02d}:{second:02d}{fraction}"


def _context(value: ContextChain) -> str:
    """As the String methods of contexts do, with the values; `[…]`: why it is done."""
    parts = [_link(link) for link in reversed(value.links)]
    if value.rest is not None:
        parts.insert(0, _written(value.rest))
    return ".".join(parts)


_MADE_BY = {
    "*context.cancelCtx": "WithCancel",
    "*context.afterFuncCtx": "AfterFunc",
    "context.withoutCancelCtx": "WithoutCancel",
    "context.backgroundCtx": "context.Background",
    "context.todoCtx": "context.TODO",
}


def _link(link: ContextLink) -> str:
    if link.type == "*context.valueCtx" and link.key is not None and link.value is not None:
        text = f"WithValue({_written(link.key)}, {_written(link.value)})"
    elif link.deadline is not None:
        text = f"WithDeadline({_written(link.deadline)})"
    else:
        text = _MADE_BY.get(link.type, link.type)
    return f"{text}[{link.error or 'cancelled'}]" if link.cancelled else text


_WRITERS: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    float: float_text,
    complex: complex_text,
    str: str,
    Nil: lambda value: value.text,
    Unavailable: lambda value: f"<unavailable: {value.why}>",
    Cycle: lambda value: "<cycle>",
    Text: _text,
    Bytes: lambda value: f"[{_list([str(one) for one in value.content], value.length)}]",
    Elements: lambda value: f"[{_list([_written(one) for one in value.items], value.length)}]",
    Mapping: _mapping,
    Record: _record,
    Pointer: _pointer,
    Interface: _interface,
    Told: lambda value: value.text,
    Function: _function,
    Channel: _channel,
    Address: lambda value: f"{value.value:#x}" if value.value else "<nil>",
    Duration: lambda value: duration_text(value.nanoseconds),
    Time: _time,
    ContextChain: _context,
}
