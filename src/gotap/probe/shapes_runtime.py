"""The shapes of all types that the runtime's metadata describes: columns, since large programs have 70k of them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.image.facts.goversion import GoVersion
from gotap.image.types.descriptor import Descriptors, TypesDamaged
from gotap.image.types.gotypes import Kind
from gotap.image.types.kinds import REFLECT_KINDS
from gotap.image.types.typeindex import TypeIndex
from gotap.probe.script.limits import Limits
from gotap.probe.shapes_table import (
    CHANNEL,
    HEAD,
    MAP_SIZE,
    MOST_POINTERS,
    POINTER,
    HeadFlags,
    Pointer,
    PointerFlags,
    Shape,
    What,
    function_shapes,
)

_Ints = NDArray[np.int64]
_Flags = NDArray[np.bool_]

#: Structures within structures, and pointers of all types together; more is damage.
_DEEPEST = 64
_MOST = 1 << 22
_MOST_FIELDS = 1 << 16

#: internal/abi.KindDirectIface up to Go 1.25, TFlagDirectIface from 1.26; elsewhere the bit is not used.
_DIRECT = 32

_KINDS = np.array([list(Kind).index(kind) if kind else -1 for kind in REFLECT_KINDS], np.int64)


def _number(kind: Kind) -> int:
    return list(Kind).index(kind)


_POINTER, _SLICE, _ARRAY, _MAP, _CHAN, _FUNC, _STRUCT, _INTERFACE = map(
    _number, (Kind.POINTER, Kind.SLICE, Kind.ARRAY, Kind.MAP, Kind.CHAN, Kind.FUNC, Kind.STRUCT, Kind.INTERFACE)
)
#: Kind → What, 0: nothing that is followed.
_WHAT = np.zeros(len(Kind), np.int64)
for _kind, _what in (
    (Kind.POINTER, What.POINTER),
    (Kind.SLICE, What.SLICE),
    (Kind.ARRAY, What.INLINE),
    (Kind.STRING, What.STRING),
    (Kind.MAP, What.POINTER),
    (Kind.CHAN, What.POINTER),
    (Kind.FUNC, What.FUNC),
    (Kind.INTERFACE, What.IFACE),
):
    _WHAT[_number(_kind)] = _what


class Special(Struct, frozen=True):
    """Unrelocated addresses of descriptors with rules of their own; 0: the binary has no such type.

    `context`: context.Context. `location`: time.Location, of which only names and the zone in use are taken.
    `opaque`: never followed, as the executable has them.
    """

    context: int = 0
    location: int = 0
    opaque: tuple[int, ...] = ()


class _Items(Struct):
    """Parts of types that hold pointers, in the order of the types and of their memory."""

    owner: _Ints  # ordinal of the type
    offset: _Ints
    type: _Ints  # ordinal of the part's type


class RuntimeShapes:
    """Shapes 1 … n are those of the n descriptors, ascending by address; then follow channels, functions and maps.

    Raises TypesDamaged.
    """

    def __init__(
        self, descriptors: Descriptors, index: TypeIndex, version: GoVersion, limits: Limits, special: Special
    ) -> None:
        self._words = descriptors.words
        self._base = descriptors.base
        self._limits = limits
        self._special = special
        self._swiss = version.at_least(1, 24) and "noswissmap" not in version.experiments
        self._shifted = not version.at_least(1, 19)  # Go 1.18: a field's offset stands above a flag
        self.offsets = index.everything()
        at = self.offsets >> 3
        bytes_ = self._words.view(np.uint8)
        self.sizes = self._words[at].astype(np.int64)
        self._pointerful = self._words[at + 1] != 0
        self._kinds = _KINDS[bytes_[self.offsets + 23] & 31]
        self._direct = (bytes_[self.offsets + 23] | bytes_[self.offsets + 20]) & _DIRECT != 0
        self._elems = np.full(len(at), -1, np.int64)
        for kind, place in ((_POINTER, 6), (_SLICE, 6), (_ARRAY, 6), (_MAP, 8)):  # of a map the bucket or group
            which = self._kinds == kind
            self._elems[which] = self._ordinals(self._words[at[which] + place])
        self._lengths = np.where(self._kinds == _ARRAY, self._words[at + 8].astype(np.int64), 0)
        self._empty = self._words[at + 8] == 0  # of interfaces: no methods

    # -- numbers ------------------------------------------------------------------------------------------------

    def number(self, address: int) -> int:
        """The shape of the type whose descriptor is at that unrelocated address; 0: there is none."""
        place = int(np.searchsorted(self.offsets, address - self._base))
        known = place < len(self.offsets) and int(self.offsets[place]) == address - self._base
        return place + 1 if known else 0

    @property
    def first_address(self) -> int:
        """The lowest descriptor's, unrelocated."""
        return self._base + (int(self.offsets[0]) if len(self.offsets) else 0)

    @cached_property
    def by_address(self) -> NDArray[np.uint32]:
        """Shape of the descriptor at `first_address + 8 * index`; 0: there is none."""
        if not len(self.offsets):
            return np.zeros(0, np.uint32)
        places = (self.offsets - self.offsets[0]) >> 3
        numbers = np.zeros(int(places[-1]) + 1, np.uint32)
        numbers[places] = np.arange(1, len(places) + 1)
        return numbers

    @property
    def channel(self) -> int:
        return len(self.offsets) + 1

    @property
    def function(self) -> int:
        return self.channel + 1

    @property
    def _first_header(self) -> int:
        return self.function + 3

    @property
    def end(self) -> int:
        """One more than the last number."""
        return self._first_header + self._map_shapes * len(self._maps)

    def has_pointers(self, number: int) -> bool:
        return not 0 < number <= len(self.offsets) or bool(self._pointerful[number - 1])

    @cached_property
    def _maps(self) -> _Ints:
        """Ordinals of the map types."""
        return np.flatnonzero(self._kinds == _MAP)

    @property
    def _map_shapes(self) -> int:
        """How many shapes each map type has besides its own: its header; of Swiss maps also a pointer to a table, a
        table."""
        return 3 if self._swiss else 1

    def _headers(self) -> _Ints:
        return self._first_header + self._map_shapes * np.arange(len(self._maps))

    def _ordinals(self, addresses: NDArray[np.uint64]) -> _Ints:
        """Of the descriptors at those addresses; −1: there is none."""
        offsets = addresses.astype(np.int64) - self._base
        places = np.minimum(np.searchsorted(self.offsets, offsets), len(self.offsets) - 1)
        found: _Ints = np.where(self.offsets[places] == offsets, places, -1)
        return found

    # -- the table ----------------------------------------------------------------------------------------------

    def table(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Heads and pointers of all shapes, shape 0 first."""
        items, cut = self._flattened()
        owner, rows = self._pointers(items)
        count = len(self.offsets)
        extra_heads, extra_pointers = self._extra(len(rows))
        heads = np.zeros(1 + count + len(extra_heads), HEAD)
        sizes = np.minimum(self.sizes, 0xFFFFFFFF)
        heads["size"][1 : count + 1] = sizes
        heads["kept"][1 : count + 1] = np.minimum(self._kept(), sizes)
        counts = np.bincount(owner, minlength=count)
        heads["count"][1 : count + 1] = counts
        heads["first"][1 : count + 1] = np.cumsum(counts) - counts
        heads["flags"][1 : count + 1] = HeadFlags.DIRECT * self._direct + HeadFlags.CUT * cut
        heads[count + 1 :] = extra_heads
        return heads, np.concatenate([rows, extra_pointers])

    def _kept(self) -> _Ints:
        """Bytes that are taken of a value: of arrays as many elements as the limits say."""
        elem_sizes = np.where(self._kinds == _ARRAY, self.sizes[self._elems], 0)
        most = np.where(elem_sizes == 1, self._limits.text, self._limits.elements)
        return np.where(self._kinds == _ARRAY, elem_sizes * most, self.sizes)

    def _flattened(self) -> tuple[_Items, _Flags]:
        """What has pointers in each type, structures taken apart; and of which types there is more."""
        start, count, offsets, types = self._fields()
        cut = np.zeros(len(self.offsets), np.bool_)
        owner = np.flatnonzero(self._pointerful)
        items = _Items(owner, np.zeros(len(owner), np.int64), owner)
        for _ in range(_DEEPEST):
            nested = self._kinds[items.type] == _STRUCT
            if not nested.any():
                return items, cut
            counts = np.where(nested, count[items.type], 1)
            total = int(counts.sum())
            if total > _MOST:
                break
            source = np.repeat(np.arange(len(counts)), counts)
            ordinal = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
            inner = nested[source]
            field = np.where(inner, start[items.type[source]] + ordinal, 0)
            items = _Items(
                items.owner[source],
                items.offset[source] + np.where(inner, offsets[field], 0),
                np.where(inner, types[field], items.type[source]),
            )
            items = self._first_of_each(items, cut)
        raise TypesDamaged(self._base)

    def _first_of_each(self, items: _Items, cut: _Flags) -> _Items:
        """Without what is too much for one type, which `cut` then tells."""
        counts = np.bincount(items.owner, minlength=len(self.offsets))
        if not len(counts) or counts.max() <= MOST_POINTERS:
            return items
        cut |= counts > MOST_POINTERS
        rank = np.arange(len(items.owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = rank < MOST_POINTERS
        return _Items(items.owner[kept], items.offset[kept], items.type[kept])

    def _fields(self) -> tuple[_Ints, _Ints, _Ints, _Ints]:
        """Of each type the first of its fields and how many they are; of fields the offset and the type's ordinal.

        Only fields with pointers.
        """
        structs = np.flatnonzero(self._kinds == _STRUCT)
        at = self.offsets[structs]
        first = self._words[(at + 56) >> 3].astype(np.int64) - self._base
        counts = np.minimum(self._words[(at + 64) >> 3], _MOST_FIELDS).astype(np.int64)
        total = int(counts.sum())
        if total > _MOST:
            raise TypesDamaged(self._base)
        ordinal = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(first, counts) + 24 * ordinal
        inside = (places >= 0) & (places % 8 == 0) & (places < 8 * len(self._words) - 24)
        places = np.where(inside, places, 0) >> 3
        types = self._ordinals(self._words[places + 1])
        offsets = self._words[places + 2].astype(np.int64) >> int(self._shifted)
        owner = np.repeat(structs, counts)
        used = inside & (types >= 0) & self._pointerful[types] & (offsets >= 0) & (offsets < self.sizes[owner])
        count = np.bincount(owner[used], minlength=len(self.offsets))
        empty = np.zeros(1, np.int64)  # so that a place 0 exists
        return (
            np.cumsum(count) - count,
            count,
            np.concatenate([offsets[used], empty]),
            np.concatenate([types[used], empty]),
        )

    def _pointers(self, items: _Items) -> tuple[_Ints, NDArray[np.void]]:
        """The rows of pointers, and the ordinals of the types to which they belong."""
        kinds = self._kinds[items.type]
        what = _WHAT[kinds]
        elems = self._elems[items.type]
        leads = (what == What.POINTER) | (what == What.SLICE) | (what == What.INLINE)
        target = np.where(leads, elems + 1, 0)
        target[kinds == _CHAN] = self.channel
        target[kinds == _FUNC] = self.function
        headers = np.zeros(len(self.offsets), np.int64)
        headers[self._maps] = self._headers()
        target = np.where(kinds == _MAP, headers[items.type], target)
        what = np.where((kinds == _INTERFACE) & self._empty[items.type], int(What.EFACE), what)
        something = (kinds == _CHAN) | (kinds == _MAP) | ((elems >= 0) & (self.sizes[elems] > 0))
        kept = (what > 0) & (~leads | something)
        flags = np.zeros(len(what), np.int64)
        self._apply_rules(items, target, flags, kept)
        rows = np.zeros(int(kept.sum()), POINTER)
        for name, column in (("offset", items.offset), ("what", what), ("flags", flags), ("target", target)):
            rows[name] = column[kept]
        rows["extra"] = np.where(what == What.INLINE, np.minimum(self._lengths[items.type], 0xFFFFFFFF), 0)[kept]
        return self._with_overflow(items.owner[kept], rows)

    def _apply_rules(self, items: _Items, target: _Ints, flags: _Ints, kept: _Flags) -> None:
        """What is special: contexts, locations of times, descriptors of types."""
        if context := self.number(self._special.context):
            flags[items.type == context - 1] |= PointerFlags.CHAIN
        if location := self.number(self._special.location):
            flags[target == location] |= PointerFlags.FREE
            parts = np.flatnonzero(items.owner == location - 1)
            if len(parts):  # time.Location: name first, cacheZone last (Go 1.18–1.27)
                kept[parts[1:-1]] = False
                flags[parts[-1]] |= PointerFlags.FREE
        for address in self._special.opaque:
            if opaque := self.number(address):
                kept[target == opaque] = False

    def _with_overflow(self, owner: _Ints, rows: NDArray[np.void]) -> tuple[_Ints, NDArray[np.void]]:
        """Up to Go 1.23 the last word of a bucket leads to the next one, whatever its type says."""
        if self._swiss:
            return owner, rows
        buckets = np.zeros(len(self.offsets), np.bool_)
        buckets[self._elems[self._maps][self._elems[self._maps] >= 0]] = True
        buckets &= self.sizes >= 16
        which = np.flatnonzero(buckets)
        last = np.zeros(len(which), POINTER)
        last["offset"] = self.sizes[which] - 8
        last["what"], last["flags"], last["target"] = What.POINTER, PointerFlags.FREE, which + 1
        owner, rows = np.concatenate([owner, which]), np.concatenate([rows, last])
        order = np.argsort(owner, kind="stable")
        return owner[order], rows[order]

    def _extra(self, first: int) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Channels, functions, then what each map type has besides; their pointers begin at row `first`."""
        shapes = [CHANNEL, *function_shapes(self.function)]
        make = _swiss_shapes if self._swiss else _bucket_shapes
        for header, entries in zip(self._headers().tolist(), (self._elems[self._maps] + 1).tolist(), strict=True):
            shapes += make(header, entries)
        heads: list[tuple[int, ...]] = []
        rows: list[tuple[int, ...]] = []
        for shape in shapes:
            heads.append((shape.size, shape.kept, first + len(rows), len(shape.pointers), shape.flags))
            rows += [pointer.row() for pointer in shape.pointers]
        return np.array(heads, HEAD), np.array(rows, POINTER)


def _swiss_shapes(header: int, group: int) -> tuple[Shape, ...]:
    """internal/runtime/maps, Go 1.24–1.27: Map.dirPtr 16, dirLen 24; table.groups.data 16, lengthMask 24."""
    if not group:
        return (Shape(MAP_SIZE, MAP_SIZE), Shape(8, 8), Shape(32, 32))
    return (
        Shape(MAP_SIZE, MAP_SIZE, (Pointer(16, What.DIRECTORY, group, header + 1, PointerFlags.FREE),)),
        Shape(8, 8, (Pointer(0, What.POINTER, header + 2, 0, PointerFlags.FREE),)),
        Shape(32, 32, (Pointer(16, What.GROUPS, group, 0, PointerFlags.FREE),)),
    )


def _bucket_shapes(_header: int, bucket: int) -> tuple[Shape, ...]:
    """runtime.hmap, Go 1.18–1.23: flags 8, B 9, buckets 16, oldbuckets 24."""
    if not bucket:
        return (Shape(MAP_SIZE, MAP_SIZE),)
    return (
        Shape(
            MAP_SIZE,
            MAP_SIZE,
            (
                Pointer(16, What.BUCKETS, bucket, 0, PointerFlags.FREE),
                Pointer(24, What.OLD_BUCKETS, bucket, 0, PointerFlags.FREE),
            ),
        ),
    )
