"""Bools, numbers, strings, addresses: what is read without knowing other types."""

from __future__ import annotations

import struct
from collections.abc import Callable

from gotap.image.types.gotypes import Kind, Type
from gotap.signals.values.model import Address, Text, Unavailable, Value
from gotap.signals.values.reading import Decoder, View

KINDS = frozenset(
    (Kind.BOOL, Kind.INT, Kind.UINT, Kind.FLOAT, Kind.COMPLEX, Kind.STRING, Kind.UNSAFE_POINTER)
)  # fmt: skip

#: struct's letters by kind and size.
FORMATS = {
    (Kind.BOOL, 1): "B",
    (Kind.INT, 1): "b",
    (Kind.INT, 2): "h",
    (Kind.INT, 4): "i",
    (Kind.INT, 8): "q",
    (Kind.UINT, 1): "B",
    (Kind.UINT, 2): "H",
    (Kind.UINT, 4): "I",
    (Kind.UINT, 8): "Q",
    (Kind.FLOAT, 4): "f",
    (Kind.FLOAT, 8): "d",
    (Kind.COMPLEX, 8): "ff",
    (Kind.COMPLEX, 16): "dd",
}


def decoder(type: Type) -> Decoder:
    if type.kind is Kind.STRING:
        return _string
    if type.kind is Kind.UNSAFE_POINTER:
        return _address
    form = FORMATS.get((type.kind, type.size))
    if form is None:
        return lambda view, at: Unavailable(f"{type.name} of {type.size} bytes")
    return _number(form, converter(type))


def converter(type: Type) -> Callable[..., Value] | None:
    """What makes a value of the unpacked numbers, where they are not it themselves."""
    if type.kind is Kind.BOOL:
        return bool
    if type.kind is Kind.FLOAT and type.size == 4:
        return shortest
    if type.kind is Kind.COMPLEX:
        return complex if type.size == 16 else lambda real, imag: complex(shortest(real), shortest(imag))
    return None


def shortest(value: float) -> float:
    """The float64 of the shortest decimal that is the same float32: 0.1, not 0.10000000149011612."""
    if value != value or value in (float("inf"), float("-inf")):
        return value
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.unpack("<f", struct.pack("<f", short))[0] == value:
                return short
        except OverflowError:  # rounded up beyond the largest float32
            continue
    return float(f"{value:.9g}")


def _number(form: str, convert: Callable[..., Value] | None) -> Decoder:
    layout = struct.Struct("<" + form)
    unpack, size = layout.unpack_from, layout.size

    def decode_number(view: View, at: int) -> Value:
        if (view.holes or at + size > len(view.data)) and (gone := view.missing(at, size)) is not None:
            return gone
        value: Value = unpack(view.data, at)[0]
        return value

    def decode_converted(view: View, at: int) -> Value:
        if (view.holes or at + size > len(view.data)) and (gone := view.missing(at, size)) is not None:
            return gone
        assert convert is not None
        return convert(*unpack(view.data, at))

    return decode_number if convert is None else decode_converted


def _address(view: View, at: int) -> Value:
    word = view.word(at)
    return word if isinstance(word, Unavailable) else Address(word)


_STRING = struct.Struct("<QQ")


def _string(view: View, at: int) -> Value:
    if (view.holes or at + 16 > len(view.data)) and (gone := view.missing(at, 16)) is not None:
        return gone
    address, length = _STRING.unpack_from(view.data, at)
    if length == 0:
        return ""
    content = read_bytes(view, address, length)
    return content if isinstance(content, Unavailable) else text(content, length)


def read_bytes(view: View, address: int, length: int) -> bytes | Unavailable:
    """As many of a string's bytes as are known and wanted."""
    run = view.run
    if length > run.text:
        if length >> 47:
            return Unavailable(f"damaged: a length of {length}")
        length = run.text
    content = run.memory.prefix(address, length)
    return content if content or not length else Unavailable(run.memory.why(address))


def text(content: bytes, length: int) -> str | Text:
    """A string of that content; the first bytes of a character that was cut in the middle are left out."""
    try:
        whole = content.decode()
    except UnicodeDecodeError as error:
        if len(content) < length and error.reason == "unexpected end of data":
            return Text(content[: error.start], length)
        return Text(content, length)
    return whole if len(content) == length else Text(content, length)
