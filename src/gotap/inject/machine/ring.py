"""The ring that hooks write records to, with the interface of gotap.bpf.machine.Ring.

It is several rings, as many as there are CPUs, up to STRIPES, so that few threads write to one at a time. Each record
carries the time (Record.TIME), by which what is read at once is put in order; a record that was complete before another
one began comes before it.

A record is read when it is complete, and cleared then: its header must be 0 until the next one there is complete. gotap
sleeps in futex(2), in a thread of its own, and is woken by the records that carry a ring's fill over a multiple
(gotap.bpf.codegen.wake); for poll there is an eventfd.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.enums import MapType, Update
from gotap.inject.machine.errors import MachineError
from gotap.inject.machine.host import Host
from gotap.inject.machine.layout import PAGE, STRIPES, TIME_SHIFT, Descriptor, Header, RingState, aligned
from gotap.inject.machine.ring_part import Part, Rows, Run
from gotap.inject.machine.sleeper import Sleeper

#: With more rings than this each has half of the size that is asked for, since bursts of one thread are what fills one.
_WHOLE = 4
#: Seconds between looks whether the target still lives, while a record is not complete.
_LOOK = 0.1

Places = NDArray[np.int64]


class HookRing:
    """The ring and its reader. There must be one reader only."""

    def __init__(self, host: Host, size: int, name: str = "ring") -> None:
        """`size`: bytes, a power of two; one ring has that, or half of it. NoMemoryError."""
        self.size = size
        self._rings = min(1 << (max(os.cpu_count() or 1, 1) - 1).bit_length(), STRIPES)
        self._host = host
        self._region = host.region
        self._one = max(size if self._rings <= _WHOLE else size // 2, PAGE)
        if self._one & (self._one - 1):
            raise MachineError(f"a ring of {size} bytes: a power of two is needed")
        self._data_at = aligned(Descriptor.SIZE + self._rings * RingState.SIZE, PAGE)
        self._bytes = self._data_at + self._rings * self._one
        self.offset = self._region.allocate(self._bytes)
        try:
            self._region.provide(self.offset, self._bytes)
        except BaseException:
            self._region.release(self.offset, self._bytes)
            raise
        self._parts = [
            Part(self._region.bytes, self.offset + Descriptor.SIZE + number * RingState.SIZE,
                    self.offset + self._data_at + number * self._one, self._one)
            for number in range(self._rings)
        ]  # fmt: skip
        shared = self._descriptor(0)
        self._region.bytes[self.offset : self.offset + len(shared)] = np.frombuffer(shared, np.uint8)
        copy = ctypes.create_string_buffer(len(shared))
        copy.raw = self._descriptor(self._region.here + self.offset - ctypes.addressof(copy))
        self.map = RingMap(self, name, copy)
        self._asked: deque[tuple[int, tuple[int, ...]]] = deque()
        self._read = 0
        self._look_at = 0.0
        self._sleeper: Sleeper | None = None
        self._closed = False

    def _descriptor(self, distance: int) -> bytes:
        data = bytearray(Descriptor.SIZE)
        struct.pack_into("<I", data, Descriptor.KIND, MapType.RINGBUF)
        struct.pack_into("<I", data, Descriptor.MAX_ENTRIES, self.size)
        struct.pack_into("<I", data, Descriptor.MASK, self._rings - 1)
        struct.pack_into("<Q", data, Descriptor.END, self._one)
        struct.pack_into("<q", data, Descriptor.STATE, distance + Descriptor.SIZE)
        struct.pack_into("<q", data, Descriptor.VALUES, distance + self._data_at)
        return bytes(data)

    # -- waiting ----------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """For poll: readable once a record has woken the reader (see RingFlags) since it last read."""
        if self._sleeper is None:
            self._sleeper = Sleeper(self._region.here + Header.WAITING)
        return self._sleeper.fd

    def waiting(self) -> int:
        """Bytes between the positions: of the fullest ring, as a part of `size`."""
        return max(one.waiting() for one in self._parts) * self.size // self._one

    def wait(self, timeout: float) -> bool:
        """Until something is there, `timeout` seconds at most; False: nothing came."""
        until = time.monotonic() + timeout
        while not (there := any(one.waiting() for one in self._parts)):
            left = until - time.monotonic()
            if left <= 0:
                break
            select.select([self.fileno()], [], [], min(left, 0.005))
        return there

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def written_bytes(self) -> int:
        """Where the writers are; a record that is still being written counts."""
        ends = tuple(one.at + one.waiting() for one in self._parts)
        total = sum(ends)
        if not self._asked or self._asked[-1][0] != total:
            self._asked.append((total, ends))
        return total

    @property
    def read_bytes(self) -> int:
        """Where the reader is: of the places that `written_bytes` gave, the last one before which all has been read."""
        while self._asked and all(one.at >= end for one, end in zip(self._parts, self._asked[0][1], strict=True)):
            self._read = self._asked.popleft()[0]
        return self._read

    def read(self) -> list[Rows]:
        """The records that are complete now, copied: one array (n, length) per length, each in the order they came.

        Ends in each ring at the first record that is still being written. Frees what it read.
        """
        return [rows for rows, _ in self.read_placed()]

    def read_placed(self) -> list[tuple[Rows, Places]]:
        """As `read`, with each record's place, by which those of different lengths can be put in their order."""
        runs: dict[int, list[Run]] = {}
        for one in self._parts:
            one.read(runs)
        if any(one.waiting() for one in self._parts) and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK
            if _has_ended(self._region.read_u32(Header.TGID)) and self.ended():
                for one in self._parts:
                    one.read(runs)
        if self._sleeper is not None:
            self._sleeper.awake()
        now = self._host.ticks()
        return [self._ordered(parts, now) for parts in runs.values()]

    def _ordered(self, parts: list[Run], now: int) -> tuple[Rows, Places]:
        """`now`: the TSC behind all of them."""
        rows = parts[0][0] if len(parts) == 1 else np.concatenate([rows for rows, _ in parts])
        times = parts[0][1] if len(parts) == 1 else np.concatenate([times for _, times in parts])
        last = now >> TIME_SHIFT
        ago = (np.uint64(last & 0xFFFFFFFF) - times) & np.uint64(0xFFFFFFFF)
        places = np.int64(last) - ago.astype(np.int64)
        if len(parts) > 1:
            order = np.argsort(places, kind="stable")
            rows, places = rows[order], places[order]
        return rows, places

    def ended(self) -> int:
        """The target has ended: passes the records that its threads had not completed, so that those behind them can be
        read; how many.
        """
        lost = sum(one.skip() for one in self._parts)
        self._region.cut_off += lost
        return lost

    def memory(self) -> int:
        return self._bytes

    def close(self) -> None:
        """What was not read is lost. Arrays that `read` returned stay valid: they are copies."""
        if self._closed:
            return
        self._closed = True
        if self._sleeper is not None:
            self._sleeper.close()
        self._parts = []
        self._region.release(self.offset, self._bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:  # fmt: skip
        self.close()


class RingMap:
    """The ring as programs refer to it: a gotap.bpf.machine.Map without entries."""

    kind = MapType.RINGBUF
    key_size = value_size = 0

    def __init__(self, ring: HookRing, name: str, copy: ctypes.Array[ctypes.c_char]) -> None:
        self._ring = ring
        self._copy = copy
        self.name = name
        self.max_entries = ring.size
        #: Address of gotap's own descriptor.
        self.here = ctypes.addressof(copy)

    @property
    def descriptor(self) -> int:
        """Address in the target."""
        return self._ring._region.address + self._ring.offset

    def memory(self) -> int:
        return self._ring.memory()

    def lookup(self, key: bytes) -> bytes | None:
        raise self._no_entries()

    def lookup_sum(self, key: bytes) -> NDArray[np.uint64] | None:
        raise self._no_entries()

    def update(self, key: bytes, value: bytes, mode: Update = Update.ANY) -> bool:
        raise self._no_entries()

    def delete(self, key: bytes) -> bool:
        raise self._no_entries()

    def keys(self) -> Iterator[bytes]:
        raise self._no_entries()

    def entries(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        raise self._no_entries()

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        raise self._no_entries()

    def _no_entries(self) -> MachineError:
        return MachineError(f"{self.name} is a ring: it has no entries", "read its records")

    def close(self) -> None:
        self._ring.close()


def _has_ended(pid: int) -> bool:
    """Whether no thread of the process runs any more."""
    if not pid:
        return False  # nobody has said which
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return True
