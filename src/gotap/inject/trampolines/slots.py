"""How hook stubs find the slot of their thread (gotap.inject.machine.layout, Slot).

A thread is known by the base of its FS segment, which no two threads of a process share (thread-local storage is there:
runtime·settls and pthreads set it). RDFSBASE takes 2 ns; Linux allows it from 5.9 on, and AT_HWCAP2 says so.

Its search begins at its *home*, which is a hash of the FS base, among the first half of the slots, and goes up to the
slot that it owns, or to the first that nobody has claimed, which it takes. Slot 0 is gotap's own and has an owner that
is no thread. Whoever gives back the slots of dead threads may do so in any order: a thread that finds a gap on its way
takes it, and its other slot is then nobody's.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from gotap.inject.machine.layout import Header, Slot

#: Of the FS base: bits of the product from SHIFT on are the home's number. Odd, so that no bit of it is lost.
MULTIPLIER = 0x5851F42D
SHIFT = 17


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
    """The slots of a region that the process has mapped at `region`: `count`, a power of two, from `offset` on."""

    region: int
    offset: int
    count: int

    @property
    def address(self) -> int:
        return self.region + self.offset

    @property
    def end(self) -> int:
        return self.address + self.count * Slot.SIZE

    @property
    def mask(self) -> int:
        """Cuts a home's offset out of a hash. Never 0."""
        return max(1, self.count // 2 - 1) * Slot.SIZE

    @property
    def counters(self) -> tuple[int, int, int]:
        """Addresses: events lost because the slot was busy, because there was none; slots claimed (u64, u64, u32)."""
        return self.region + Header.BUSY, self.region + Header.NO_SLOT, self.region + Header.CLAIMED
