"""One decoding under way: the bytes of a value as far as they are known, what was followed, what may still be."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from gotap.errors import GotapError
from gotap.image.types.gotypes import Type, TypeRef
from gotap.signals.values.context import Context
from gotap.signals.values.memory import Memory, deeper
from gotap.signals.values.model import Cycle, Unavailable, Value

#: Parts that one value may have altogether, whatever it claims: what --max-bytes lets through has far fewer.
MOST_PARTS = 1 << 15
#: Bytes that are read at once: there are far larger variables, of which only some elements are shown.
MOST_BYTES = 1 << 20

_WORD = struct.Struct("<Q")


class Hole(NamedTuple):
    """A part of the root that is not known, and why."""

    offset: int
    size: int
    why: str


class View:
    """Bytes that are known from a place in memory on: `rest` is why those behind are not.

    `depth`: pointers that led here.
    """

    __slots__ = ("data", "depth", "holes", "rest", "run")

    def __init__(
        self, run: Run, data: bytes, depth: int = 0, rest: str = "cut", holes: tuple[Hole, ...] = ()
    ) -> None:
        self.run = run
        self.data = data
        self.depth = depth
        self.rest = rest
        self.holes = holes

    def missing(self, at: int, size: int) -> Unavailable | None:
        """Why not all of those bytes are known, or None."""
        for hole in self.holes:
            if hole.offset < at + size and at < hole.offset + hole.size:
                return Unavailable(hole.why)
        return Unavailable(self.rest) if at + size > len(self.data) else None

    def word(self, at: int) -> int | Unavailable:
        """An unsigned 64-bit word."""
        if (self.holes or at + 8 > len(self.data)) and (gone := self.missing(at, 8)) is not None:
            return gone
        word: int = _WORD.unpack_from(self.data, at)[0]
        return word

    def words(self, at: int, count: int) -> tuple[int, ...] | Unavailable:
        if (self.holes or at + 8 * count > len(self.data)) and (gone := self.missing(at, 8 * count)) is not None:
            return gone
        return struct.unpack_from(f"<{count}Q", self.data, at)


Decoder = Callable[[View, int], Value]
"""Reads the value at an offset of a view."""


class Run:
    """The state of one call of `decode`. `make` makes a type's decoder, which its context then keeps."""

    __slots__ = ("context", "left", "make", "memory", "path", "text")

    def __init__(self, memory: Memory, context: Context, make: Callable[[Type], Decoder]) -> None:
        self.memory = memory
        self.context = context
        self.make = make
        self.text = context.limits.text
        self.left = MOST_PARTS
        self.path: set[tuple[int, object]] = set()

    def decoder(self, type: Type) -> Decoder:
        known = self.context.decoders.get(id(type))
        if known is not None:
            return known[1]
        made = self.make(type)
        self.context.keep_decoder(type, made)
        return made

    def take(self, parts: int = 1) -> bool:
        """Whether so many more parts may be decoded."""
        self.left -= parts
        return self.left >= 0

    def view(self, address: int, size: int, depth: int) -> View:
        """What is known of the bytes at an address, perhaps nothing; at most MOST_BYTES."""
        if size > MOST_BYTES:
            size = MOST_BYTES
        data = self.memory.prefix(address, size) if size > 0 else b""
        known = len(data)
        return View(self, data, depth, "cut" if known == size else self.memory.why(address + known))

    def follow(self, view: View, address: int, size: int) -> View | Unavailable:
        """What a pointer in `view` leads to; Unavailable where nothing of it is known, or it is too deep."""
        depth = view.depth + 1
        if depth > self.context.limits.depth:
            return Unavailable(deeper(self.context.limits))
        found = self.view(address, size, depth)
        return Unavailable(found.rest) if not found.data and size else found

    def within(self, address: int, identity: object, inner: Callable[[], Value]) -> Value:
        """The value of `inner`, unless it is asked for while it is being read: then it contains itself."""
        place = (address, identity)
        if place in self.path:
            return Cycle()
        if not self.take():
            return TOO_MUCH
        self.path.add(place)
        try:
            return inner()
        finally:
            self.path.discard(place)


TOO_MUCH = Unavailable("too many parts")


def target(reference: TypeRef | None) -> Type | Unavailable:
    """The type that another one refers to."""
    try:
        return reference.get() if reference is not None else Unavailable("type not described")
    except GotapError as error:
        return Unavailable(str(error))
