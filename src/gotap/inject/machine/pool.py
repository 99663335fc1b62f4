"""The elements of a hash that no key has: a stack, the memory behind it, and what eviction frees.

Labels: `pool.take`, `pool.give`. As in `hashes`, RDI is the descriptor, RSI the key, R8 its hash, R10 its bucket, R11
where names of elements count from.
"""

from __future__ import annotations

from gotap.inject.machine.buckets import places, unlock
from gotap.inject.machine.layout import Bucket, Descriptor, Element, Flags, Slot, State
from gotap.inject.machine.routines import Work, slot
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    EAX,
    ECX,
    EDX,
    R8,
    R8D,
    R9,
    R9D,
    R10,
    R11,
    R12,
    RAX,
    RCX,
    RDI,
    RDX,
    RSI,
    byte,
    dword,
    mem,
    qword,
)  # fmt: skip

#: Tries to change what others change meanwhile.
_TRIES = 1000
#: Elements that eviction looks at.
_CANDIDATES = 128
#: 2³² / golden ratio: steps of that size visit all parts of a range evenly.
_GOLDEN = 0x9E3779B9


class PoolCode:
    """Assembles the routines."""

    def __init__(self, a: Assembler) -> None:
        self.a = a

    def assemble(self) -> None:
        for part in (self.take, self.give, self.evict):
            self.a.align(16)
            part()

    def take(self) -> None:
        """RAX = an element that is nobody's, or 0. Loses RCX, RDX, R9."""
        a = self.a
        pool, retry, pop, got, fresh, none = (
            a.new_label(name) for name in ("pool", "retry", "pop", "got", "fresh", "none"))  # fmt: skip
        a.label("pool.take")
        a.mov(ECX, mem(RDI, Descriptor.ELEMENT))
        a.test(ECX, ECX)
        a.je(pool)
        a.mov(EAX, mem(R12, 0, RCX))
        a.mov(dword(R12, 0, RCX), 0)
        a.test(EAX, EAX)
        a.jne(got)
        a.label(pool)
        a.mov(R9, mem(RDI, Descriptor.STATE))
        a.add(R9, RDI)
        a.mov(slot(Work.STEPS, 4), _TRIES)
        a.mov(RAX, mem(R9, State.FREE))
        a.label(pop)
        a.mov(ECX, EAX)
        a.test(ECX, ECX)
        a.je(fresh)
        a.cmp(RCX, mem(RDI, Descriptor.END))
        a.jae(none)
        a.mov(EDX, mem(R11, Element.LINK, RCX, 8))
        self.count_change()
        a.lock().cmpxchg(qword(R9, State.FREE), RDX)
        a.je(got)
        a.dec(slot(Work.STEPS, 4))
        a.jne(pop)
        a.jmp(none)
        a.label(fresh)
        a.mov(RAX, mem(R9, State.FRESH))
        a.label(retry)
        a.mov(EDX, mem(RDI, Descriptor.STRIDE))
        a.add(RDX, RAX)
        a.cmp(RDX, mem(R9, State.LIMIT))
        a.ja(none)
        a.cmp(RDX, mem(RDI, Descriptor.END))
        a.ja(none)
        a.lock().cmpxchg(qword(R9, State.FRESH), RDX)
        a.je(got)
        a.dec(slot(Work.STEPS, 4))
        a.jne(retry)
        a.label(none)
        a.test(byte(RDI, Descriptor.FLAGS), Flags.EVICTS)
        a.jne("pool.evict")
        a.mov(EAX, 0)
        a.ret()
        a.label(got)
        a.mov(EAX, EAX)
        a.cmp(RAX, mem(RDI, Descriptor.END))
        a.jae(none)
        a.lea(RAX, mem(R11, 0, RAX, 8))
        a.ret()

    def count_change(self) -> None:
        """RDX's upper half = that of RAX, plus 1. Loses RCX."""
        a = self.a
        a.mov(RCX, RAX)
        a.shr(RCX, 32)
        a.inc(ECX)
        a.shl(RCX, 32)
        a.or_(RDX, RCX)

    def give(self) -> None:
        """The element RAX, nobody's any more, goes back; 0 does not. Loses all but RDI, R8, R10, R11."""
        a = self.a
        pool, push, nothing = a.new_label("pool"), a.new_label("push"), a.new_label("nothing")
        a.label("pool.give")
        a.test(RAX, RAX)
        a.je(nothing)
        a.sub(RAX, R11)
        a.shr(RAX, 3)
        a.mov(ECX, mem(RDI, Descriptor.ELEMENT))
        a.test(ECX, ECX)
        a.je(pool)
        a.cmp(dword(R12, 0, RCX), 0)
        a.jne(pool)
        a.mov(dword(R12, 0, RCX), EAX)
        a.ret()
        a.label(pool)
        a.mov(RSI, RAX)
        a.mov(R9, mem(RDI, Descriptor.STATE))
        a.add(R9, RDI)
        a.mov(slot(Work.STEPS, 4), _TRIES)
        a.mov(RAX, mem(R9, State.FREE))
        a.label(push)
        a.mov(dword(R11, Element.LINK, RSI, 8), EAX)
        a.mov(RDX, RSI)
        self.count_change()
        a.lock().cmpxchg(qword(R9, State.FREE), RDX)
        a.je(nothing)
        a.dec(slot(Work.STEPS, 4))
        a.jne(push)
        a.label(nothing)
        a.ret()

    def evict(self) -> None:
        """RAX = an element that has not been looked up lately, taken out of its bucket, or 0."""
        a = self.a
        following, chosen, none, done = (a.new_label(name) for name in ("following", "chosen", "none", "done"))
        a.label("pool.evict")
        for register in (RSI, R8, R10):
            a.push(register)
        a.mov(slot(Work.STEPS, 4), _CANDIDATES)
        a.label(following)
        a.dec(slot(Work.STEPS, 4))
        a.je(none)
        a.mov(R9, mem(RDI, Descriptor.STATE))
        a.add(R9, RDI)
        a.mov(EAX, _GOLDEN)
        a.lock().xadd(dword(R9, State.HAND), EAX)
        a.mov(ECX, mem(RDI, Descriptor.MAX_ENTRIES))
        a.imul(RAX, RCX)
        a.shr(RAX, 32)
        a.mov(ECX, mem(RDI, Descriptor.STRIDE))
        a.imul(RAX, RCX)
        a.add(RAX, RCX)  # the first element's name is its length
        a.cmp(RAX, mem(R9, State.FRESH))
        a.jae(following)
        a.cmp(RAX, mem(RDI, Descriptor.END))
        a.jae(following)
        a.mov(RSI, RAX)
        a.lea(RDX, mem(R11, 0, RAX, 8))
        a.cmp(dword(RDX, Element.USED), 0)
        a.je(chosen)
        a.mov(dword(RDX, Element.USED), 0)
        a.cmp(slot(Work.STEPS, 4), _CANDIDATES // 2)
        a.ja(following)  # else nearly all have been used: any will do
        a.label(chosen)
        self.unlink(following)
        a.jmp(done)
        a.label(none)
        a.mov(EAX, 0)
        a.label(done)
        for register in (R10, R8, RSI):
            a.pop(register)
        a.ret()

    def unlink(self, other: str) -> None:
        """RAX = the element RDX, whose name is RSI, out of its bucket; jumps to `other` if it is in none, or the bucket
        is locked."""
        a = self.a
        drop, found, walk = (a.new_label(name) for name in ("drop", "found", "walk"))
        a.mov(R8D, mem(RDX, Element.HASH))
        places(a)
        a.mov(ECX, slot(Slot.LOCK))
        a.mov(EAX, 0)
        a.lock().cmpxchg(dword(R10, Bucket.LOCK), ECX)
        a.jne(other)
        a.mov(RDX, R10)
        a.mov(R9D, _CANDIDATES)
        a.label(walk)
        a.mov(EAX, mem(RDX, Element.NEXT))
        a.cmp(RAX, RSI)
        a.je(found)
        a.cmp(RAX, mem(RDI, Descriptor.END))
        a.jae(drop)
        a.lea(RDX, mem(R11, 0, RAX, 8))
        a.dec(R9D)
        a.jne(walk)
        a.label(drop)
        unlock(a)
        a.jmp(other)
        a.label(found)
        a.lea(RAX, mem(R11, 0, RAX, 8))
        a.mov(ECX, mem(RAX, Element.NEXT))
        a.mov(dword(RDX, Element.NEXT), ECX)
        unlock(a)
