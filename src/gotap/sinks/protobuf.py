"""As much of protobuf's wire format as OTLP takes: fields written by hand, a response read."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

AttributeValue = str | int | bool | tuple[str, ...]


def varint(value: int) -> bytes:
    """A base-128 varint; negative values as int64, ten bytes."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def delimited(number: int, content: bytes) -> bytes:
    """A length-delimited field, number below 16: bytes, a string, a message, packed numbers."""
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def fixed64(number: int, value: int) -> bytes:
    return struct.pack("<BQ", number << 3 | 1, value)


def double(number: int, value: float) -> bytes:
    return struct.pack("<Bd", number << 3 | 1, value)


def any_value(value: AttributeValue) -> bytes:
    """common.proto, AnyValue."""
    if isinstance(value, str):
        return delimited(1, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(value)
    return delimited(5, b"".join(delimited(1, any_value(one)) for one in value))


def key_value(number: int, key: str, value: AttributeValue) -> bytes:
    """An attribute (common.proto, KeyValue) as the field of that number."""
    return delimited(number, delimited(1, key.encode()) + delimited(2, any_value(value)))


def key_values(number: int, attributes: Iterable[tuple[str, AttributeValue]]) -> bytes:
    return b"".join(key_value(number, key, value) for key, value in attributes)


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field: varints as int, everything else as its bytes. ValueError: this is no message."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire == 0:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _read_varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(message):
            raise ValueError("truncated")
        yield number, message[at : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("truncated")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
