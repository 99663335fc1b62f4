"""Slots as hook stubs know them: one for each thread, with its registers, its stack and what it is doing.

A thread finds its slot by the base of its FS segment, which no two threads of a process share (thread-local storage is
there: runtime·settls and pthreads set it). RDFSBASE is an instruction of 2 ns, from Linux 5.9 on and where AT_HWCAP2
says so.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class Context(IntEnum):
    """Offsets in struct pt_regs (arch/x86/include/asm/ptrace.h), which programs get as their argument."""

    R15 = 0
    R14 = 8
    R13 = 16
    R12 = 24
    RBP = 32
    RBX = 40
    R11 = 48
    R10 = 56
    R9 = 64
    R8 = 72
    RAX = 80
    RCX = 88
    RDX = 96
    RSI = 104
    RDI = 112
    RIP = 128
    EFLAGS = 144
    RSP = 152


class Slots(Struct, frozen=True):
    """A table of slots in the process, and what is at which offset in a slot. Sizes in bytes.

    A thread's search begins at slot (FS base >> hash_shift) & (homes - 1), a power of two, and goes up to the slot that
    it owns, or to the first that no one has claimed, which it takes. Slot 0 has an owner that is no thread: stubs never
    take it; in its `lost` events are counted for which there was no slot.

    owner    u64, FS base, 0: none      claimed  u32, bit 0: taken, set before the owner is
    lost     u64, events that found the slot busy: in a signal handler
    context  struct pt_regs             busy     u8, 1 while its stack or context are in use
    flags    u32, the site's flags      cookie   u64, of the running program
    stack    the stack's upper end, a multiple of 16

    Threads read the owners of others in their search: nothing that events write is in that cache line.
    """

    address: int
    count: int
    size: int = 8192
    homes: int = 128
    hash_shift: int = 11
    owner: int = 0
    claimed: int = 8
    lost: int = 16
    context: int = 64
    busy: int = 232
    flags: int = 236
    cookie: int = 240
    stack: int = 8192

    @property
    def end(self) -> int:
        return self.address + self.count * self.size

    @property
    def scale(self) -> int:
        """What an FS base is multiplied by to have its home's number at the place of a slot's offset."""
        return self.size >> self.hash_shift

    @property
    def mask(self) -> int:
        """Cuts a home's offset out of a scaled FS base."""
        return (self.homes - 1) * self.size
