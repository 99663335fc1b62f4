"""The order in which fmt prints a map's entries: internal/fmtsort, Go 1.18–1.27."""

from __future__ import annotations

from typing import Any

from gotap.signals.values.model import (
    Address,
    Bytes,
    Duration,
    Elements,
    Interface,
    Nil,
    Record,
    Text,
    Told,
    Value,
)

_Entry = tuple[Value, Value]


def ordered(entries: list[_Entry]) -> list[_Entry]:
    """Sorted by key; as they were found where the keys have no order that is known (pointers, channels)."""
    try:
        return sorted(entries, key=lambda entry: _rank(entry[0]))
    except TypeError:
        return entries


def _rank(key: Value) -> tuple[Any, ...]:
    """What orders keys of one type. NaN comes before all other floats."""
    if isinstance(key, str):
        return (key.encode("utf-8", "surrogateescape"),)
    if isinstance(key, bool | int):
        return (key,)
    if isinstance(key, float):
        return (key == key, key if key == key else 0.0)
    if isinstance(key, complex):
        return (*_rank(key.real), *_rank(key.imag))
    if isinstance(key, Text | Bytes):
        return (key.content,)
    if isinstance(key, Duration):
        return (key.nanoseconds,)
    if isinstance(key, Address):
        return (key.value,)
    if isinstance(key, Told):
        return _rank(key.value)
    if isinstance(key, Record):
        return tuple(_rank(one) for one in key.values)
    if isinstance(key, Elements):
        return tuple(_rank(one) for one in key.items)
    if isinstance(key, Interface):  # nil first, then by type; fmt orders types by their descriptors' addresses
        return (1, key.type, _rank(key.value))
    if isinstance(key, Nil):
        return (0,)
    return (None,)
