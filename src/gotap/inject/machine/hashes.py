"""Hash maps in machine code: HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH.

A map is an array of buckets, each a list of elements, and a pool of elements. Who changes a bucket holds its lock; who
looks a key up does not, and may be led astray when the element it stands on is deleted and used again: the end of each
list says whose it is, so it notices and begins again (as the kernel's hlist_nulls do). An element is compared by its
hash first, which while it is filled is that of another bucket's key.

As in the kernel's maps without preallocation, an element that was deleted is used again at once, so a program that
still has its address reads what belongs to another key: the generated programs know (gotap.bpf.codegen.tracing).

The pool is a stack, so that the memory in use stays small and warm; each thread keeps one deleted element of each large
map for its next update, which spares two atomic operations. Nothing waits for long: a lock whose holder has been taken
off its CPU makes an update fail with -EBUSY, and the program counts a loss.
"""

from __future__ import annotations

import errno

from gotap.inject.machine.layout import END, Bucket, Descriptor, Element, Flags, Slot, State
from gotap.inject.machine.routines import Work, copy, fail, slot
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
)

#: Elements that are walked at most, restarts included: lists are that long only if the target has destroyed them.
_WALK = 1 << 16
#: Looks at a lock before giving up: at that of a thread (100 to 300 µs), and at gotap's, which may have died with it.
_LOOKS, _LOOKS_AT_GOTAPS = 4000, 100
#: Tries to change what others change meanwhile.
_TRIES = 1000
#: Elements that eviction looks at.
_CANDIDATES = 128
#: 2³² / golden ratio: steps of that size visit all parts of a range evenly.
_GOLDEN = 0x9E3779B9

assert (Element.NEXT, Bucket.FIRST) == (0, 0), "a bucket is walked as if it were an element"


class HashCode:
    """Assembles `hash.lookup`, `hash.update` and `hash.delete`.

    Inside, RDI is the descriptor, RSI the key, R8 its hash, R10 its bucket, R11 where names of elements count from.
    """

    def __init__(self, a: Assembler) -> None:
        self.a = a

    def assemble(self) -> None:
        for part in (self.lookup, self.update, self.delete, self.find, self.take, self.give, self.evict):
            self.a.align(16)
            part()

    # -- helpers ----------------------------------------------------------------------------------------------------

    def lookup(self) -> None:
        """RAX = address of the value of the key at RSI in the map RDI, or 0."""
        a = self.a
        none, plain, found = a.new_label("none"), a.new_label("plain"), a.new_label("found")
        a.label("hash.lookup")
        self.hash()
        self.places()
        a.call("hash.find")
        a.test(RAX, RAX)
        a.je(none)
        a.mov(EDX, mem(RDI, Descriptor.VALUE))
        a.test(byte(RDI, Descriptor.FLAGS), Flags.PER_CPU | Flags.EVICTS)
        a.je(found)
        a.test(byte(RDI, Descriptor.FLAGS), Flags.EVICTS)
        a.je(plain)
        a.mov(dword(RAX, Element.USED), 1)
        a.label(plain)
        self.stripe()
        a.add(RAX, RCX)
        a.label(found)
        a.add(RAX, RDX)
        a.label(none)
        a.ret()

    def update(self) -> None:
        """(RDI map, RSI key, RDX value, RCX mode) → 0 or -EEXIST, -ENOENT, -E2BIG, -EBUSY.

        A value of up to 8 bytes is written over; a longer one comes with a new element, so that nobody sees a half.
        """
        a = self.a
        absent, new, unneeded = a.new_label("absent"), a.new_label("new"), a.new_label("unneeded")
        exists, missing, full, busy = (a.new_label(name) for name in ("exists", "missing", "full", "busy"))
        a.label("hash.update")
        a.mov(slot(Work.VALUE), RDX)
        a.mov(slot(Work.MODE), RCX)
        self.hash()
        self.places()
        a.call("hash.find")
        a.test(RAX, RAX)
        a.je(absent)
        a.cmp(slot(Work.MODE, 8), 1)
        a.je(exists)
        a.test(byte(RDI, Descriptor.FLAGS), Flags.PER_CPU)
        a.jne("hash.overwrite")
        a.cmp(dword(RDI, Descriptor.VALUE_SIZE), 8)
        a.jbe("hash.overwrite")
        a.label(new)
        a.call("hash.take")
        a.test(RAX, RAX)
        a.je(full)
        a.mov(slot(Work.ELEMENT), RAX)
        self.fill()
        self.lock(busy)
        a.call("hash.find")
        a.test(RAX, RAX)
        a.jne("hash.replace")
        a.cmp(slot(Work.MODE, 8), 2)
        a.je(missing)
        a.mov(RCX, slot(Work.ELEMENT))
        self.insert()
        self.unlock()
        a.mov(EAX, 0)
        a.ret()
        self.overwrite(busy)
        self.replace(unneeded)
        a.label(missing)
        a.mov(EDX, errno.ENOENT)
        a.label(unneeded)  # RDX: why the new element is not wanted
        self.unlock()
        a.push(RDX)
        a.mov(RAX, slot(Work.ELEMENT))
        a.call("hash.give")
        a.pop(RAX)
        a.neg(RAX)
        a.ret()
        a.label(busy)
        a.mov(RAX, slot(Work.ELEMENT))
        a.call("hash.give")
        fail(a, "hash.busy", errno.EBUSY)
        a.label(full)
        fail(a, "hash.full", errno.E2BIG)
        fail(a, exists, errno.EEXIST)
        a.label(absent)
        a.cmp(slot(Work.MODE, 8), 2)
        a.jne(new)
        fail(a, "hash.missing", errno.ENOENT)

    def overwrite(self, busy: str) -> None:
        """The key is there and its value is small: it is written in place."""
        a = self.a
        gone = a.new_label("gone")
        a.label("hash.overwrite")
        a.mov(slot(Work.ELEMENT, 8), 0)
        self.lock(busy)
        a.call("hash.find")
        a.test(RAX, RAX)
        a.je(gone)
        self.own_value()
        self.write_value()
        self.unlock()
        a.mov(EAX, 0)
        a.ret()
        a.label(gone)  # it has been deleted meanwhile: as if it had been written before
        self.unlock()
        a.mov(EAX, 0)
        a.ret()

    def replace(self, unneeded: str) -> None:
        """RAX is the key's element, RDX the one before it, the bucket is locked: the new one takes its place."""
        a = self.a
        allowed, whole = a.new_label("allowed"), a.new_label("whole")
        a.label("hash.replace")
        a.cmp(slot(Work.MODE, 8), 1)
        a.jne(allowed)
        a.mov(EDX, errno.EEXIST)
        a.jmp(unneeded)
        a.label(allowed)
        a.test(byte(RDI, Descriptor.FLAGS), Flags.PER_CPU)
        a.je(whole)
        self.own_value()  # the other stripes' values stay
        self.write_value()
        a.mov(EDX, 0)
        a.jmp(unneeded)
        a.label(whole)
        a.mov(RCX, slot(Work.ELEMENT))
        a.mov(slot(Work.ELEMENT), RAX)  # the old one is the one to give back
        a.mov(R9D, mem(RAX, Element.NEXT))
        a.mov(dword(RCX, Element.NEXT), R9D)
        a.sub(RCX, R11)
        a.shr(RCX, 3)
        a.mov(dword(RDX, Element.NEXT), ECX)  # one store: readers find the old one or the new one
        a.mov(EDX, 0)
        a.jmp(unneeded)

    def delete(self) -> None:
        """(RDI map, RSI key) → 0 or -ENOENT, -EBUSY."""
        a = self.a
        none, absent, busy = a.new_label("none"), a.new_label("absent"), a.new_label("busy")
        a.label("hash.delete")
        self.hash()
        self.places()
        a.cmp(dword(R10, Bucket.FIRST), 0)
        a.js(none)
        self.lock(busy)
        a.call("hash.find")
        a.test(RAX, RAX)
        a.je(absent)
        a.mov(ECX, mem(RAX, Element.NEXT))
        a.mov(dword(RDX, Element.NEXT), ECX)
        self.unlock()
        a.call("hash.give")
        a.mov(EAX, 0)
        a.ret()
        a.label(absent)
        self.unlock()
        fail(a, none, errno.ENOENT)
        fail(a, busy, errno.EBUSY)

    # -- keys and places --------------------------------------------------------------------------------------------

    def hash(self) -> None:
        """R8 = hash of the key: its CRC-32C, in whole words. Loses RCX."""
        a, more = self.a, self.a.new_label("hash")
        a.mov(ECX, mem(RDI, Descriptor.KEY_SIZE))
        a.mov(R8D, 0)
        a.label(more)
        a.crc32(R8, qword(RSI, -8, RCX))
        a.sub(ECX, 8)
        a.jne(more)

    def places(self) -> None:
        """R10 = the bucket of the hash R8, R11 = what names of elements count from. Loses RCX."""
        a = self.a
        a.mov(ECX, mem(RDI, Descriptor.MASK))
        a.and_(ECX, R8D)
        a.mov(R10, mem(RDI, Descriptor.BUCKETS))
        a.add(R10, RDI)
        a.lea(R10, mem(R10, 0, RCX, 8))
        a.mov(R11, mem(RDI, Descriptor.VALUES))
        a.add(R11, RDI)

    def find(self) -> None:
        """RAX = element of the key, or 0; RDX = the element (or the bucket) that leads to it. Loses RCX, R9."""
        a = self.a
        walk, step, other, same, end, lost, again = (
            a.new_label(name) for name in ("walk", "step", "other", "same", "end", "lost", "again"))  # fmt: skip
        a.label("hash.find")
        a.mov(slot(Work.STEPS, 4), _WALK)
        a.label(walk)
        a.mov(RDX, R10)
        a.label(step)
        a.mov(EAX, mem(RDX, Element.NEXT))
        a.cmp(RAX, mem(RDI, Descriptor.END))
        a.jae(end)
        a.lea(RAX, mem(R11, 0, RAX, 8))
        a.cmp(mem(RAX, Element.HASH), R8D)
        a.jne(other)
        a.mov(ECX, mem(RDI, Descriptor.KEY_SIZE))
        a.label(same)
        a.mov(R9, mem(RSI, -8, RCX))
        a.cmp(mem(RAX, Element.KEY - 8, RCX), R9)
        a.jne(other)
        a.sub(ECX, 8)
        a.jne(same)
        a.ret()
        a.label(other)
        a.mov(RDX, RAX)
        a.dec(slot(Work.STEPS, 4))
        a.jne(step)
        a.jmp(lost)
        a.label(end)
        a.mov(ECX, mem(RDI, Descriptor.MASK))
        a.and_(ECX, R8D)
        a.or_(ECX, END)
        a.cmp(EAX, ECX)
        a.je(lost)
        a.label(again)
        a.dec(slot(Work.STEPS, 4))
        a.jne(walk)
        a.label(lost)
        a.mov(EAX, 0)
        a.ret()

    def stripe(self) -> None:
        """RCX = offset of this thread's stripe in a value."""
        self.a.mov(ECX, mem(RDI, Descriptor.STRIPE))
        self.a.imul(ECX, slot(Slot.STRIPE))

    def own_value(self) -> None:
        """RAX = address of this thread's value of the element RAX; RCX = bytes of it."""
        a = self.a
        a.mov(EDX, mem(RDI, Descriptor.VALUE))
        self.stripe()
        a.add(RAX, RDX)
        a.add(RAX, RCX)
        a.mov(ECX, mem(RDI, Descriptor.VALUE_SIZE))

    def write_value(self) -> None:
        """The RCX bytes at RAX become those at VALUE. Loses RAX, RCX."""
        a = self.a
        a.push(RDI)
        a.push(RSI)
        a.mov(RDI, RAX)
        a.mov(RSI, slot(Work.VALUE))
        copy(a)
        a.pop(RSI)
        a.pop(RDI)

    def fill(self) -> None:
        """The new element gets key, value and hash. Nobody else has it, but readers that were led astray may look: they
        do not find the key before all is there."""
        a = self.a
        more, plain = a.new_label("key"), a.new_label("plain")
        a.mov(ECX, R8D)
        a.not_(ECX)
        a.mov(dword(RAX, Element.HASH), ECX)
        a.mov(dword(RAX, Element.USED), 1)
        a.mov(ECX, mem(RDI, Descriptor.KEY_SIZE))
        a.label(more)
        a.mov(RDX, mem(RSI, -8, RCX))
        a.mov(mem(RAX, Element.KEY - 8, RCX), RDX)
        a.sub(ECX, 8)
        a.jne(more)
        a.test(byte(RDI, Descriptor.FLAGS), Flags.PER_CPU)
        a.je(plain)
        a.mov(R9, RDI)
        a.mov(RDX, RAX)
        a.mov(ECX, mem(RDI, Descriptor.STRIPE))  # all stripes' values become zeros
        a.mov(EAX, mem(RDI, Descriptor.VALUE))
        a.lea(RDI, mem(RDX, 0, RAX))
        a.mov(EAX, 0)
        a.rep_stosq()  # 8 stripes: as many words as a stripe has bytes
        a.mov(RDI, R9)
        a.mov(RAX, RDX)
        a.label(plain)
        self.own_value()
        self.write_value()
        a.mov(RAX, slot(Work.ELEMENT))
        a.mov(dword(RAX, Element.HASH), R8D)

    # -- buckets ----------------------------------------------------------------------------------------------------

    def lock(self, busy: str) -> None:
        """Locks the bucket R10, or jumps to `busy`. Loses RAX, RCX, RDX."""
        a = self.a
        again, locked, wait, look = (a.new_label(name) for name in ("lock", "locked", "wait", "look"))
        a.mov(ECX, slot(Slot.LOCK))
        a.mov(EDX, _LOOKS)
        a.label(again)
        a.mov(EAX, 0)
        a.lock().cmpxchg(dword(R10, Bucket.LOCK), ECX)
        a.je(locked)
        a.cmp(EAX, 2)
        a.jne(look)
        a.cmp(EDX, _LOOKS_AT_GOTAPS)
        a.jbe(look)
        a.mov(EDX, _LOOKS_AT_GOTAPS)
        a.label(look)
        a.label(wait)
        a.dec(EDX)
        a.je(busy)
        a.pause()
        a.cmp(dword(R10, Bucket.LOCK), 0)
        a.jne(wait)
        a.jmp(again)
        a.label(locked)

    def unlock(self) -> None:
        self.a.mov(dword(R10, Bucket.LOCK), 0)

    def insert(self) -> None:
        """The element RCX becomes the bucket's first one. Loses RAX, RCX."""
        a = self.a
        a.mov(EAX, mem(R10, Bucket.FIRST))
        a.mov(dword(RCX, Element.NEXT), EAX)
        a.sub(RCX, R11)
        a.shr(RCX, 3)
        a.mov(dword(R10, Bucket.FIRST), ECX)

    # -- the pool ---------------------------------------------------------------------------------------------------

    def take(self) -> None:
        """RAX = an element that is nobody's, or 0. Loses RCX, RDX, R9."""
        a = self.a
        pool, retry, pop, got, fresh, none = (
            a.new_label(name) for name in ("pool", "retry", "pop", "got", "fresh", "none"))  # fmt: skip
        a.label("hash.take")
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
        a.jne("hash.evict")
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
        a.label("hash.give")
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
        """RAX = an element that has not been used lately, taken out of its bucket, or 0."""
        a = self.a
        following, chosen, none, drop, found, walk = (
            a.new_label(name) for name in ("following", "chosen", "none", "drop", "found", "walk"))  # fmt: skip
        a.label("hash.evict")
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
        a.jmp(following)
        a.label(chosen)
        a.mov(R8D, mem(RDX, Element.HASH))
        self.places()
        a.mov(ECX, slot(Slot.LOCK))
        a.mov(EAX, 0)
        a.lock().cmpxchg(dword(R10, Bucket.LOCK), ECX)
        a.jne(following)
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
        self.unlock()
        a.jmp(following)
        a.label(found)
        a.lea(RAX, mem(R11, 0, RAX, 8))
        a.mov(ECX, mem(RAX, Element.NEXT))
        a.mov(dword(RDX, Element.NEXT), ECX)
        self.unlock()
        for register in (R10, R8, RSI):
            a.pop(register)
        a.ret()
        a.label(none)
        for register in (R10, R8, RSI):
            a.pop(register)
        a.mov(EAX, 0)
        a.ret()
