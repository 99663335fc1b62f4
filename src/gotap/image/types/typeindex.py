"""Every type descriptor of a module, and which of them may have a name: columns instead of one object a type.

Large programs have 70k descriptors. Their headers are gathered as arrays; the names of the few that end like the name
asked for are then read one by one. Layouts as in `gotap.image.types.descriptor`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gotap.image.containers.elf import Elf
from gotap.image.types.descriptor import Descriptors, TypesDamaged, TypesModule
from gotap.image.types.gotypes import Kind
from gotap.image.types.kinds import REFLECT_KINDS

#: Distances from the first word that is kept: of descriptors, of words, of bytes.
_Offsets = NDArray[np.int64]

_HEADER_SIZE = 48
_UNCOMMON_SIZE = 16
_TFLAG_UNCOMMON = 1
_KIND_MASK = 31
_NO_KINDS = 32
_MAX_COUNT = 1 << 16  # of fields, methods and parameters; more is damage
_MAX_PLACES = 1 << 22  # of all of them that one step looks at
_CHUNK = 1 << 19  # bytes of descriptors that are looked at together
_TAIL = 8  # bytes of a name's end that are compared at once


def _table(**values: int) -> NDArray[np.int64]:
    """reflect.Kind → value."""
    table = np.zeros(_NO_KINDS, np.int64)
    for number, kind in enumerate(REFLECT_KINDS):
        if kind is not None:
            table[number] = values.get(kind.name, 0)
    return table


def _is(*kinds: Kind) -> NDArray[np.bool_]:
    return _table(**{kind.name: 1 for kind in kinds}).astype(np.bool_)


_HAS_ELEM = _is(Kind.POINTER, Kind.SLICE, Kind.ARRAY, Kind.CHAN, Kind.MAP)
_IS_MAP, _IS_STRUCT, _IS_FUNC = _is(Kind.MAP), _is(Kind.STRUCT), _is(Kind.FUNC)
#: Bytes behind the kind's part for every field or method.
_ITEM_SIZE = _table(STRUCT=24, INTERFACE=8)


class TypesModuleIndex(TypesModule, Protocol):
    """moduledata, as far as it tells where descriptors are."""

    @property
    def typelinks(self) -> tuple[int, int]:
        """Address and number of the int32 offsets of descriptors from `types`; (0, 0) from Go 1.27."""
        ...

    @property
    def typedesclen(self) -> int:
        """Bytes of the descriptors that stand in a row from `types`; 0 before Go 1.27."""
        ...


class TypeIndex:
    """The descriptors that the linker's list leads to. Raises TypesDamaged where the list makes no sense."""

    def __init__(self, elf: Elf, module: TypesModuleIndex, descriptors: Descriptors) -> None:
        self._elf = elf
        self._module = module
        self._descriptors = descriptors
        self._words = descriptors.words
        self._halves = self._words.view("<u4")
        self._bytes = self._words.view(np.uint8)

    def candidates(self, name: str) -> list[int]:
        """Addresses of descriptors whose text ends as that of a type of this full name does."""
        offsets, tails, lengths = self._names
        dot = name.rfind(".")
        # Behind the last qualifier both texts are the same; a member's qualifier (`struct { pkg.x int }`) is left out.
        tail = (name[dot + ("{" in name) :] if dot >= 0 else name).encode()[-_TAIL:]
        unused = 8 * (_TAIL - len(tail))
        wanted = np.uint64(int.from_bytes(tail, "little") << unused)
        found = (tails >> np.uint64(unused)) << np.uint64(unused) == wanted if tail else np.zeros(len(tails), bool)
        if dot < 0:
            found &= lengths == len(name.encode())
        addresses: list[int] = (offsets[found] + self._descriptors.base).tolist()
        return addresses

    def everything(self) -> _Offsets:
        """Offsets from `Descriptors.base` of all descriptors, ascending, also of maps' buckets or groups."""
        known = np.zeros(len(self._words), np.bool_)
        known[self._offsets >> 3] = True
        frontier = self._valid(self._entries_of_maps(self._offsets), known)
        while frontier.size:
            known[frontier >> 3] = True
            frontier = self._valid(np.concatenate([self._neighbours(frontier), self._entries_of_maps(frontier)]), known)
        return np.flatnonzero(known) << 3

    def _entries_of_maps(self, offsets: _Offsets) -> _Offsets:
        """Offsets of the buckets or groups of those that are maps."""
        return self._pointed(offsets[_IS_MAP[self._kinds(offsets)]] + 64)

    @cached_property
    def _offsets(self) -> _Offsets:
        return self._reachable()

    @cached_property
    def _names(self) -> tuple[_Offsets, NDArray[np.uint64], _Offsets]:
        """Descriptors, the last bytes of their texts as a word, and the lengths of the texts."""
        offsets = self._offsets
        tflags = self._bytes[offsets + 20]
        at = self._half(offsets + 40).astype(np.int32).astype(np.int64) + self._start + 1
        # A name's length is a varint; no type's text needs more than two bytes of it that matter here.
        first, second = self._bytes[at].astype(np.int64), self._bytes[at + 1].astype(np.int64)
        long = first >= 0x80
        lengths = np.where(long, (first & 0x7F) | second << 7, first)
        ends = np.minimum(at + 1 + long + lengths, len(self._bytes))
        characters = self._bytes[ends[:, None] - _TAIL + np.arange(_TAIL)]
        tails = np.ascontiguousarray(characters).view("<u8").reshape(-1)
        return offsets, tails, lengths - (tflags >> 1 & 1)  # without the star that tflagExtraStar says is not there

    # -- reachability -------------------------------------------------------------------------------------------

    @property
    def _start(self) -> int:
        return self._descriptors.start - self._descriptors.base

    def _reachable(self) -> _Offsets:
        """Offsets of the listed descriptors and of all that they lead to."""
        known = np.zeros(len(self._words), np.bool_)  # for each word, whether a descriptor stands there
        frontier = self._valid(self._listed(), known)
        while frontier.size:
            known[frontier >> 3] = True
            frontier = self._valid(self._neighbours(frontier), known)
        return np.flatnonzero(known) << 3

    def _listed(self) -> _Offsets:
        address, count = self._module.typelinks
        if count:
            return np.frombuffer(self._elf.read(address, 4 * count), "<i4").astype(np.int64) + self._start
        return self._in_a_row()

    def _in_a_row(self) -> _Offsets:
        """Go 1.27: what reflection looks up stands in a row behind one word (runtime/type.go, moduleTypelinks)."""
        first, end = self._start + 8, self._start + self._module.typedesclen
        if not 0 <= self._module.typedesclen <= self._descriptors.end - self._descriptors.start:
            raise TypesDamaged(self._descriptors.start)
        chunks = (np.arange(low, min(low + _CHUNK, end), 8, dtype=np.int64) for low in range(first, end, _CHUNK))
        steps = np.concatenate([np.zeros(0, np.int64), *(self._extents(chunk) for chunk in chunks)])
        offsets = []
        at = 0
        while at < len(steps):
            offsets.append(first + 8 * at)
            if steps[at] <= 0:
                raise TypesDamaged(self._descriptors.base + offsets[-1])
            at += int(steps[at])
        return np.array(offsets, np.int64)

    def _extents(self, offsets: _Offsets) -> _Offsets:
        """Words that a descriptor at each offset would take, 0 for none: internal/abi/type.go, DescriptorSize, 1.27."""
        sizes = _table(**{kind.name: self._descriptors.kind_size(kind) for kind in Kind})
        kinds = self._kinds(offsets)
        size = sizes[kinds]
        items = np.minimum(self._word(offsets + 64), _MAX_COUNT).astype(np.int64)
        total = size + _ITEM_SIZE[kinds] * items + 8 * _IS_FUNC[kinds] * self._parameters(offsets)
        uncommon = self._bytes[offsets + 20] & _TFLAG_UNCOMMON
        methods = self._half(offsets + size + 4) & 0xFFFF
        total += uncommon * (_UNCOMMON_SIZE + 16 * methods.astype(np.int64))
        return np.where(size > 0, (total + 7) // 8, 0)

    def _neighbours(self, offsets: _Offsets) -> _Offsets:
        """Offsets that the descriptors mention: *T, element, key, fields, parameters and results."""
        kinds = self._kinds(offsets)
        pointers = self._half(offsets + 44).astype(np.int32).astype(np.int64)
        maps, structs, functions = offsets[_IS_MAP[kinds]], offsets[_IS_STRUCT[kinds]], offsets[_IS_FUNC[kinds]]
        has_elem = _HAS_ELEM[kinds]
        elems = offsets[has_elem] + np.where(_IS_MAP[kinds[has_elem]], 56, 48)
        first = self._pointed(structs + 56)
        fields = _spread(first + 8, np.minimum(self._word(structs + 64), _MAX_COUNT).astype(np.int64), 24)
        uncommon = (self._bytes[functions + 20] & _TFLAG_UNCOMMON).astype(np.int64)
        types = _spread(functions + 56 + _UNCOMMON_SIZE * uncommon, self._parameters(functions), 8)
        places = np.concatenate([elems, maps + 48, fields, types])
        places = places[(places >= 0) & (places < len(self._bytes) - 8)]
        return np.concatenate([self._pointed(places), pointers[pointers > 0] + self._start])

    def _valid(self, offsets: _Offsets, known: NDArray[np.bool_]) -> _Offsets:
        """Those offsets at which a descriptor may stand that is not known yet, once each."""
        inside = (offsets >= self._start) & (offsets <= self._descriptors.end - self._descriptors.base - _HEADER_SIZE)
        # Words are marked, not sorted: np.unique also loads numpy.ma, 17 ms when a type is first asked for.
        marked = np.zeros_like(known)
        marked[offsets[inside & (offsets % 8 == 0)] >> 3] = True
        offsets = np.flatnonzero(marked & ~known) << 3
        names = self._half(offsets + 40).astype(np.int32)
        named = (names > 0) & (names < self._descriptors.end - self._descriptors.start)
        return offsets[named & (self._kinds(offsets) > 0) & (self._kinds(offsets) < len(REFLECT_KINDS))]

    # -- columns ------------------------------------------------------------------------------------------------

    def _kinds(self, offsets: _Offsets) -> NDArray[np.uint8]:
        return self._bytes[offsets + 23] & np.uint8(_KIND_MASK)

    def _parameters(self, offsets: _Offsets) -> _Offsets:
        counts = self._half(offsets + 48).astype(np.int64)
        return (counts & 0xFFFF) + (counts >> 16 & 0x7FFF)

    def _half(self, offsets: _Offsets) -> NDArray[np.uint32]:
        halves: NDArray[np.uint32] = self._halves[offsets >> 2]
        return halves

    def _word(self, offsets: _Offsets) -> NDArray[np.uint64]:
        words: NDArray[np.uint64] = self._words[offsets >> 3]
        return words

    def _pointed(self, offsets: _Offsets) -> _Offsets:
        return self._word(offsets).astype(np.int64) - self._descriptors.base


def _spread(starts: _Offsets, counts: _Offsets, step: int) -> _Offsets:
    """For every start `count` places, `step` bytes apart."""
    total = int(counts.sum())
    if total > _MAX_PLACES:
        raise TypesDamaged(int(starts[0]))
    ordinal = np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + step * ordinal
