"""Where the parts of a map lie in the region, the memory they have, and its descriptor."""

from __future__ import annotations

import contextlib
import ctypes
import struct

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.enums import MapType
from gotap.inject.machine.errors import MachineError, NoMemoryError
from gotap.inject.machine.layout import (
    CACHE_LINE,
    END,
    KEPT_ELEMENTS,
    PAGE,
    STRIPES,
    Bucket,
    Descriptor,
    Element,
    Flags,
    Header,
    Slot,
    State,
    aligned,
)
from gotap.inject.machine.region import Region

#: Bytes of elements that a hash has memory for at first; more comes long before they are used up.
_FIRST_MEMORY = 1 << 20
#: Of the elements with memory so many may be in use before there is more.
_MORE_AT = 0.5
#: Hashes of so many entries let each thread keep an element, and have as many more.
_LARGE = 4096
_FLAGS = {
    MapType.ARRAY: Flags.ARRAY,
    MapType.PROG_ARRAY: Flags.ARRAY,
    MapType.PERCPU_ARRAY: Flags.ARRAY | Flags.PER_CPU,
    MapType.HASH: Flags(0),
    MapType.PERCPU_HASH: Flags.PER_CPU,
    MapType.LRU_HASH: Flags.EVICTS,
    MapType.LRU_PERCPU_HASH: Flags.PER_CPU | Flags.EVICTS,
}


class MapMemory:
    """A map without its operations."""

    def __init__(self, region: Region, kind: MapType, key_size: int, value_size: int, max_entries: int, name: str = "",
                 brought: int = 0, ready: int = 0) -> None:  # fmt: skip
        """`brought`: of a hash whose programs look at no more of a new value than so many bytes, before they have
        written there: updates bring those only. `ready`: elements of a hash that have memory from the start; 0: as many
        as take _FIRST_MEMORY. MachineError: there are no such maps; NoMemoryError.
        """
        if kind not in _FLAGS:
            raise MachineError(f"cannot make map {name}: in-process hooks have no maps of type {kind.name.lower()}",
                               "use --via uprobe")  # fmt: skip
        if kind is MapType.PROG_ARRAY:
            value_size = 8  # addresses
        self.kind, self.key_size, self.value_size = kind, key_size, value_size
        self.max_entries, self.name = max_entries, name
        self._brought = brought or value_size
        self._ready = ready
        self.flags = _FLAGS[kind]
        if not self.is_array and (key_size % 8 or value_size % 8):
            raise MachineError(f"cannot make map {name}: keys and values of hashes are whole words here, not "
                               f"{key_size} and {value_size} bytes", "use --via uprobe")  # fmt: skip
        self._region = region
        self._plan()
        self.offset = self._region.allocate(self._size)
        try:
            self._make()
        except BaseException:
            self._region.release(self.offset, self._size)
            raise
        self._closed = False

    @property
    def is_array(self) -> bool:
        return bool(self.flags & Flags.ARRAY)

    @property
    def per_cpu(self) -> bool:
        return bool(self.flags & Flags.PER_CPU)

    def _plan(self) -> None:
        """Where what lies, from the descriptor on."""
        rounded = aligned(self.value_size, 8)
        self._stripe = aligned(rounded, CACHE_LINE) if self.per_cpu else 0
        value = self._stripe * STRIPES or rounded
        self._state_at = aligned(Descriptor.SIZE, CACHE_LINE)
        after = self._state_at + State.SIZE
        if self.is_array:
            self._stride, self._count, self._buckets = value, self.max_entries, 0
            self._values_at = aligned(after, CACHE_LINE)
            self._size = self._values_at + self._stride * self._count
            return
        head = Element.KEY + self.key_size
        self._value_at = aligned(head, CACHE_LINE) if self.per_cpu else head
        self._stride = aligned(self._value_at + value, CACHE_LINE)
        self._number = self._region.next_number() if self.max_entries >= _LARGE else KEPT_ELEMENTS
        spare = self._region.read_u32(Header.SLOT_COUNT) if self._number < KEPT_ELEMENTS else 0
        self._count = self.max_entries + spare
        self._buckets = 1 << max(3, (self.max_entries - 1).bit_length())
        self._buckets_at = aligned(after, CACHE_LINE)
        self._values_at = aligned(self._buckets_at + self._buckets * Bucket.SIZE, PAGE) - self._stride
        self._size = self._values_at + self._stride * (self._count + 1)
        if self._stride * (self._count + 1) >> 3 >= END:
            raise MachineError(f"map {self.name} would take {self._size >> 20} MB", "let it have fewer entries")

    def _make(self) -> None:
        region = self._region
        if self.is_array:
            region.provide(self.offset, self._size)
        else:
            region.provide(self.offset, self._values_at + self._stride)
            self.words = self._stride >> 3
            self._provided = 0
            self._provide(min(self._count, self._ready or max(64, _FIRST_MEMORY // self._stride)))
            region.write_u64(self.offset + self._state_at + State.FRESH, self.words)
            buckets = self._words(self._buckets_at, 2 * self._buckets).reshape(-1, 2)
            buckets[:, 0] = np.arange(self._buckets, dtype=np.uint32) | np.uint32(END)
        shared = self._descriptor(0)
        region.bytes[self.offset : self.offset + len(shared)] = np.frombuffer(shared, np.uint8)
        self._copy = ctypes.create_string_buffer(len(shared))
        #: Address of gotap's own descriptor, for programs that run here.
        self.here = ctypes.addressof(self._copy)
        self._copy.raw = self._descriptor(region.here + self.offset - self.here)

    def _descriptor(self, distance: int) -> bytes:
        """`distance`: from the descriptor to the shared one."""
        data = bytearray(Descriptor.SIZE)

        def put(form: str, field: Descriptor, value: int) -> None:
            struct.pack_into("<" + form, data, field, value)

        put("I", Descriptor.KIND, self.kind)
        put("I", Descriptor.FLAGS, self.flags)
        put("I", Descriptor.KEY_SIZE, self.key_size)
        put("I", Descriptor.VALUE_SIZE, self._brought)
        put("I", Descriptor.MAX_ENTRIES, self.max_entries)
        put("I", Descriptor.STRIPE, self._stripe)
        put("q", Descriptor.STATE, distance + self._state_at)
        put("q", Descriptor.VALUES, distance + self._values_at)
        if self.is_array:
            put("I", Descriptor.STRIDE, self._stride)
            return bytes(data)
        put("I", Descriptor.STRIDE, self._stride >> 3)
        put("I", Descriptor.VALUE, self._value_at)
        put("I", Descriptor.MASK, self._buckets - 1)
        if self._number < KEPT_ELEMENTS:
            put("I", Descriptor.ELEMENT, Slot.ELEMENTS + 4 * self._number)
        put("q", Descriptor.END, (self._count + 1) * self._stride >> 3)
        put("q", Descriptor.BUCKETS, distance + self._buckets_at)
        return bytes(data)

    def _provide(self, count: int) -> None:
        """Memory for the first `count` elements."""
        first = self.offset + self._values_at + self._stride
        self._region.provide(first + self._provided * self._stride, (count - self._provided) * self._stride)
        self._provided = count
        self._region.write_u64(self.offset + self._state_at + State.LIMIT, (count + 1) * self._stride >> 3)

    def provide_more(self) -> None:
        """To be called now and then: memory before the target needs it. Without, the map is full earlier, as programs
        count it.
        """
        if self.is_array or self._provided >= self._count:
            return
        fresh = self._region.read_u64(self.offset + self._state_at + State.FRESH) * 8 // self._stride
        if fresh > self._provided * _MORE_AT:
            with contextlib.suppress(NoMemoryError):
                self._provide(min(self._count, 2 * self._provided))

    @property
    def descriptor(self) -> int:
        """Address in the target."""
        return self._region.address + self.offset

    @property
    def values(self) -> int:
        """Distance from the descriptor to an array's first value."""
        return self._values_at

    @property
    def stride(self) -> int:
        """Bytes from one value of an array to the next."""
        return self._stride

    @property
    def _width(self) -> int:
        """Bytes of a value as callers have it."""
        return aligned(self.value_size, 8) * STRIPES if self.per_cpu else self.value_size

    def _rows(self, at: int, count: int) -> NDArray[np.uint8]:
        """(count, stride) from an offset behind the descriptor."""
        start = self.offset + at
        return self._region.bytes[start : start + count * self._stride].reshape(count, self._stride)

    def _words(self, at: int, count: int) -> NDArray[np.uint32]:
        start = self.offset + at
        return self._region.bytes[start : start + 4 * count].view(np.uint32)

    def memory(self) -> int:
        """Bytes it takes."""
        if self.is_array:
            return aligned(self._size, PAGE)
        return aligned(self._values_at, PAGE) + self._provided * self._stride

    def close(self) -> None:
        """No program that uses it may run any more."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(ValueError):
                self._region.release(self.offset, self._size)
