"""Buckets of hashes: where they are, and their locks.

As in `hashes`, RDI is the descriptor, R8 a key's hash, R10 its bucket, R11 where names of elements count from.

A lock is held for some twenty instructions, unless its holder is taken off its CPU there. Who finds it held looks for a
while, then lets others have the CPU, then sleeps, by the calls that Go's own locks do that with (runtime·osyield and
runtime·usleep, runtime/sys_linux_amd64.s, Go 1.18 to 1.27, so that no seccomp filter forbids them); and gives up after
some 40 ms. What gotap holds is not slept for: it may have died with it.
"""

from __future__ import annotations

from gotap.inject.machine.layout import Bucket, Descriptor, Element, Slot
from gotap.inject.machine.routines import Work, slot
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import EAX, ECX, EDX, ESI, R8D, R9, R9D, R10, R11, RCX, RDI, RSI, dword, mem

#: Looks at a lock before the CPU is given away, how often that is done, then how often (ns) a thread sleeps.
_LOOKS, _YIELDS, _NAPS, _NAP = 200, 10, 400, 50_000
_SCHED_YIELD, _NANOSLEEP = 24, 35
_GOTAPS = 2


def places(a: Assembler) -> None:
    """R10 = the bucket of the hash R8, R11 = what names of elements count from. Loses R9."""
    a.mov(R9D, mem(RDI, Descriptor.MASK))
    a.and_(R9D, R8D)
    a.mov(R10, mem(RDI, Descriptor.BUCKETS))
    a.mov(R11, mem(RDI, Descriptor.VALUES))
    a.add(R10, RDI)
    a.add(R11, RDI)
    a.lea(R10, mem(R10, 0, R9, 8))


def lock(a: Assembler, busy: str) -> None:
    """Locks the bucket R10, or jumps to `busy`. Loses RAX, RCX, RDX, R9."""
    locked = a.new_label("locked")
    a.mov(ECX, slot(Slot.LOCK))
    a.mov(EAX, 0)
    a.lock().cmpxchg(dword(R10, Bucket.LOCK), ECX)
    a.je(locked)
    a.call("bucket.wait")
    a.test(EAX, EAX)
    a.jne(busy)
    a.label(locked)


def unlock(a: Assembler) -> None:
    a.mov(dword(R10, Bucket.LOCK), 0)


def insert(a: Assembler) -> None:
    """The element RCX becomes the first of the bucket, which is locked. Loses RAX, RCX."""
    a.mov(EAX, mem(R10, Bucket.FIRST))
    a.mov(dword(RCX, Element.NEXT), EAX)
    a.sub(RCX, R11)
    a.shr(RCX, 3)
    a.mov(dword(R10, Bucket.FIRST), ECX)


def wait(a: Assembler) -> None:
    """`bucket.wait`: EAX = 0: the bucket R10 is locked for us now. ECX is what to lock it with; loses RDX, R9."""
    again, look, held, call, ended = (a.new_label(name) for name in ("again", "look", "held", "call", "ended"))
    a.align(16)
    a.label("bucket.wait")
    a.mov(slot(Work.STEPS, 4), _YIELDS + _NAPS)
    a.label(again)
    a.mov(EDX, _LOOKS)
    a.label(look)
    a.pause()
    a.cmp(dword(R10, Bucket.LOCK), 0)
    a.jne(held)
    a.mov(EAX, 0)
    a.lock().cmpxchg(dword(R10, Bucket.LOCK), ECX)
    a.je(ended)
    a.label(held)
    a.dec(EDX)
    a.jne(look)
    for register in (RDI, RSI, RCX, R11):  # system calls lose the last two
        a.push(register)
    a.mov(EAX, _SCHED_YIELD)
    a.cmp(slot(Work.STEPS, 4), _NAPS)
    a.ja(call)
    a.mov(EAX, mem(R10, Bucket.LOCK))
    a.sub(EAX, _GOTAPS)
    a.mov(EDX, EAX)
    a.mov(slot(Work.TIME, 8), 0)
    a.mov(slot(Work.TIME + 8, 8), _NAP)
    a.lea(RDI, slot(Work.TIME))
    a.xor(ESI, ESI)
    a.mov(EAX, _NANOSLEEP)
    a.test(EDX, EDX)
    a.jne(call)
    a.mov(slot(Work.STEPS, 4), 1)
    a.mov(EAX, _SCHED_YIELD)
    a.label(call)
    a.syscall()
    for register in (R11, RCX, RSI, RDI):
        a.pop(register)
    a.dec(slot(Work.STEPS, 4))
    a.jne(again)
    a.mov(EAX, 1)
    a.label(ended)
    a.ret()
