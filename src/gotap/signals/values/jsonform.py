"""A value as plain data for JSON, by the contract that docs/trace-values.md states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gotap.signals.values.gotext import special_float
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
from gotap.signals.values.text import rfc3339

Json = Any


def to_json(value: Value) -> Json:
    """What json.dumps or msgspec.json.encode write as the contract says: no NaN, no bytes, no other objects."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    try:
        return _form(value)
    except RecursionError:
        return _form(TOO_DEEP)


def _form(value: Value) -> Json:
    kind = type(value)
    return value if kind in _PLAIN else _WRITERS[kind](value)


def _cut(value: Json, known: int, length: int) -> Json:
    return {"value": value, "len": length, "cut": True} if known < length else value


def _content(content: bytes) -> Json:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"hex": content.hex()}


def _text(value: Text | Bytes) -> Json:
    return _cut(_content(value.content), len(value.content), value.length)


def _bytes(value: Bytes) -> Json:
    """A character that the cut went through is left out."""
    content = value.content
    if len(content) < value.length:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                content = content[: error.start]
    return _cut(_content(content), len(value.content), value.length)


def _mapping(value: Mapping) -> Json:
    whole = {"map": [[_form(key), _form(elem)] for key, elem in value.entries], "len": value.length}
    return _cut(whole, len(value.entries), value.length)


def _record(value: Record) -> Json:
    """Blank fields have no name that they could stand under."""
    return {name: _form(one) for name, one in zip(value.names, value.values, strict=True) if name != "_"}


def _interface(value: Interface) -> Json:
    form = {"type": value.type, "value": _form(value.value)}
    return form if value.message is None else form | {"error": value.message}


def _function(value: Function) -> Json:
    return {"func": value.name, "captured": _form(value.captured) if value.captured is not None else {}}


def _channel(value: Channel) -> Json:
    return {"chan": {"len": value.length, "cap": value.capacity, "closed": value.closed}}


def _float(value: float) -> Json:
    return special_float(value) or value


def _context(value: ContextChain) -> Json:
    links = [_link(link) for link in value.links]
    if value.rest is not None:
        links.append(_form(value.rest))
    return {"context": links} | ({"deadline": _form(value.deadline)} if value.deadline is not None else {})


def _link(link: ContextLink) -> Json:
    form: dict[str, Json] = {"type": link.type}
    if link.key is not None:
        form["key"] = _form(link.key)
    if link.value is not None:
        form["value"] = _form(link.value)
    if link.deadline is not None:
        form["deadline"] = _form(link.deadline)
    if link.cancelled is not None:
        form["cancelled"] = link.cancelled
    if link.error is not None:
        form["error"] = link.error
    return form


_PLAIN = frozenset((bool, int, str))
_WRITERS: dict[type, Callable[[Any], Json]] = {
    float: _float,
    complex: lambda value: [_float(value.real), _float(value.imag)],
    Nil: lambda value: None,
    Unavailable: lambda value: {"unavailable": value.why},
    Cycle: lambda value: {"cycle": True},
    Text: _text,
    Bytes: _bytes,
    Elements: lambda value: _cut([_form(one) for one in value.items], len(value.items), value.length),
    Mapping: _mapping,
    Record: _record,
    Pointer: lambda value: _form(value.target),
    Interface: _interface,
    Told: lambda value: _form(value.value),
    Function: _function,
    Channel: _channel,
    Address: lambda value: value.value,
    Duration: lambda value: value.nanoseconds,
    Time: rfc3339,
    ContextChain: _context,
}
