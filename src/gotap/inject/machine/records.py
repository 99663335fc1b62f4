"""The ring in machine code: several rings, for threads by their stripes, that gotap reads as one.

Records as the kernel's (kernel/bpf/ringbuf.c): a header of 8 bytes, whose first word is the length and the discard bit,
then the bytes, the whole padded to 8. Two things differ. A record never wraps around: what is left at the end becomes a
discarded record. And a header is 0 until its record is complete, which it is because gotap clears what it has read: the
kernel writes a header with a busy bit under a lock, and here there is none.

Each header carries the time, by which gotap puts the records of all rings in order.
"""

from __future__ import annotations

import errno

from gotap.bpf.isa import RingFlags
from gotap.inject.machine.layout import (
    DISCARDED,
    TIME_SHIFT,
    Descriptor,
    Header,
    Record,
    RingState,
    Slot,
)
from gotap.inject.machine.routines import Work, copy, fail, slot
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    EAX,
    ECX,
    EDX,
    ESI,
    R8,
    R9,
    R10,
    R10D,
    R11,
    RAX,
    RCX,
    RDI,
    RDX,
    RSI,
    dword,
    mem,
    qword,
)

#: Tries to move the producer's position, which others move meanwhile.
_TRIES = 1000
_FUTEX, _FUTEX_WAKE = 202, 1


class RingCode:
    """Assembles `ring.reserve`, `ring.submit`, `ring.discard`, `ring.output`, `ring.query`. `region`: its address."""

    def __init__(self, a: Assembler, region: int) -> None:
        self.a = a
        self.region = region

    def assemble(self) -> None:
        for part in (self.reserve, self.submit, self.discard, self.output, self.query, self.wake):
            self.a.align(16)
            part()

    def state(self) -> None:
        """R9 = RingState of this thread's ring, RAX = its number."""
        a = self.a
        a.mov(EAX, slot(Slot.STRIPE))
        a.and_(EAX, mem(RDI, Descriptor.MASK))
        a.mov(R9, RAX)
        a.shl(R9, RingState.SIZE.bit_length() - 1)
        a.add(R9, mem(RDI, Descriptor.STATE))
        a.add(R9, RDI)

    def reserve(self) -> None:
        """(RDI ring, RSI length, RDX flags) → address of so many bytes, or 0 when the ring is full. RSI is kept."""
        a = self.a
        again, fits, room, full, none = (a.new_label(name) for name in ("again", "fits", "room", "full", "none"))
        a.label("ring.reserve")
        a.mov(ESI, ESI)
        a.test(ESI, ESI)
        a.je(none)  # it could not be told from one that is not complete
        self.state()
        a.mov(R11, mem(RDI, Descriptor.END))
        a.mov(R10, RAX)
        a.imul(R10, R11)
        a.add(R10, mem(RDI, Descriptor.VALUES))
        a.add(R10, RDI)  # R10: the ring's data, R11: its length
        a.lea(R8, mem(RSI, 15))
        a.and_(R8, -8)
        a.cmp(R8, R11)
        a.ja(none)
        a.mov(slot(Work.STEPS, 4), _TRIES)
        a.mov(RAX, mem(R9, RingState.PRODUCER))
        a.label(again)
        a.lea(RCX, mem(R11, -1))
        a.and_(RCX, RAX)  # where in the data
        a.mov(RDX, R11)
        a.sub(RDX, RCX)  # what is left behind it
        a.cmp(RDX, R8)
        a.jae(fits)
        a.add(RDX, RAX)
        a.add(RDX, R8)
        a.jmp(room)
        a.label(fits)
        a.lea(RDX, mem(RAX, 0, R8))
        a.label(room)
        a.mov(RDI, RDX)
        a.sub(RDI, mem(R9, RingState.CONSUMER))
        a.cmp(RDI, R11)
        a.ja(none)
        a.lock().cmpxchg(qword(R9, RingState.PRODUCER), RDX)
        a.jne(full)
        a.lea(RAX, mem(R10, 0, RCX))
        a.sub(R11, RCX)
        a.cmp(R11, R8)
        a.jb("ring.pad")
        a.label("ring.reserved")
        a.mov(dword(RAX, Record.TIME), ESI)
        a.add(RAX, Record.SIZE)
        a.ret()
        a.label("ring.pad")  # R11 bytes at RAX are left at the end
        a.sub(R11, Record.SIZE)
        a.or_(R11.sized(4), DISCARDED)
        a.mov(dword(RAX, Record.LENGTH), R11.sized(4))
        a.mov(RAX, R10)
        a.jmp("ring.reserved")
        a.label(full)
        a.dec(slot(Work.STEPS, 4))
        a.jne(again)
        a.label(none)
        a.mov(EAX, 0)
        a.ret()

    def stamp(self) -> None:
        """RAX = header of the record whose length is ECX, complete now. Loses RDX."""
        a = self.a
        a.rdtsc()
        a.shl(RDX, 32)
        a.or_(RAX, RDX)
        a.shl(RAX, 32 - TIME_SHIFT)
        a.shr(RAX, 32)
        a.shl(RAX, 32)
        a.or_(RAX, RCX)

    def submit(self) -> None:
        """(RDI bytes that were reserved, RSI flags)"""
        a = self.a
        a.label("ring.submit")
        a.mov(ECX, mem(RDI, Record.TIME - Record.SIZE))
        self.stamp()
        a.mov(qword(RDI, -Record.SIZE), RAX)
        a.test(ESI, RingFlags.FORCE_WAKEUP)
        a.jne("ring.wake")
        a.mov(EAX, 0)
        a.ret()

    def discard(self) -> None:
        a = self.a
        a.label("ring.discard")
        a.mov(ECX, mem(RDI, Record.TIME - Record.SIZE))
        a.or_(ECX, DISCARDED)
        a.mov(dword(RDI, Record.LENGTH - Record.SIZE), ECX)
        a.test(ESI, RingFlags.FORCE_WAKEUP)
        a.jne("ring.wake")
        a.mov(EAX, 0)
        a.ret()

    def output(self) -> None:
        """(RDI ring, RSI bytes, RDX length, RCX flags) → 0 or -EAGAIN."""
        a, full = self.a, self.a.new_label("full")
        a.label("ring.output")
        a.mov(slot(Work.MODE), RCX)
        a.mov(slot(Work.DATA), RSI)
        a.mov(ESI, EDX)
        a.call("ring.reserve")
        a.test(RAX, RAX)
        a.je(full)
        a.mov(RDI, RAX)
        a.mov(R9, RAX)
        a.mov(ECX, ESI)
        a.mov(R10D, ESI)
        a.mov(RSI, slot(Work.DATA))
        copy(a)
        a.mov(RDI, R9)
        a.mov(ECX, R10D)
        self.stamp()
        a.mov(qword(RDI, -Record.SIZE), RAX)
        a.test(slot(Work.MODE, 1), RingFlags.FORCE_WAKEUP)
        a.jne("ring.wake")
        a.mov(EAX, 0)
        a.ret()
        fail(a, full, errno.EAGAIN)

    def query(self) -> None:
        """(RDI ring, RSI what) → of this thread's ring: 0 bytes waiting, 1 size, 2 and 3 the positions."""
        a = self.a
        size, consumer, producer = a.new_label("size"), a.new_label("consumer"), a.new_label("producer")
        a.label("ring.query")
        self.state()
        a.mov(EAX, 0)
        a.cmp(ESI, 1)
        a.je(size)
        a.cmp(ESI, 2)
        a.je(consumer)
        a.ja(producer)
        a.mov(RAX, mem(R9, RingState.PRODUCER))
        a.sub(RAX, mem(R9, RingState.CONSUMER))
        a.ret()
        a.label(size)
        a.mov(RAX, mem(RDI, Descriptor.END))
        a.ret()
        a.label(consumer)
        a.mov(RAX, mem(R9, RingState.CONSUMER))
        a.ret()
        a.label(producer)
        a.mov(RAX, mem(R9, RingState.PRODUCER))
        a.ret()

    def wake(self) -> None:
        """Wakes gotap if it sleeps, by the system call that Go's own threads wait by: no filter forbids it."""
        a, awake = self.a, self.a.new_label("awake")
        a.label("ring.wake")
        a.mov(RDI, self.region + Header.WAITING)
        a.mov(EAX, 0)
        a.cmp(dword(RDI), 0)
        a.je(awake)
        a.xchg(dword(RDI), EAX)
        a.mov(ESI, _FUTEX_WAKE)
        a.mov(EDX, 1)
        a.mov(EAX, _FUTEX)
        a.syscall()
        a.label(awake)
        a.mov(EAX, 0)
        a.ret()
