"""The journal of patches: what a later gotap needs to undo them, kept in the process itself. Pure: bytes in and out.

It is the beginning of the trampolines' file and is written before any patch, so it may name patches that were never
made; it never changes afterwards, so nothing is to be written while a patch is taken back: the bytes of the program
tell what is to do. All numbers are little-endian; version 1:

    page 0   magic, version, mechanism, who wrote it, size of the file, where everything is
             from 0x100: memory that goes with it, (address, size) each, its own windows among them
    page 1…  patches, 64 bytes each: address, bytes written, bytes of the original, new bytes, the original's first 40

A reader takes no number from here unchecked: the process could have written anything here.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from msgspec import Struct

from gotap.inject.patches.errors import DamagedJournal, NewerJournal
from gotap.inject.patches.patch import Patch
from gotap.inject.trampolines.windows import PAGE

MAGIC = b"gotapjnl"
VERSION = 1

#: magic, version, mechanism, owner: pid, start time, pid namespace; size of the file, number of areas, of patches;
#: slots: address, number, size, offset of the byte that says that one is in use
_HEADER = struct.Struct("<8sII IQQ QII QIII")
_AREAS = 0x100
_AREA = struct.Struct("<QQ")
_PATCH = struct.Struct("<QBxH4x8s40s")
_MOST_AREAS = (PAGE - _AREAS) // _AREA.size
_HIGHEST = 1 << 47


class Mechanism(IntEnum):
    SPRINGBOARD = 1
    HOOK = 2

    @property
    def file_name(self) -> str:
        """Of the memory file: /proc/PID/maps shows `/memfd:gotap-hook (deleted)`."""
        return f"gotap-{self.name.lower()}"


class Owner(Struct, frozen=True):
    """The gotap that wrote a journal: `pid` in the pid namespace with that inode, `start_time` as /proc/PID/stat has
    it.

    The start time is in clock ticks after boot, so that a pid that was given out again is another process.
    """

    pid: int
    start_time: int
    namespace: int


class Area(Struct, frozen=True):
    """Memory of the process that is gotap's."""

    address: int
    size: int

    @property
    def end(self) -> int:
        return self.address + self.size


class BusyBytes(Struct, frozen=True):
    """Where the slots of hooks say whether they are in use: a byte at `address` + n·`stride` each, `count` times."""

    address: int = 0
    count: int = 0
    stride: int = 0


NO_SLOTS = BusyBytes()


class Journal(Struct, frozen=True):
    """`file_size`: of the file that it is the beginning of."""

    mechanism: Mechanism
    owner: Owner
    file_size: int
    areas: tuple[Area, ...]
    patches: tuple[Patch, ...]
    busy: BusyBytes = NO_SLOTS


def size_of(patches: int) -> int:
    """Bytes of a journal of so many patches, whole pages."""
    return PAGE + -(-patches * _PATCH.size // PAGE) * PAGE


def write(journal: Journal) -> bytes:
    """Raises ValueError when it has too many areas."""
    if len(journal.areas) > _MOST_AREAS:
        raise ValueError(f"{len(journal.areas)} areas: a journal has room for {_MOST_AREAS}")
    owner, busy = journal.owner, journal.busy
    head = _HEADER.pack(
        *(MAGIC, VERSION, journal.mechanism),
        *(owner.pid, owner.start_time, owner.namespace),
        *(journal.file_size, len(journal.areas), len(journal.patches)),
        *(busy.address, busy.count, busy.stride, 0),
    )
    areas = b"".join(_AREA.pack(area.address, area.size) for area in journal.areas)
    patches = b"".join(_packed(patch) for patch in journal.patches)
    content = (head.ljust(_AREAS, b"\0") + areas).ljust(PAGE, b"\0") + patches
    return content.ljust(size_of(len(journal.patches)), b"\0")


def _packed(patch: Patch) -> bytes:
    return _PATCH.pack(patch.address, patch.size, len(patch.original), patch.new, patch.original)


def is_journal(head: bytes) -> bool:
    """Whether a file that begins so is one."""
    return head.startswith(MAGIC)


def needed(pid: int, head: bytes) -> int:
    """How many bytes `read` wants, told by the first page. Raises NewerJournal, DamagedJournal."""
    if len(head) < PAGE or not is_journal(head):
        raise DamagedJournal(pid, "it does not begin as one")
    version = int.from_bytes(head[8:12], "little")
    if version > VERSION:
        raise NewerJournal(pid, version)
    fields = _HEADER.unpack_from(head)
    size = size_of(fields[8])
    if size > fields[6]:
        raise DamagedJournal(pid, f"{fields[8]} patches do not fit into {fields[6]} bytes")
    return size


def read(pid: int, content: bytes) -> Journal:
    """The journal of process `pid`; `content`: `needed` bytes. Raises NewerJournal, DamagedJournal."""
    size = needed(pid, content)
    _, _, mechanism, owner, start, namespace, file_size, areas, patches, *busy = _HEADER.unpack_from(content)
    if mechanism not in tuple(Mechanism) or areas > _MOST_AREAS or len(content) < size:
        raise DamagedJournal(pid, "its header makes no sense")
    return Journal(
        Mechanism(mechanism),
        Owner(owner, start, namespace),
        file_size,
        tuple(_area(pid, content, _AREAS + number * _AREA.size) for number in range(areas)),
        tuple(_patch(pid, content, PAGE + number * _PATCH.size) for number in range(patches)),
        BusyBytes(*busy[:3]),
    )


def _area(pid: int, content: bytes, at: int) -> Area:
    address, size = _AREA.unpack_from(content, at)
    if address % PAGE or size % PAGE or not 0 < address < address + size <= _HIGHEST:
        raise DamagedJournal(pid, f"there is no area of {size:#x} bytes at {address:#x}")
    return Area(address, size)


def _patch(pid: int, content: bytes, at: int) -> Patch:
    address, size, moved, new, original = _PATCH.unpack_from(content, at)
    if not 0 < size <= min(len(new), moved) or address + moved > _HIGHEST:
        raise DamagedJournal(pid, f"there is no patch of {size} bytes at {address:#x}")
    return Patch(address, original[:moved].ljust(moved, b"\0"), new[:size])
