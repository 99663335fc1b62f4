"""Maps that programs in the target use, with the interface of gotap.bpf.machine.Map."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import struct
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.enums import MapType, Update
from gotap.bpf.isa import Helper
from gotap.inject.machine.errors import BusyError, MachineError, NoMemoryError
from gotap.inject.machine.host import Host
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

#: Bytes of elements that a hash has memory for at first; more comes long before they are used up.
_FIRST_MEMORY = 1 << 20
#: Of the elements with memory so many may be in use before there is more.
_MORE_AT = 0.5
#: Hashes of so many entries let each thread keep an element, and have as many more.
_LARGE = 4096
#: Seconds that a map may be held up by a target that was stopped in the middle of a change.
_PATIENCE = 1.0
#: Elements of a list, and walks of one that leads astray, after which it is left at what was found.
_LONGEST_LIST, _WALKS = 4096, 64

_FLAGS = {
    MapType.ARRAY: Flags.ARRAY,
    MapType.PROG_ARRAY: Flags.ARRAY,
    MapType.PERCPU_ARRAY: Flags.ARRAY | Flags.PER_CPU,
    MapType.HASH: Flags(0),
    MapType.PERCPU_HASH: Flags.PER_CPU,
    MapType.LRU_HASH: Flags.EVICTS,
    MapType.LRU_PERCPU_HASH: Flags.PER_CPU | Flags.EVICTS,
}


class HookMap:
    """A map in the region. Keys and values are bytes of exactly the map's sizes; a per-CPU value is STRIPES values,
    each rounded up to 8 bytes, one after the other.
    """

    def __init__(self, host: Host, kind: MapType, key_size: int, value_size: int, max_entries: int, name: str = ""
                 ) -> None:  # fmt: skip
        """MachineError: there are no such maps; NoMemoryError."""
        if kind not in _FLAGS:
            raise MachineError(f"cannot make map {name}: in-process hooks have no maps of type {kind.name.lower()}",
                               "use --via uprobe")  # fmt: skip
        if kind is MapType.PROG_ARRAY:
            value_size = 8  # addresses
        self.kind, self.key_size, self.value_size = kind, key_size, value_size
        self.max_entries, self.name = max_entries, name
        self.flags = _FLAGS[kind]
        if not self.is_array and (key_size % 8 or value_size % 8):
            raise MachineError(f"cannot make map {name}: keys and values of hashes are whole words here, not "
                               f"{key_size} and {value_size} bytes", "use --via uprobe")  # fmt: skip
        self._host = host
        self._region = host.region
        self._plan()
        self.offset = self._region.allocate(self._size)
        try:
            self._make()
        except BaseException:
            self._region.release(self.offset, self._size)
            raise
        self._closed = False

    # -- layout -----------------------------------------------------------------------------------------------------

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
            self._provide(min(self._count, max(64, _FIRST_MEMORY // self._stride)))
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
        put("I", Descriptor.VALUE_SIZE, self.value_size)
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

    # -- one entry --------------------------------------------------------------------------------------------------

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

    def fill(self, rows: NDArray[np.void] | NDArray[np.uint64]) -> None:
        """An array's values from the first on; rows are as long as values."""
        if len(rows):
            data = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
            self._rows(self._values_at, len(rows))[:, : data.shape[1]] = data

    def lookup(self, key: bytes) -> bytes | None:
        """The value, None when there is none."""
        at = self._find(key)
        if at is None:
            return None
        row = self._region.bytes[at : at + (self._stripe * STRIPES or self.value_size)]
        value: bytes = self._value(row[None])[0].tobytes()
        return value

    def lookup_sum(self, key: bytes) -> NDArray[np.uint64] | None:
        """The value as 64-bit words, summed over the stripes."""
        value = self.lookup(key)
        return None if value is None else self._summed(np.frombuffer(value, np.uint8)[None])[0]

    def update(self, key: bytes, value: bytes, mode: Update = Update.ANY) -> bool:
        """False when `mode` forbids it: the key is there (NOEXIST) or is not (EXIST)."""
        self._check(key)
        if len(value) != self._width:
            raise ValueError(f"map {self.name}: value of {len(value)} bytes, {self._width} expected")
        if not self.is_array:
            first = value[: aligned(self.value_size, 8)]
            result = self._patiently("write to", lambda: self._call(Helper.MAP_UPDATE, key, first, mode))
            if result in (-errno.EEXIST, -errno.ENOENT):
                return False
            if result < 0:
                raise MachineError(f"cannot write to map {self.name}: it is full", "give the map more entries")
            if not self.per_cpu:
                return True
        elif mode is Update.NOEXIST:
            return False
        at = self._find(key)
        if at is None:
            if self.is_array:
                raise MachineError(f"cannot write to map {self.name}: it has {self.max_entries} entries only")
            return True  # a program has deleted it
        self._write(at, value)
        return True

    def set_program(self, index: int, address: int) -> None:
        """Of a program array: where tail calls by this number go in the target."""
        self.update(struct.pack("<I", index), struct.pack("<Q", address))

    def delete(self, key: bytes) -> bool:
        """False when the key was not there."""
        self._check(key)
        if self.is_array:
            raise MachineError(f"cannot delete from map {self.name}: it is an array")
        return self._patiently("delete from", lambda: self._call(Helper.MAP_DELETE, key)) == 0

    # -- all entries ------------------------------------------------------------------------------------------------

    def keys(self) -> Iterator[bytes]:
        """All keys that were seen on the way."""
        for key in self.entries()[0]:
            yield key.tobytes()

    def entries(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """All keys (n, key_size) and values (n, bytes). With writers at work it is what was seen on the way."""
        if self.is_array:
            rows = self._rows(self._values_at, self._count)
            keys = np.arange(self._count, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
            return keys, self._value(rows)
        indices = self._live()
        rows = self._rows(self._values_at, self._count + 1)
        found = rows[indices]
        after = self._hashes(indices)
        found = found[found[:, Element.HASH : Element.HASH + 4].copy().view(np.uint32)[:, 0] == after]
        keys = found[:, Element.KEY : Element.KEY + self.key_size].copy()
        return keys, self._value(found[:, self._value_at :])

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        keys, values = self.entries()
        for key, value in zip(keys, values, strict=True):
            yield key.tobytes(), value.tobytes()

    def sums(self) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """All keys (n, key_size) and values as 64-bit words, summed over the stripes (n, words)."""
        keys, values = self.entries()
        return keys, self._summed(values)

    def _live(self) -> NDArray[np.int64]:
        """Indices of the elements in all buckets' lists. Lists that led astray, since what was looked at has been used
        again meanwhile, are walked again."""
        buckets, found = np.arange(self._buckets, dtype=np.int64), np.zeros(0, np.int64)
        for _ in range(_WALKS):
            indices, buckets = self._walk(buckets)
            found = np.concatenate([found, indices])
            if not len(buckets):
                break
        found.sort()
        distinct = np.ones(len(found), bool)
        distinct[1:] = found[1:] != found[:-1]
        return found[distinct]

    def _walk(self, buckets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the elements in these buckets' lists, which are walked side by side, a step at a time; and the
        buckets whose end was not found."""
        stride = self._stride >> 3
        links = self._rows(self._values_at, self._count + 1)[:, Element.NEXT : Element.NEXT + 4]
        names = self._words(self._buckets_at, 2 * self._buckets).reshape(-1, 2)[:, 0][buckets].astype(np.int64)
        found, astray = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for _ in range(_LONGEST_LIST):
            indices = names // stride
            good = (names % stride == 0) & (indices > 0) & (indices <= self._count)
            astray.append(buckets[~good & (names != (buckets | END))])
            buckets, indices = buckets[good], indices[good]
            mine = (self._hashes(indices) & (self._buckets - 1)) == buckets
            astray.append(buckets[~mine])
            buckets, indices = buckets[mine], indices[mine]
            if not len(buckets):
                break
            found.append(indices)
            names = links[indices].copy().view(np.uint32)[:, 0].astype(np.int64)
        return np.concatenate(found), np.concatenate(astray)

    def _hashes(self, indices: NDArray[np.int64]) -> NDArray[np.uint32]:
        rows = self._rows(self._values_at, self._count + 1)[:, Element.HASH : Element.HASH + 4]
        hashes: NDArray[np.uint32] = rows[indices].copy().view(np.uint32)[:, 0]
        return hashes

    # -- pieces -----------------------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        """Bytes of a value as callers have it."""
        return aligned(self.value_size, 8) * STRIPES if self.per_cpu else self.value_size

    def _value(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Values as callers have them, from (n, bytes) that begin with them."""
        if not self.per_cpu:
            return rows[:, : self.value_size].copy()
        stripes = rows[:, : self._stripe * STRIPES].reshape(len(rows), STRIPES, self._stripe)
        return stripes[:, :, : aligned(self.value_size, 8)].reshape(len(rows), self._width).copy()

    def _write(self, at: int, value: bytes) -> None:
        data = np.frombuffer(value, np.uint8)
        if not self.per_cpu:
            if len(value) in (4, 8):  # whole
                write = self._region.write_u32 if len(value) == 4 else self._region.write_u64
                write(at, int.from_bytes(value, "little"))
            else:
                self._region.bytes[at : at + len(value)] = data
            return
        rounded = aligned(self.value_size, 8)
        stripes = self._region.bytes[at : at + self._stripe * STRIPES].reshape(STRIPES, self._stripe)
        stripes[:, :rounded] = data.reshape(STRIPES, rounded)

    def _summed(self, values: NDArray[np.uint8]) -> NDArray[np.uint64]:
        if self.value_size % 8:
            raise ValueError(f"map {self.name}: values of {self.value_size} bytes are not 64-bit words")
        words: NDArray[np.uint64] = np.ascontiguousarray(values).view(np.uint64)
        sums: NDArray[np.uint64] = words.reshape(len(values), -1, self.value_size // 8).sum(axis=1, dtype=np.uint64)
        return sums

    def _find(self, key: bytes) -> int | None:
        """Offset of the value (its first stripe) in the region."""
        self._check(key)
        if self.is_array:
            index = int.from_bytes(key, "little")
            return self.offset + self._values_at + index * self._stride if index < self.max_entries else None
        address = self._call(Helper.MAP_LOOKUP, key) & (1 << 64) - 1
        own = self._region.read_u32(self._region.slot_address(0, 0) + Slot.STRIPE) * self._stripe
        return address - own - self._region.here if address else None

    def _call(self, helper: Helper, key: bytes, value: bytes = b"", mode: int = 0) -> int:
        keys = ctypes.create_string_buffer(key, len(key))
        values = ctypes.create_string_buffer(value, len(value) or 1)
        return self._host.call(helper, self.here, ctypes.addressof(keys), ctypes.addressof(values), mode)

    def _patiently(self, action: str, call: Callable[[], int]) -> int:
        """While a thread of the target holds what is needed. BusyError: for too long."""
        until = time.monotonic() + _PATIENCE
        while (result := call()) == -errno.EBUSY:
            if time.monotonic() > until:
                raise BusyError(f"cannot {action} map {self.name}: the target was stopped while it changed it",
                                "let the target go on (SIGCONT, thaw its cgroup)")  # fmt: skip
            time.sleep(0.001)
        return result

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

    def _check(self, key: bytes) -> None:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name}: key of {len(key)} bytes, {self.key_size} expected")

    def close(self) -> None:
        """No program that uses it may run any more."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(ValueError):
                self._region.release(self.offset, self._size)
