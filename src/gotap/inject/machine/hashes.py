"""Hash maps in machine code: HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH.

A map is an array of buckets, each a list of elements, and a pool of elements. Who changes a bucket holds its lock; who
looks a key up does not, and may be led astray when the element it stands on is deleted and used again: the end of each
list says whose it is, so it notices and begins again (as the kernel's hlist_nulls do). An element is compared by its
hash first, which while it is filled is that of another bucket's key.

As in the kernel's maps without preallocation, an element that was deleted is used again at once, so a program that
still has its address reads what belongs to another key: the generated programs know (gotap.bpf.codegen.tracing).

The pool is a stack, so that the memory in use stays small and warm; each thread keeps one deleted element of each large
map for its next update, which spares two atomic operations. Nothing waits for long: when the holder of a lock stays off
its CPU, an update fails with -EBUSY, and the program counts a loss.
"""

from __future__ import annotations

import errno

from gotap.inject.machine.buckets import insert, lock, places, unlock
from gotap.inject.machine.layout import END, Bucket, Descriptor, Element, Flags, Slot
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
assert (Element.NEXT, Bucket.FIRST) == (0, 0), "a bucket is walked as if it were an element"


class HashCode:
    """Assembles `hash.lookup`, `hash.update` and `hash.delete` for keys of one length, or of any.

    Inside, RDI is the descriptor, RSI the key, R8 its hash, R10 its bucket, R11 where names of elements count from.
    """

    def __init__(self, a: Assembler, words: int = 0) -> None:
        """`words`: of a key, 0: as the descriptor says. The labels of those for one length begin with `hashN.`."""
        self.a = a
        self.words = words

    def name(self, label: str) -> str:
        return f"hash{self.words or ''}.{label}"

    def assemble(self) -> None:
        for part in (self.lookup, self.update, self.delete):
            self.a.align(16)
            part()

    # -- helpers ----------------------------------------------------------------------------------------------------

    def lookup(self) -> None:
        """RAX = address of the value of the key at RSI in the map RDI, or 0."""
        a = self.a
        none, special, shared = a.new_label("none"), a.new_label("special"), a.new_label("shared")
        a.label(self.name("lookup"))
        self.hash()
        places(a)
        self.find(none)
        a.mov(EDX, mem(RDI, Descriptor.VALUE))
        a.test(byte(RDI, Descriptor.FLAGS), Flags.PER_CPU | Flags.EVICTS)
        a.jne(special)
        a.add(RAX, RDX)
        a.ret()
        a.label(special)
        a.test(byte(RDI, Descriptor.FLAGS), Flags.EVICTS)
        a.je(shared)
        a.mov(dword(RAX, Element.USED), 1)
        a.label(shared)
        self.stripe()
        a.add(RAX, RDX)
        a.add(RAX, RCX)
        a.ret()
        a.label(none)
        a.mov(EAX, 0)
        a.ret()

    def update(self) -> None:
        """(RDI map, RSI key, RDX value, RCX mode) → 0 or -EEXIST, -ENOENT, -E2BIG, -EBUSY.

        A value of up to 8 bytes is written over; a longer one comes with a new element, so that nobody sees a half.
        """
        a = self.a
        new, unneeded, busy, absent, full = (
            a.new_label(name) for name in ("new", "unneeded", "busy", "absent", "full"))  # fmt: skip
        a.label(self.name("update"))
        a.mov(slot(Work.VALUE), RDX)
        a.mov(slot(Work.MODE), RCX)
        self.hash()
        places(a)
        a.cmp(ECX, 2)
        a.je(absent)
        a.test(byte(RDI, Descriptor.FLAGS), Flags.PER_CPU)
        a.jne(absent)
        a.cmp(dword(RDI, Descriptor.VALUE_SIZE), 8)
        a.ja(new)
        a.label(absent)  # probably it is not
        self.look_first(new)
        a.label(new)
        a.call("pool.take")
        a.test(RAX, RAX)
        a.je(full)
        a.mov(slot(Work.ELEMENT), RAX)
        self.fill()
        lock(a, busy)
        inserted = a.new_label("insert")
        a.cmp(dword(R10, Bucket.FIRST), 0)
        a.js(inserted)
        self.find(inserted)
        self.replace(unneeded)
        a.label(inserted)
        a.mov(RCX, slot(Work.ELEMENT))
        insert(a)
        unlock(a)
        a.mov(EAX, 0)
        a.ret()
        a.label(unneeded)  # RDX: why the new element is not wanted
        unlock(a)
        a.push(RDX)
        a.mov(RAX, slot(Work.ELEMENT))
        a.call("pool.give")
        a.pop(RAX)
        a.neg(RAX)
        a.ret()
        a.label(busy)
        a.mov(RAX, slot(Work.ELEMENT))
        a.call("pool.give")
        a.jmp("hash.busy")
        a.label(full)  # which does not matter if the key is there
        self.find("hash.full")
        a.cmp(slot(Work.MODE, 8), 1)
        a.je("hash.exists")
        a.jmp(self.name("overwrite"))

    def look_first(self, new: str) -> None:
        """Where the key is likely to be there, or has to be: no element is taken for nothing. Else jumps to `new`."""
        a, absent = self.a, self.a.new_label("absent")
        self.find(absent)
        a.cmp(slot(Work.MODE, 8), 1)
        a.je("hash.exists")
        a.test(byte(RDI, Descriptor.FLAGS), Flags.PER_CPU)
        a.jne(self.name("overwrite"))
        a.cmp(dword(RDI, Descriptor.VALUE_SIZE), 8)
        a.ja(new)
        self.overwrite()
        a.label(absent)
        a.cmp(slot(Work.MODE, 8), 2)
        a.je("hash.missing")

    def overwrite(self) -> None:
        """The key is there and its value is small: it is written in place."""
        a, gone = self.a, self.a.new_label("gone")
        a.label(self.name("overwrite"))
        lock(a, "hash.busy")
        self.find(gone)
        self.own_value()
        self.write_value()
        a.label(gone)  # it has been deleted meanwhile: as if it had been written before
        unlock(a)
        a.mov(EAX, 0)
        a.ret()

    def replace(self, unneeded: str) -> None:
        """RAX is the key's element, RDX the one before it, the bucket is locked: the new one takes its place."""
        a = self.a
        allowed, whole = a.new_label("allowed"), a.new_label("whole")
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
        a, absent = self.a, self.a.new_label("absent")
        a.label(self.name("delete"))
        self.hash()
        places(a)
        a.cmp(dword(R10, Bucket.FIRST), 0)
        a.js("hash.missing")
        lock(a, "hash.busy")
        self.find(absent)
        a.mov(ECX, mem(RAX, Element.NEXT))
        a.mov(dword(RDX, Element.NEXT), ECX)
        unlock(a)
        a.call("pool.give")
        a.mov(EAX, 0)
        a.ret()
        a.label(absent)
        unlock(a)
        a.jmp("hash.missing")

    # -- keys and places --------------------------------------------------------------------------------------------

    def hash(self) -> None:
        """R8 = hash of the key: its CRC-32C, in whole words from the last one on."""
        a = self.a
        a.xor(R8D, R8D)
        if self.words:
            for word in reversed(range(self.words)):
                a.crc32(R8, qword(RSI, 8 * word))
            return
        more = a.new_label("hash")
        a.mov(R9D, mem(RDI, Descriptor.KEY_SIZE))
        a.label(more)
        a.crc32(R8, qword(RSI, -8, R9))
        a.sub(R9D, 8)
        a.ja(more)  # it ends, too, when the map has just been given back

    def find(self, none: str) -> None:
        """RAX = element of the key, RDX = the element (or the bucket) that leads to it; jumps to `none` if there is
        none. Loses RCX, R9."""
        a = self.a
        walk, step, other, same, end = (a.new_label(name) for name in ("walk", "step", "other", "same", "end"))
        found = a.new_label("found")
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
        if self.words:
            for word in range(self.words):
                a.mov(RCX, mem(RSI, 8 * word))
                a.cmp(mem(RAX, Element.KEY + 8 * word), RCX)
                a.jne(other)
        else:
            a.mov(ECX, mem(RDI, Descriptor.KEY_SIZE))
            a.label(same)
            a.mov(R9, mem(RSI, -8, RCX))
            a.cmp(mem(RAX, Element.KEY - 8, RCX), R9)
            a.jne(other)
            a.sub(ECX, 8)
            a.ja(same)
        a.jmp(found)
        a.label(other)
        a.mov(RDX, RAX)
        a.dec(slot(Work.STEPS, 4))
        a.jne(step)
        a.jmp(none)
        a.label(end)
        a.mov(ECX, mem(RDI, Descriptor.MASK))
        a.and_(ECX, R8D)
        a.or_(ECX, END)
        a.cmp(EAX, ECX)
        a.je(none)
        a.dec(slot(Work.STEPS, 4))
        a.jne(walk)
        a.jmp(none)
        a.label(found)

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
        a.mov(dword(RAX, Element.USED), 0)
        if self.words:
            for word in range(self.words):
                a.mov(RCX, mem(RSI, 8 * word))
                a.mov(mem(RAX, Element.KEY + 8 * word), RCX)
        else:
            a.mov(ECX, mem(RDI, Descriptor.KEY_SIZE))
            a.label(more)
            a.mov(RDX, mem(RSI, -8, RCX))
            a.mov(mem(RAX, Element.KEY - 8, RCX), RDX)
            a.sub(ECX, 8)
            a.ja(more)
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


def errors(a: Assembler) -> None:
    """What the routines end with: `hash.busy`, `hash.full`, `hash.exists`, `hash.missing`."""
    for name, number in (("busy", errno.EBUSY), ("full", errno.E2BIG), ("exists", errno.EEXIST),
                         ("missing", errno.ENOENT)):  # fmt: skip
        fail(a, f"hash.{name}", number)
