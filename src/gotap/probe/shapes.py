"""Shapes of the types that a script captures, for the kernel to follow their pointers.

    shapes = Shapes(types, image, Limits())
    CaptureValue(column, shapes.number(type), type.size, …)
    …
    shapes.table()     # heads and pointers, when all numbers have been asked for
    shapes.dynamic     # which shape the values behind an interface's type word have

Types that the runtime's metadata describes are numbered by it (shapes_runtime); others, which no interface can hold,
are taken from DWARF or declarations one by one.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.image.image import Image
from gotap.image.types.gotypes import Kind, Type
from gotap.image.types.rtype import RuntimeTypes, TypesDamaged
from gotap.probe.script.limits import Limits
from gotap.probe.shapes_runtime import RuntimeShapes, Special
from gotap.probe.shapes_table import (
    CHANNEL,
    HEAD,
    MAP_SIZE,
    MOST_POINTERS,
    POINTER,
    Pointer,
    PointerFlags,
    Shape,
    What,
    function_shapes,
)
from gotap.probe.typing import Types, UnknownType

__all__ = ["Dynamic", "Shapes"]

_PF_X, _PF_W, _PT_GNU_RELRO = 1, 2, 0x6474E552

_CONTEXT = "context.Context"
_LOCATION = "time.Location"
#: Descriptors of types and the like, by the names they had in Go 1.18–1.27: the executable has them.
_OPAQUE = ("internal/abi.Type", "internal/abi.ITab", "reflect.rtype", "runtime._type", "runtime.itab")

_NO_POINTERS = frozenset({Kind.BOOL, Kind.INT, Kind.UINT, Kind.FLOAT, Kind.COMPLEX, Kind.UNSAFE_POINTER})
#: Sizes have 32 bits; the runtime has types of petabytes, of which there are no values.
_LARGEST = (1 << 32) - 1
#: How deep structures of declared types may be nested; deeper parts have no pointers.
_DEEPEST = 64


class Dynamic(Struct, frozen=True):
    """The descriptor at `first + 8 * i` (unrelocated) is that of a type of shape `numbers[i]`; 0: no descriptor."""

    first: int
    numbers: NDArray[np.uint32]


class Shapes:
    """Numbers of shapes; 0 is that of a type without pointers. Nothing here raises: what is unknown is not followed."""

    def __init__(self, types: Types, image: Image, limits: Limits) -> None:
        self._types = types
        self._image = image
        self._limits = limits
        self._declared: list[Shape] = []
        self._by_name: dict[str, int] = {}
        self._waiting: list[tuple[int, Type]] = []
        self._asked: set[int] = set()
        self._looked_from = 0
        self._interfaces = False

    @property
    def limits(self) -> Limits:
        return self._limits

    def number(self, type: Type) -> int:
        """The shape of a type, also of one that only DWARF knows; 0 when it has no pointers."""
        found = self._number(type)
        while self._waiting:
            number, waiting = self._waiting.pop()
            self._declared[number - self._first_declared] = self._shape(waiting)
        if not self._has_pointers(found):
            return 0
        self._asked.add(found)
        return found

    def table(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Heads and pointers (shapes_table.HEAD, POINTER); numbers asked for later are not in it."""
        heads, pointers = self._runtime_table
        own = np.zeros(len(self._declared), HEAD)
        rows: list[tuple[int, int, int, int, int, int]] = []
        for place, shape in enumerate(self._declared):
            first = len(pointers) + len(rows)
            near = [pointer.row() for pointer in shape.pointers if max(pointer.offset, pointer.extra) <= _LARGEST]
            own[place] = (min(shape.size, _LARGEST), min(shape.kept, _LARGEST), first, len(near), shape.flags)
            rows += near
        return np.concatenate([heads, own]), np.concatenate([pointers, np.array(rows, POINTER)])

    @property
    def dynamic(self) -> Dynamic:
        """Empty when no interface can be reached from what was asked for."""
        if self._runtime is None or not self._meets_interfaces:
            return Dynamic(0, np.zeros(0, np.uint32))
        return Dynamic(self._runtime.first_address, self._runtime.by_address)

    def forget(self) -> None:
        """Lets go of what tables are made from, 15 MB of a program with 70k types; it is made again when asked for."""
        for name in ("_runtime", "_runtime_table"):
            self.__dict__.pop(name, None)

    @property
    def _meets_interfaces(self) -> bool:
        """Looked for again only when there is more to look from."""
        if self._looked_from != len(self._asked):
            self._looked_from, self._interfaces = len(self._asked), self._reaches_interface()
        return self._interfaces

    @property
    def read_only(self) -> tuple[tuple[int, int], ...]:
        """Unrelocated start and end of what need not be captured, since the file tells what is there: the largest part
        that the process can neither write nor execute, and what it cannot write any more once that is relocated."""
        elf = self._image.elf
        fixed = [one for one in elf.loads if one.flags & (_PF_X | _PF_W) == 0]
        relocated = [one for one in elf.segments if one.type == _PT_GNU_RELRO]
        largest = [max(segments, key=lambda one: one.filesz) for segments in (fixed, relocated) if segments]
        return tuple((one.vaddr, one.vaddr + one.filesz) for one in largest if one.filesz)

    def _has_pointers(self, number: int) -> bool:
        if number >= self._first_declared:
            return bool(self._declared[number - self._first_declared].pointers)
        return self._runtime is not None and self._runtime.has_pointers(number)

    # -- types with descriptors ---------------------------------------------------------------------------------

    @cached_property
    def _runtime(self) -> RuntimeShapes | None:
        descriptors = self._types.descriptors
        if not isinstance(descriptors, RuntimeTypes):
            return None
        opaque = tuple(map(self._address, _OPAQUE))
        special = Special(self._address(_CONTEXT), self._address(_LOCATION), opaque)
        version = self._image.go_version
        try:
            return RuntimeShapes(descriptors.descriptors, descriptors.index, version, self._limits, special)
        except TypesDamaged:
            return None

    @cached_property
    def _runtime_table(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        if self._runtime is not None:
            try:
                return self._runtime.table()
            except TypesDamaged:
                heads = np.zeros(self._first_declared, HEAD)
                return heads, np.zeros(0, POINTER)
        return np.zeros(1, HEAD), np.zeros(0, POINTER)

    @cached_property
    def _first_declared(self) -> int:
        return 1 if self._runtime is None else self._runtime.end

    def _address(self, name: str) -> int:
        try:
            return self._types.address(name) or 0
        except TypesDamaged:
            return 0

    def _reaches_interface(self) -> bool:
        heads, pointers = self.table()
        known = np.zeros(len(heads), np.bool_)
        frontier = np.array(sorted(self._asked), np.int64)
        while len(frontier):
            known[frontier] = True
            counts = heads["count"][frontier].astype(np.int64)
            ordinal = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
            rows = pointers[np.repeat(heads["first"][frontier].astype(np.int64), counts) + ordinal]
            if np.isin(rows["what"], (What.IFACE, What.EFACE)).any():
                return True
            following = np.zeros(len(heads), np.bool_)
            following[rows["target"]] = True
            following[rows["extra"][rows["what"] == What.DIRECTORY]] = True
            frontier = np.flatnonzero(following & ~known)
        return False

    # -- types without ------------------------------------------------------------------------------------------

    def _number(self, type: Type) -> int:
        if type.kind in _NO_POINTERS:
            return self._sized(type)
        if number := self._described(type):
            return number
        if type.name not in self._by_name:
            number = self._by_name[type.name] = self._first_declared + len(self._declared)
            self._declared.append(Shape(type.size, type.size))
            self._waiting.append((number, type))
        return self._by_name[type.name]

    def _described(self, type: Type) -> int:
        """The shape of a type that the runtime's metadata describes; 0: it does not."""
        address = type.address or self._address(type.name)
        return self._runtime.number(address) if address and self._runtime is not None else 0

    def _sized(self, type: Type) -> int:
        """Shapes without pointers differ by their size only."""
        name = f"{type.size} bytes"
        if name not in self._by_name:
            self._by_name[name] = self._first_declared + len(self._declared)
            self._declared.append(Shape(type.size, type.size))
        return self._by_name[name]

    def _shape(self, type: Type) -> Shape:
        kept = type.size
        if type.kind is Kind.ARRAY and type.elem is not None:
            size = type.elem.get().size
            kept = min(kept, size * (self._limits.text if size == 1 else self._limits.elements))
        pointers = self._pointers(type, 0, 0)
        return Shape(type.size, kept, tuple(pointers[:MOST_POINTERS]))

    def _pointers(self, type: Type, offset: int, depth: int) -> list[Pointer]:
        kind = type.kind
        if kind is Kind.STRUCT and depth < _DEEPEST:
            found = []
            for field in type.fields:
                try:
                    found += self._pointers(field.type.get(), offset + field.offset, depth + 1)
                except (UnknownType, TypesDamaged):
                    continue
            return found
        if kind is Kind.STRING:
            return [Pointer(offset, What.STRING)]
        if kind is Kind.FUNC:
            return [Pointer(offset, What.FUNC, self._function)]
        if kind is Kind.INTERFACE:
            flags = PointerFlags.CHAIN if type.name == _CONTEXT else 0
            return [Pointer(offset, What.EFACE if type.empty else What.IFACE, flags=flags)]
        if kind is Kind.CHAN:
            return [Pointer(offset, What.POINTER, self._fixed("channel", CHANNEL))]
        if kind is Kind.MAP:
            if described := self._described(type):  # the map itself, whose shape leads to its entries
                return [Pointer(offset, What.INLINE, described, 1)]
            # One that was ever made has a descriptor: this one is nil, or its entries are not known.
            return [Pointer(offset, What.POINTER, self._fixed("map", Shape(MAP_SIZE, MAP_SIZE)))]
        return self._leading(type, offset)

    def _leading(self, type: Type, offset: int) -> list[Pointer]:
        """Of pointers, slices and arrays."""
        if type.elem is None or type.elem.get().name in _OPAQUE:
            return []
        elem = type.elem.get()
        target = self._number(elem) if elem.size else 0
        if not target:
            return []
        match type.kind:
            case Kind.POINTER:
                flags = PointerFlags.FREE if elem.name == _LOCATION else 0
                return [Pointer(offset, What.POINTER, target, flags=flags)]
            case Kind.SLICE:
                return [Pointer(offset, What.SLICE, target)]
            case Kind.ARRAY:
                return [] if elem.kind in _NO_POINTERS else [Pointer(offset, What.INLINE, target, type.count)]
        return []

    @property
    def _function(self) -> int:
        first = self._first_declared + len(self._declared)
        numbers = [self._fixed(f"function {place}", shape) for place, shape in enumerate(function_shapes(first))]
        return numbers[0]

    def _fixed(self, name: str, shape: Shape) -> int:
        name = f"({name})"
        if name not in self._by_name:
            self._by_name[name] = self._first_declared + len(self._declared)
            self._declared.append(shape)
        return self._by_name[name]
