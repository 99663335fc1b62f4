"""The helpers in gotap's own process, on its own mapping of the region and its own slot: number 0.

Maps are changed from here by the same machine code as in the target, so that both agree on locks; and programs that
gotap runs itself (`begin`, `end`, `interval`) run here. What this code is told about a map, gotap's copies of
descriptors, no target can touch, and every name of an element is checked against them.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import threading
from types import TracebackType
from typing import Self

from gotap.bpf.isa import Helper
from gotap.inject.machine.errors import MachineError
from gotap.inject.machine.helpers import HelperCode, build_helpers
from gotap.inject.machine.layout import Header, Slot, aligned
from gotap.inject.machine.region import Region

#: Bytes for the helpers' code, which takes a third of it.
_CODE = 1 << 16
_CALL = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_uint64] * 6)


class Executable:
    """Machine code in gotap's own memory, never writable and executable at once."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, aligned(max(size, 1), mmap.PAGESIZE), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def fill(self, code: bytes) -> None:
        """MachineError: the host forbids code that a process makes itself."""
        self._map[: len(code)] = code
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        if libc.mprotect(self.address, len(self._map), mmap.PROT_READ | mmap.PROT_EXEC):
            raise MachineError("gotap may not run code that it makes itself: mprotect(PROT_EXEC) is forbidden here",
                               "allow it (SELinux: execmem), or use --via uprobe")  # fmt: skip

    def close(self) -> None:
        with contextlib.suppress(BufferError):
            self._map.close()


class Host:
    """Calls routines on gotap's slot, one at a time."""

    def __init__(self, region: Region, clock: int = 0) -> None:
        """`clock`: as build_helpers has it, in gotap's address space."""
        self.region = region
        slots = region.read_u64(Header.SLOTS)
        self._memory = Executable(_CODE)
        self.helpers: HelperCode = build_helpers(self._memory.address, region.here, slots=slots, user=False,
                                                 clock=clock)  # fmt: skip
        self._memory.fill(self.helpers.code)
        self._call = _CALL(self.helpers.host_call)
        self._lock = threading.Lock()

    def call(self, routine: Helper | int, *arguments: int) -> int:
        """Runs a helper, or the program at an address, which gets RDI RSI …; its result, signed. Other threads run."""
        address = self.helpers.addresses[routine] if isinstance(routine, Helper) else routine
        filled = (*arguments, *(0,) * (5 - len(arguments)))
        with self._lock:
            result: int = self._call(*filled, address)
        return result

    def ticks(self) -> int:
        """The TSC now."""
        return self.call(self.helpers.ticks)

    @property
    def context(self) -> int:
        """Address of the struct pt_regs of gotap's slot."""
        return self.region.slot_address(0, self.region.here) + Slot.CONTEXT

    def close(self) -> None:
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:  # fmt: skip
        self.close()
