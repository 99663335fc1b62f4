"""Arrays, slices and channels."""

from __future__ import annotations

import struct

from gotap.image.types.gotypes import Kind, Type
from gotap.signals.values import scalars
from gotap.signals.values.model import Bytes, Channel, Elements, Nil, Unavailable, Value
from gotap.signals.values.reading import TOO_MUCH, Decoder, View, target

#: Numbers whose slices are unpacked in one go, unless a type of that kind has a decoder of its own.
_PLAIN = frozenset((Kind.INT, Kind.UINT, Kind.BOOL, Kind.FLOAT))
_COMPOSED = frozenset((Kind.STRUCT, Kind.ARRAY))
_TOLD = frozenset(("time.Duration", "time.Month", "time.Weekday", "syscall.Errno"))


def array(type: Type) -> Decoder:
    def decode_array(view: View, at: int) -> Value:
        elem = target(type.elem)
        if isinstance(elem, Unavailable):
            return elem
        return _elements(view, at, elem, type.count)

    return decode_array


def slice(type: Type) -> Decoder:
    def decode_slice(view: View, at: int) -> Value:
        words = view.words(at, 2)
        if isinstance(words, Unavailable):
            return words
        address, length = words
        elem = target(type.elem)
        if isinstance(elem, Unavailable):
            return elem
        if address == 0:
            return Nil("[]") if length == 0 else Unavailable("damaged: elements at nil")
        if elem.name == "uint8":
            return _bytes(view, address, length)
        if length >> 47:
            return Unavailable(f"damaged: a length of {length}")
        if length == 0:
            return Elements([], 0)
        wanted = elem.size * min(length, view.run.context.limits.elements)
        found = view.run.follow(view, address, wanted)
        if isinstance(found, Unavailable):
            return found
        return view.run.within(address, (type.name, length), lambda: _elements(found, 0, elem, length))

    return decode_slice


def _bytes(view: View, address: int, length: int) -> Value:
    if length == 0:
        return Bytes(b"", 0)
    content = scalars.read_bytes(view, address, length)
    return content if isinstance(content, Unavailable) else Bytes(content, length)


def _elements(view: View, at: int, elem: Type, count: int) -> Value:
    """The elements from `at` on, as many as are wanted and known; at least one, or why not."""
    wanted = min(count, view.run.context.limits.elements)
    size = elem.size
    known = min(wanted, max(len(view.data) - at, 0) // size) if size else wanted
    if wanted and not known and (at >= len(view.data) or elem.kind not in _COMPOSED):
        return Unavailable(view.rest)
    if not view.run.take(wanted):
        return TOO_MUCH
    form = scalars.FORMATS.get((elem.kind, size))
    if form is not None and elem.kind in _PLAIN and elem.name not in _TOLD and not view.holes:
        items: list[Value] = list(struct.unpack_from(f"<{known}{form}", view.data, at))
        convert = scalars.converter(elem)
        return Elements([convert(item) for item in items] if convert is not None else items, count)
    if known < wanted and elem.kind in _COMPOSED and (len(view.data) - at) % size:
        known += 1  # of the last one, part is known
    decoder = view.run.decoder(elem)
    return Elements([decoder(view, at + index * size) for index in range(known)], count)


def channel(view: View, at: int) -> Value:
    """runtime.hchan: 0 qcount, 8 dataqsiz, 24 elemsize u16, 28 closed u32; runtime/chan.go, Go 1.18–1.27."""
    address = view.word(at)
    if isinstance(address, Unavailable):
        return address
    if address == 0:
        return Nil()
    found = view.run.follow(view, address, 32)
    if isinstance(found, Unavailable):
        return found
    gone = found.missing(0, 32)
    if gone is not None:
        return gone
    length, capacity, _, closed = struct.unpack_from("<QQ12sI", found.data)
    return Channel(length, capacity, bool(closed))
