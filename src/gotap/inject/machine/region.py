"""gotap's mapping of the memory it shares with a target: header, slots, and room for maps and rings.

The target maps the same file at `address`. The file is as long as its address space from the start and may not shrink
(sealed), since whoever touched what is gone would die of SIGBUS. Pages get their memory here, by fallocate(2): shared
memory is charged to the cgroup of whoever touches a page first (mm/shmem.c, Linux 5.15 to 6.18), which must not be the
target.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gotap.inject.machine.errors import NoMemoryError
from gotap.inject.machine.layout import (
    MAGIC,
    PAGE,
    RANGE_COUNT,
    SLOTS,
    STRIPES,
    VERSION,
    Header,
    Range,
    Slot,
    aligned,
)

#: Address space of a region; what is not used takes no memory.
REGION_SIZE = 1 << 30

#: Go heaps begin at a multiple of this, above 4 GB: of 64 MB (runtime/malloc.go, heapArenaBytes) up to Go 1.25, from
#: 1.26 on anywhere in such an arena (runtime/mheap.go, grow: pallocChunkBytes). Executables hardly ever do.
_HEAP_ALIGNMENT, _HEAP_LOWEST = 4 << 20, 1 << 32

_F_ADD_SEALS, _F_SEAL_SEAL, _F_SEAL_SHRINK, _F_SEAL_GROW = 1033, 1, 2, 4  # include/uapi/linux/fcntl.h
_PUNCH_HOLE, _KEEP_SIZE = 2, 1  # include/uapi/linux/falloc.h


class Region:
    """Memory by offsets. One thread of gotap at a time may use it."""

    def __init__(self, fd: int, address: int = 0) -> None:
        """`fd`: of the memory file, which stays the caller's; `address`: where the target has it, 0: not yet known."""
        self._fd = os.dup(fd)
        try:
            self.size = os.fstat(self._fd).st_size
            self._map = mmap.mmap(self._fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except BaseException:
            os.close(self._fd)
            raise
        self.address = address
        self.bytes: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        #: Where gotap has it.
        self.here = int(self.bytes.ctypes.data)
        self._end = 0
        self._free: list[tuple[int, int]] = []  # offset, bytes; of what was given back
        self._numbers = 0
        #: Records that the target had not completed when it ended.
        self.cut_off = 0

    @classmethod
    def create(cls, fd: int, address: int = 0, *, size: int = REGION_SIZE, slots: int = SLOTS) -> Self:
        """Makes the file of `fd` (new, empty, sealable) a region. `slots`: a power of two; one is gotap's.

        NoMemoryError: there is no memory for header and slots.
        """
        os.ftruncate(fd, size)
        with contextlib.suppress(OSError):  # a file that cannot be sealed: not a memfd, or made without
            fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_SEAL)
        region = cls(fd, address)
        try:
            region._format(slots)
        except BaseException:
            region.close()
            raise
        return region

    def _format(self, slots: int) -> None:
        if slots < 2 or slots & (slots - 1):
            raise ValueError(f"{slots} slots: a power of two is needed")
        at = PAGE
        self._end = at + slots * Slot.SIZE
        self.provide(0, self._end)
        self.write_u64(Header.SIZE, self.size)
        self.write_u64(Header.SLOTS, at)
        self.write_u32(Header.VERSION, VERSION)
        self.write_u32(Header.SLOT_COUNT, slots)
        self.write_u32(Header.GENERATION, 1)
        for number in range(RANGE_COUNT):
            self.write_u64(Header.RANGES + number * Range.SIZE + Range.LOW, (1 << 64) - 1)
        seeds = np.frombuffer(os.urandom(8 * slots), np.uint64) | np.uint64(1)
        self.slots()[:, Slot.RANDOM : Slot.RANDOM + 8] = seeds.view(np.uint8).reshape(slots, 8)
        self.slots()[:, Slot.LOCK] = 1
        self.write_u32(at + Slot.LOCK, 2)
        self.write_u32(at + Slot.STRIPE, STRIPES - 1)  # one that threads share
        self.write_u32(at + Slot.CLAIM, 1)
        self.write_u64(at + Slot.OWNER, 1)  # no thread's FS base
        self.write_u64(Header.MAGIC, MAGIC)

    # -- what gotap tells the target --------------------------------------------------------------------------------

    def describe(self, *, tgid: int, comm: bytes = b"", owner: tuple[int, int] = (0, 0)) -> None:
        """`tgid`: the target's pid as gotap sees it; `comm`: its name; `owner`: gotap's own pid and start time."""
        self.write_u32(Header.TGID, tgid)
        self.bytes[Header.COMM : Header.COMM + 16] = np.frombuffer(comm[:15].ljust(16, b"\0"), np.uint8)
        self.write_u32(Header.OWNER_PID, owner[0])
        self.write_u64(Header.OWNER_START, owner[1])

    def set_readable(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Memory of the target, [low, high), that stays readable as long as it lives. What was said before still holds;
        ranges that find no place are read the slow way. Threads read meanwhile: a range only ever grows at its end.
        The first place is for the Go heap, where most of what is read lies.
        """
        for low, high in ranges:
            heap = low >= _HEAP_LOWEST and not low % _HEAP_ALIGNMENT
            for number in (0,) if heap and not self.read_u64(Header.RANGES + Range.HIGH) else range(RANGE_COUNT):
                at = Header.RANGES + number * Range.SIZE
                known_low, known_high = self.read_u64(at + Range.LOW), self.read_u64(at + Range.HIGH)
                free = not known_high and (number > 0 or heap)
                if known_low <= low <= known_high or free:
                    if free:
                        self.write_u64(at + Range.LOW, low)
                    self.write_u64(at + Range.HIGH, max(high, known_high))
                    break

    # -- memory -----------------------------------------------------------------------------------------------------

    def allocate(self, size: int) -> int:
        """Offset of `size` bytes of address space, whole pages, all zeros; memory comes by `provide`."""
        size = aligned(size, PAGE)
        for index, (offset, free) in enumerate(self._free):
            if free >= size:
                self._free[index] = offset + size, free - size
                return offset
        if self._end + size > self.size:
            raise NoMemoryError(f"no room in the {self.size >> 20} MB that gotap shares with the target for "
                                f"{size >> 10} KB more", "probe less at once")  # fmt: skip
        offset, self._end = self._end, self._end + size
        return offset

    def release(self, offset: int, size: int) -> None:
        """Gives back what `allocate` gave; its memory goes at once."""
        size = aligned(size, PAGE)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
        if libc.fallocate(self._fd, _PUNCH_HOLE | _KEEP_SIZE, offset, size):
            self.bytes[offset : offset + size] = 0
        self._free.append((offset, size))

    def provide(self, offset: int, size: int) -> None:
        """Memory for these bytes, charged to gotap. NoMemoryError."""
        try:
            os.posix_fallocate(self._fd, offset, size)
        except OSError as error:
            number = error.errno or 0
            why = "no memory is left" if number in (errno.ENOSPC, errno.ENOMEM) else os.strerror(number)
            raise NoMemoryError(f"cannot get {size >> 10} KB to share with the target: {why}",
                                "raise gotap's memory limit, or probe less at once") from error  # fmt: skip

    def next_number(self) -> int:
        """Maps are numbered in the order they are made, from 0."""
        self._numbers += 1
        return self._numbers - 1

    def memory(self) -> int:
        """Bytes that have memory."""
        return os.fstat(self._fd).st_blocks * 512

    # -- views ------------------------------------------------------------------------------------------------------

    def slots(self) -> NDArray[np.uint8]:
        """(slots, bytes)"""
        at, count = self.read_u64(Header.SLOTS), self.read_u32(Header.SLOT_COUNT)
        return self.bytes[at : at + count * Slot.SIZE].reshape(count, Slot.SIZE)

    def slot_address(self, number: int, base: int) -> int:
        """Of a slot, where the region is mapped at `base`."""
        return base + self.read_u64(Header.SLOTS) + number * Slot.SIZE

    def read_u32(self, offset: int) -> int:
        return ctypes.c_uint32.from_address(self.here + offset).value

    def read_u64(self, offset: int) -> int:
        return ctypes.c_uint64.from_address(self.here + offset).value

    def write_u32(self, offset: int, value: int) -> None:
        ctypes.c_uint32.from_address(self.here + offset).value = value

    def write_u64(self, offset: int, value: int) -> None:
        """One store: who reads sees the old or the new value."""
        ctypes.c_uint64.from_address(self.here + offset).value = value

    def counters(self) -> dict[str, int]:
        """Hits of which nothing is seen, by why."""
        return {"hook in use": self.read_u64(Header.BUSY), "too many threads": self.read_u64(Header.NO_SLOT),
                "cut off by the end": self.cut_off}  # fmt: skip

    def close(self) -> None:
        """Unmaps it here, as soon as nobody has an array of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            del self.bytes
            with contextlib.suppress(BufferError):
                self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:  # fmt: skip
        self.close()
