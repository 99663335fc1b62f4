"""Threads and their slots, loops and tail calls, in machine code.

A thread is known by its FS base, which is its own as long as it lives, whether Go or a C library set it. Its slot is
the one that a hash of it leads to, or one of the following. A slot is claimed by one atomic operation and keeps its
owner: a new thread with a dead one's FS base takes over its slot. When slots run short gotap frees those of dead
threads, while the target is stopped (gotap.inject.machine.slots).
"""

from __future__ import annotations

import errno

from gotap.inject.machine.layout import STRIPES, Descriptor, Header, Slot
from gotap.inject.machine.routines import fail
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    EAX,
    ECX,
    EDI,
    EDX,
    R9,
    R12,
    R12D,
    R13,
    R13D,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    byte,
    dword,
    mem,
    qword,
    rip,
)

#: Of the FS base; odd, so that no bit of it is lost. The slot's number are bits of the product from SLOT_SHIFT on.
_MULTIPLIER = 0x5851F42D
_SHIFT = 17
_SLOT_SHIFT = Slot.SIZE.bit_length() - 1
#: Rounds of bpf_loop (include/linux/bpf_verifier.h, BPF_MAX_LOOPS, Linux 5.17 to 6.18).
_MOST_ROUNDS = 1 << 23


class SlotFinder:
    """What a hook begins with: R12 becomes the running thread's slot, which is busy from then on.

    R13 and the flags are lost; no stack is used. The hook ends by a 0 in Slot.BUSY, when it has done with the slot.
    """

    def __init__(self, a: Assembler, region: int, slots: int, count: int) -> None:
        """`region`: where the region is in the target; `slots`, `count`: offset of the slots in it, how many there are
        (Header.SLOTS, SLOT_COUNT)."""
        self.a = a
        self.region = region
        self.slots = region + slots
        self.count = count
        self._names = {name: a.new_label(name) for name in ("slots", "end", "claimed", "mine", "slow", "claim")}

    def find(self, busy: str, lost: str) -> None:
        """Jumps to `busy` when the slot is busy already, as a signal handler finds it that has interrupted a hook; to
        `lost` when all slots have other owners. Both should count it: see `count_drop`.
        """
        a, names = self.a, self._names
        self.lost = lost
        a.rdfsbase(R13)
        a.imul(R12, R13, _MULTIPLIER)
        a.shr(R12, _SHIFT)
        a.and_(R12D, (self.count - 1) << _SLOT_SHIFT)
        a.add(R12, rip(names["slots"]))
        a.cmp(mem(R12, Slot.OWNER), R13)
        a.jne(names["slow"])
        a.label(names["mine"])
        a.cmp(byte(R12, Slot.BUSY), 0)
        a.jne(busy)
        a.mov(byte(R12, Slot.BUSY), 1)

    def out_of_line(self) -> None:
        """The rest, to be placed where nothing runs into it: a thread's first hits, and constants."""
        a, names = self.a, self._names
        again = a.new_label("again")
        a.label(names["slow"])
        self._probe()
        a.mov(R12, rip(names["slots"]))
        a.label(again)
        self._probe()
        a.jmp(self.lost)
        a.label(names["claim"])
        a.mov(mem(R12, Slot.OWNER), R13)
        a.mov(R13, rip(names["claimed"]))
        a.lock().inc(dword(R13))
        a.mov(R13D, mem(R13))
        a.and_(R13D, STRIPES - 1)
        a.mov(mem(R12, Slot.STRIPE), R13D)
        a.jmp(names["mine"])
        a.align(8)
        for name, value in (("slots", self.slots), ("end", self.slots + self.count * Slot.SIZE),
                            ("claimed", self.region + Header.CLAIMED)):  # fmt: skip
            a.label(names[name])
            a.quad(value)

    def _probe(self) -> None:
        """From R12 to the last slot: the thread's own or the first that is free."""
        a, names, step = self.a, self._names, self.a.new_label("step")
        a.label(step)
        a.cmp(mem(R12, Slot.OWNER), R13)
        a.je(names["mine"])
        a.lock().bts(dword(R12, Slot.CLAIM), 0)
        a.jae(names["claim"])  # no carry: the bit was clear
        a.add(R12, Slot.SIZE)
        a.cmp(R12, rip(names["end"]))
        a.jb(step)

    def count_drop(self, counter: Header) -> None:
        """Counts a hit that no program sees: Header.BUSY or NO_SLOT. Loses R13 and the flags."""
        self.a.mov(R13, self.region + counter)
        self.a.lock().inc(qword(R13))


class CallCode:
    """Assembles `loop`, `tail_call` and `host.call`."""

    def __init__(self, a: Assembler, slot: int) -> None:
        """`slot`: address of gotap's own slot."""
        self.a = a
        self.slot = slot

    def assemble(self) -> None:
        for part in (self.loop, self.tail_call, self.host_call):
            self.a.align(16)
            part()

    def loop(self) -> None:
        """(RDI rounds, RSI callback, RDX its context, RCX flags) → rounds made, or -E2BIG, -EINVAL.

        The callback gets (RDI number of the round, RSI context), RBP as it is here; it ends the loop unless it returns
        0.
        """
        a = self.a
        again, ended, long, invalid = (a.new_label(name) for name in ("round", "ended", "long", "invalid"))
        a.label("loop")
        a.test(ECX, ECX)
        a.jne(invalid)
        a.mov(EDI, EDI)
        a.cmp(RDI, _MOST_ROUNDS)
        a.ja(long)
        saved = (RBX, R13, R14, R15, RBP)
        for register in saved:
            a.push(register)
        for register in (RDI, RSI, RDX):
            a.push(register)
        a.push(0)  # [RSP] round, context, callback, rounds
        a.label(again)
        a.mov(RDI, mem(RSP))
        a.cmp(RDI, mem(RSP, 24))
        a.jae(ended)
        a.mov(RBP, mem(RSP, 32))
        a.mov(RSI, mem(RSP, 8))
        a.call(qword(RSP, 16))
        a.inc(qword(RSP))
        a.test(RAX, RAX)
        a.je(again)
        a.label(ended)
        a.pop(RAX)
        a.add(RSP, 24)
        for register in reversed(saved):
            a.pop(register)
        a.ret()
        fail(a, long, errno.E2BIG)
        fail(a, invalid, errno.EINVAL)

    def tail_call(self) -> None:
        """(RDI context, RSI map, RDX index) → address of the program to go on with, or 0. Who calls jumps there itself,
        with its own frame gone. RDI is kept."""
        a, none = self.a, self.a.new_label("none")
        a.label("tail_call")
        a.mov(EAX, 0)
        a.cmp(EDX, mem(RSI, Descriptor.MAX_ENTRIES))
        a.jae(none)
        a.mov(ECX, EDX)
        a.mov(RDX, mem(RSI, Descriptor.VALUES))
        a.add(RDX, RSI)
        a.mov(RAX, mem(RDX, 0, RCX, 8))
        a.label(none)
        a.ret()

    def host_call(self) -> None:
        """(RDI, RSI, RDX, RCX, R8, R9 routine): runs a routine or a program on gotap's slot, as a C function."""
        a = self.a
        saved = (RBX, RBP, R12, R13, R14, R15)
        a.label("host.call")
        for register in saved:
            a.push(register)
        a.mov(R12, self.slot)
        a.call(R9)
        for register in reversed(saved):
            a.pop(register)
        a.ret()
