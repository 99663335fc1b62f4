"""Maps that programs in the target use, with the interface of gotap.bpf.machine.Map."""

from __future__ import annotations

import ctypes
import errno
import struct
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.enums import MapType, Update
from gotap.bpf.isa import Helper
from gotap.inject.machine.errors import BusyError, MachineError
from gotap.inject.machine.host import Host
from gotap.inject.machine.layout import END, STRIPES, Element, Slot, aligned
from gotap.inject.machine.map_memory import MapMemory

#: Seconds that a map may be held up by a target that was stopped in the middle of a change.
_PATIENCE = 1.0
#: Elements of a list, and walks of one that leads astray, after which it is left at what was found.
_LONGEST_LIST, _WALKS = 4096, 64


class HookMap(MapMemory):
    """A map in the region. Keys and values are bytes of exactly the map's sizes; a per-CPU value is STRIPES values,
    each rounded up to 8 bytes, one after the other.
    """

    def __init__(self, host: Host, kind: MapType, key_size: int, value_size: int, max_entries: int, name: str = "",
                 brought: int = 0, ready: int = 0) -> None:  # fmt: skip
        """`brought`, `ready`: as MapMemory has them. MachineError: there are no such maps; NoMemoryError."""
        super().__init__(host.region, kind, key_size, value_size, max_entries, name, brought, ready)
        self._host = host

    # -- one entry --------------------------------------------------------------------------------------------------

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

    def _check(self, key: bytes) -> None:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name}: key of {len(key)} bytes, {self.key_size} expected")
