"""Slots as hook stubs on arm64 know them: one for each thread, with its registers, its stack and what it is doing.

A thread finds its slot by its m. The thread register, TPIDR_EL0, would not do: Go sets it only in programs with cgo,
and in others all threads have the same one (runtime/tls_arm64.s; clone in runtime/sys_linux_arm64.s, which passes no
CLONE_SETTLS; Go 1.18–1.27). In Go code R28 is g, also on the stacks of the system and of signals, and g.m is the thread
that runs it; it stands at the same offset in all these versions ("offset known to arm liblink", runtime/runtime2.go).
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

#: Offset of g.m.
G_M = 48


class Context(IntEnum):
    """Offsets in struct user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h), which programs get as their argument.

    Register n is at 8 n.
    """

    SP = 248
    PC = 256
    PSTATE = 264
    SIZE = 272


class Slots(Struct, frozen=True):
    """A table of slots in the process, and what is at which offset in a slot. Sizes in bytes.

    A thread's search begins at slot (m >> hash_shift) & (homes - 1), a power of two, and goes up to the slot that it
    owns, or to the first that no one has claimed, which it takes. Slot 0 has an owner that is no thread: stubs never
    take it; in its `lost` events are counted for which there was no slot.

    owner    u64, address of the m, 0: none     claimed  u32, bit 0: taken, set before the owner is
    lost     u64, events that found the slot busy: in a signal handler
    context  struct user_pt_regs                busy     u8, 1 while its stack or context are in use
    cookie   u64, of the running program        stack    the stack's upper end, a multiple of 16

    An m outlives its thread and may get another one: what is kept of the thread beside its memory, like its id, holds
    only as long as m.procid does.
    """

    address: int
    count: int
    size: int = 8192
    homes: int = 128
    hash_shift: int = 11
    owner: int = 0
    claimed: int = 8
    lost: int = 16
    cookie: int = 32
    context: int = 64
    busy: int = 336
    stack: int = 8192

    @property
    def end(self) -> int:
        return self.address + self.count * self.size

    @property
    def mask(self) -> int:
        """Cuts a home's number out of a shifted m."""
        return self.homes - 1
