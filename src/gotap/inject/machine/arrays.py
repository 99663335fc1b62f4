"""Maps in machine code as programs call them: arrays are dealt with here, hashes passed on."""

from __future__ import annotations

import errno

from gotap.inject.machine.layout import STRIPES, Descriptor, Flags, Slot
from gotap.inject.machine.routines import copy, fail, slot
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import EAX, ECX, EDX, R8, R8D, R9, RAX, RCX, RDI, RDX, RSI, byte, mem


class MapCode:
    """Assembles `map.lookup`, `map.update`, `map.delete`, `map.lookup_percpu`."""

    def __init__(self, a: Assembler) -> None:
        self.a = a

    def assemble(self) -> None:
        for part in (self.lookup, self.update, self.delete, self.lookup_percpu):
            self.a.align(16)
            part()

    def value(self, none: str, stripe: bool = True) -> None:
        """RAX = address of the value by the index at RSI; jumps to `none` if there is none. Loses RCX."""
        a = self.a
        a.mov(ECX, mem(RSI))
        a.cmp(ECX, mem(RDI, Descriptor.MAX_ENTRIES))
        a.jae(none)
        a.mov(EAX, mem(RDI, Descriptor.STRIDE))
        a.imul(RAX, RCX)
        a.add(RAX, mem(RDI, Descriptor.VALUES))
        a.add(RAX, RDI)
        if stripe:
            a.mov(ECX, mem(RDI, Descriptor.STRIPE))
            a.imul(ECX, slot(Slot.STRIPE))
            a.add(RAX, RCX)

    def lookup(self) -> None:
        """(RDI map, RSI key) → address of the value or 0."""
        a, none = self.a, self.a.new_label("none")
        a.label("map.lookup")
        a.test(byte(RDI, Descriptor.FLAGS), Flags.ARRAY)
        a.je("hash.lookup")
        self.value(none)
        a.ret()
        a.label(none)
        a.mov(EAX, 0)
        a.ret()

    def update(self) -> None:
        """(RDI map, RSI key, RDX value, RCX mode) → 0 or an error. A whole array is there from the start."""
        a, none, exists = self.a, self.a.new_label("none"), self.a.new_label("exists")
        a.label("map.update")
        a.test(byte(RDI, Descriptor.FLAGS), Flags.ARRAY)
        a.je("hash.update")
        a.cmp(ECX, 1)
        a.je(exists)
        self.value(none)
        a.mov(ECX, mem(RDI, Descriptor.VALUE_SIZE))
        a.mov(RDI, RAX)
        a.mov(RSI, RDX)
        copy(a)
        a.mov(EAX, 0)
        a.ret()
        fail(a, none, errno.E2BIG)
        fail(a, exists, errno.EEXIST)

    def delete(self) -> None:
        """(RDI map, RSI key) → 0 or an error."""
        a = self.a
        a.label("map.delete")
        a.test(byte(RDI, Descriptor.FLAGS), Flags.ARRAY)
        a.je("hash.delete")
        fail(a, a.new_label("array"), errno.EINVAL)

    def lookup_percpu(self) -> None:
        """(RDI map, RSI key, RDX stripe) → address of that stripe's value or 0."""
        a = self.a
        none, found, array = a.new_label("none"), a.new_label("found"), a.new_label("array")
        a.label("map.lookup_percpu")
        a.cmp(EDX, STRIPES)
        a.jae(none)
        a.test(byte(RDI, Descriptor.FLAGS), Flags.ARRAY)
        a.jne(array)
        a.push(RDX)
        a.call("hash.lookup")
        a.pop(R8)
        a.test(RAX, RAX)
        a.je(none)
        a.mov(ECX, mem(RDI, Descriptor.STRIPE))
        a.mov(R9.sized(4), slot(Slot.STRIPE))
        a.imul(R9.sized(4), ECX)
        a.sub(RAX, R9)
        a.jmp(found)
        a.label(array)
        a.mov(R8D, EDX)
        self.value(none, stripe=False)
        a.mov(ECX, mem(RDI, Descriptor.STRIPE))
        a.label(found)
        a.imul(RCX, R8)
        a.add(RAX, RCX)
        a.ret()
        a.label(none)
        a.mov(EAX, 0)
        a.ret()
