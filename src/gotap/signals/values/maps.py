"""Entries of Go maps of both designs: buckets up to Go 1.23, Swiss tables from 1.24, also while they grow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gotap.image.types.gotypes import Kind, Type
from gotap.probe import ir
from gotap.probe.maps import SLOTS, Storage, map_storage
from gotap.signals.values.model import Mapping, Nil, Unavailable, Value
from gotap.signals.values.reading import Decoder, View, target

#: runtime/map.go, Go 1.18–1.23: marks of a bucket's slots.
_EMPTY_ONE, _MIN_TOP_HASH = 1, 5
_SAME_SIZE_GROW = 8
#: Groups, buckets and tables that are looked through for entries: enough for any map that is not nearly empty.
_MOST_GROUPS = 4096
#: Bytes of groups that are read at once.
_BLOCK = 1 << 14


def decoder(type: Type) -> Decoder:
    known: list[_Slots | Unavailable] = []

    def decode_map(view: View, at: int) -> Value:
        address = view.word(at)
        if isinstance(address, Unavailable):
            return address
        if address == 0:
            return Nil("map[]")
        if not known:
            known.append(_slots(type, view))
        slots = known[0]
        if isinstance(slots, Unavailable):
            return slots
        return view.run.within(address, type.name, lambda: _entries(view, address, slots))

    return decode_map


class _Slots(NamedTuple):
    key: Type
    elem: Type
    storage: Storage


def _slots(type: Type, view: View) -> _Slots | Unavailable:
    key, elem = target(type.key), target(type.elem)
    if isinstance(key, Unavailable):
        return key
    if isinstance(elem, Unavailable):
        return elem
    return _Slots(key, elem, map_storage(type, view.run.context.version))


def _entries(view: View, address: int, slots: _Slots) -> Value:
    """The header's first word is the number of entries in both designs."""
    header = view.run.follow(view, address, 48)
    if isinstance(header, Unavailable):
        return header
    length = header.word(0)
    if isinstance(length, Unavailable):
        return length
    if length >> 47:
        return Unavailable(f"damaged: a length of {length}")
    if length == 0:
        return Mapping([], 0)
    limits = view.run.context.limits
    wanted = min(length, limits.elements)
    if wanted == 0:
        return Mapping([], length)
    groups = _Groups(header, slots)
    entries: list[tuple[Value, Value]] = []
    for slot in groups.swiss() if isinstance(slots.storage.layout, ir.SwissLayout) else groups.buckets():
        if not view.run.take(2):
            break
        entries.append(slot)
        if len(entries) >= wanted:
            break
    return Mapping(entries, length) if entries else Unavailable(groups.why)


class _Groups:
    """Walks a map's storage. `why`: what kept the walk from the entries it did not find."""

    def __init__(self, header: View, slots: _Slots) -> None:
        self.header = header
        self.run = header.run
        self.slots = slots
        self.why = "damaged: no entry in any group"
        self.left = _MOST_GROUPS
        self.read_key = self.run.decoder(slots.key)
        self.read_elem = self.run.decoder(slots.elem)

    # -- Swiss tables: internal/runtime/maps/{map,table,group}.go ------------------------------------------------

    def swiss(self) -> Iterator[tuple[Value, Value]]:
        layout = self.slots.storage.layout
        assert isinstance(layout, ir.SwissLayout)
        directory, tables = self.header.word(layout.directory), self.header.word(layout.directory_length)
        if isinstance(directory, Unavailable) or isinstance(tables, Unavailable):
            self.why = self.header.rest
            return
        if tables == 0:
            yield from self._swiss_groups(directory, 1, layout)
            return
        words = self._known(directory, 8 * min(tables, _MOST_GROUPS))
        seen = 0
        for index in range(len(words.data) // 8):
            table = words.word(8 * index)
            assert isinstance(table, int)
            if table == seen:  # several entries of the directory lead to a table that was not split yet
                continue
            seen = table
            yield from self._swiss_table(table, layout)

    def _swiss_table(self, table: int, layout: ir.SwissLayout) -> Iterator[tuple[Value, Value]]:
        if not self._may_look():
            return
        head = self._known(table, layout.length_mask + 8)
        groups, mask = head.word(layout.groups), head.word(layout.length_mask)
        if isinstance(groups, int) and isinstance(mask, int):
            yield from self._swiss_groups(groups, mask + 1, layout)

    def _swiss_groups(self, address: int, count: int, layout: ir.SwissLayout) -> Iterator[tuple[Value, Value]]:
        """A control byte has its highest bit set where the slot is empty or deleted."""
        for view, at in self._blocks(address, count, layout.group_size, 8):
            for slot in range(SLOTS):
                if view.data[at + slot] < 0x80:
                    key = at + layout.keys + slot * layout.key_stride
                    yield self._pair(view, key, at + layout.elems + slot * layout.elem_stride)

    # -- buckets: runtime/map.go ---------------------------------------------------------------------------------

    def buckets(self) -> Iterator[tuple[Value, Value]]:
        """Entries are in the new buckets, or while the map grows, in old ones that were not evacuated yet."""
        layout = self.slots.storage.layout
        assert isinstance(layout, ir.BucketLayout)
        words = [self.header.word(at) for at in (layout.buckets, layout.old_buckets)]
        buckets, old = words
        if isinstance(buckets, Unavailable) or isinstance(old, Unavailable):
            self.why = self.header.rest
            return
        exponent = self.header.data[layout.b] & 63
        if old:
            same = self.header.data[layout.b - 1] & _SAME_SIZE_GROW  # hmap.flags stands before hmap.B
            yield from self._bucket_array(old, 1 << (exponent if same or not exponent else exponent - 1), layout)
        if buckets:
            yield from self._bucket_array(buckets, 1 << exponent, layout)

    def _bucket_array(self, address: int, count: int, layout: ir.BucketLayout) -> Iterator[tuple[Value, Value]]:
        for view, at in self._blocks(address, count, layout.overflow + 8, SLOTS):
            yield from self._bucket(view, at, layout)

    def _bucket(self, view: View, at: int, layout: ir.BucketLayout) -> Iterator[tuple[Value, Value]]:
        """A bucket and its overflow buckets."""
        while True:
            marks = view.data[at : at + SLOTS]
            if len(marks) < SLOTS or _EMPTY_ONE < marks[0] < _MIN_TOP_HASH:  # the bucket was evacuated
                return
            for slot in range(SLOTS):
                if marks[slot] >= _MIN_TOP_HASH:
                    key = at + layout.keys + slot * layout.key_size
                    yield self._pair(view, key, at + layout.elems + slot * layout.elem_size)
            overflow = view.word(at + layout.overflow)
            if isinstance(overflow, Unavailable) or overflow == 0 or not self._may_look():
                return
            view, at = self._known(overflow, layout.overflow + 8), 0

    # -- both ----------------------------------------------------------------------------------------------------

    def _blocks(self, address: int, count: int, size: int, head: int) -> Iterator[tuple[View, int]]:
        """Where each group lies whose first `head` bytes are known, as (view, offset)."""
        step = max(_BLOCK // size, 1)
        for first in range(0, min(count, self.left), step):
            many = min(step, count - first)
            view = self._known(address + first * size, many * size)
            for at in range(0, many * size, size):
                if at + head > len(view.data):
                    self.why = view.rest
                    return
                if not self._may_look():
                    return
                yield view, at

    def _may_look(self) -> bool:
        """Whether one more group, bucket or table may be looked at, of this map and of the whole value."""
        self.left -= 1
        return self.left >= 0 and self.run.take()

    def _known(self, address: int, size: int) -> View:
        view = self.run.view(address, size, self.header.depth)
        if not view.data:
            self.why = view.rest
        return view

    def _pair(self, view: View, key: int, elem: int) -> tuple[Value, Value]:
        slots, storage = self.slots, self.slots.storage
        found_key = self._behind(view, key, slots.key) if storage.indirect_key else self.read_key(view, key)
        found_elem = self._behind(view, elem, slots.elem) if storage.indirect_elem else self.read_elem(view, elem)
        return found_key, found_elem

    def _behind(self, view: View, at: int, type: Type) -> Value:
        """A large key or element: the slot holds a pointer to it."""
        address = view.word(at)
        if isinstance(address, Unavailable):
            return address
        found = self.run.view(address, type.size, view.depth)
        if not found.data and type.kind is not Kind.STRUCT:
            return Unavailable(found.rest)
        return self.run.decoder(type)(found, 0)
