"""The part of a round for what must be asked what it is: interfaces, function values and what they captured."""

from __future__ import annotations

from gotap.bpf.codegen.script import deep_memory as memory
from gotap.bpf.codegen.script.deep_memory import row
from gotap.bpf.codegen.script.deep_part import COPY, Part, at
from gotap.bpf.isa import R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Helper
from gotap.probe.shapes_table import GUESSED, HEAD, POINTER, HeadFlags, PointerFlags

#: Offset of the dynamic type's address in an itab (runtime.itab; internal/abi.ITab, Go 1.18–1.27), and what is taken.
_ITAB_TYPE, _ITAB = 8, 16
#: How far apart two pointers to the heap may be. It begins at 2^39.6 or, from Go 1.26 on, anywhere (runtime/malloc.go,
#: mallocinit), so that numbers are no pointers.
_HEAP = 1 << 37


class DynamicPart(Part):
    """R9 is the pointer, R8 its row, R6 its place."""

    def interfaces(self) -> None:
        """R9 = the type word. What the data word is depends on the dynamic type."""
        asm = self.asm
        type_known, boxed = asm.new_label("type"), asm.new_label("boxed")
        asm.label("deep.iface")
        self.itab()
        asm.jump(type_known)
        asm.label("deep.eface")
        self.second(R2)
        asm.label(type_known)
        setting = self.setting
        if not setting.dynamic_count:
            asm.jump("deep.next")
            return
        asm.constant(R1, setting.dynamic_first + setting.bias)
        asm.sub(R9, R1)
        asm.jge(R9, 8 * setting.dynamic_count, "deep.next")
        asm.mov(R1, R9)
        asm.rsh(R1, 4)
        row(asm, memory.DESCRIPTORS, "deep.next")
        asm.rsh(R9, 1)
        asm.and_(R9, 4)
        asm.add(R0, R9)
        asm.load(R1, R0, 0, 4)
        asm.jeq(R1, 0, "deep.next")
        self.put(memory.NEW_SHAPE, R1)
        row(asm, memory.SHAPES, "deep.next")
        asm.load(R9, R6, 8)
        asm.jeq(R9, 0, "deep.next")
        asm.load(R1, R0, at(HEAD, "flags"), 2)
        asm.jset(R1, HeadFlags.DIRECT, "deep.direct")
        asm.jump(boxed)
        self.direct()
        asm.label(boxed)
        self.deeper("deep.cut")
        self.put(memory.LENGTH, 1)
        asm.jump("deep.head")

    def itab(self) -> None:
        """The itab, of which the reader wants the type, is a piece of its own unless the executable has it."""
        asm = self.asm
        known, there = asm.new_label("known"), asm.new_label("there")
        self.second(R2)
        asm.mov(R1, R10)
        asm.add(R1, -16)
        asm.mov(R2, 8)
        asm.mov(R3, R9)
        asm.add(R3, _ITAB_TYPE)
        asm.call(Helper.PROBE_READ_USER)
        asm.jeq(R0, 0, there)
        asm.store(R10, -16, 0)
        asm.label(there)
        self.skip_read_only(known)
        asm.mov(R1, R7)
        asm.mov(R2, R9)
        asm.mov(R3, _ITAB)
        asm.mov(R4, _ITAB)
        asm.call_subprogram(COPY)
        asm.label(known)
        asm.load(R9, R10, -16)
        asm.jeq(R9, 0, "deep.next")

    def direct(self) -> None:
        """The data word is the value: a piece that stands where the interface does. The step to what it points to is
        the interface's."""
        asm = self.asm
        plain = asm.new_label("plain")
        asm.label("deep.direct")
        self.get(R1, memory.AT)
        asm.add(R1, 8)
        self.put(memory.NEW_POSITION, R1)
        asm.add(R1, 8)
        self.put(memory.NEW_END, R1)
        self.put(memory.NEW_COUNT, 1)
        self.get(R1, memory.DEPTH)
        asm.load(R2, R8, at(POINTER, "flags"), 1)
        asm.and_(R2, PointerFlags.CHAIN)
        asm.jeq(R2, 0, plain)
        asm.jge(R1, memory.LONGEST_CHAIN * memory.CHAIN_STEP, "deep.cut")
        asm.add(R1, memory.CHAIN_STEP - 1)  # one step back, which following the data word makes good
        asm.label(plain)
        self.put(memory.NEW_DEPTH, R1)
        asm.jump("deep.push")

    def function(self) -> None:
        """A function value and what it may have captured, as much as is likely: how long they are nobody tells. Those
        of the executable have captured nothing."""
        asm = self.asm
        taken = asm.new_label("taken")
        asm.label("deep.captured")
        self.near_holder()
        self.deeper("deep.cut")
        asm.jump(taken)
        asm.label("deep.func")
        self.skip_read_only("deep.next")
        self.get(R1, memory.DEPTH)
        self.put(memory.NEW_DEPTH, R1)
        asm.label(taken)
        asm.load(R1, R8, at(POINTER, "target"), 4)
        self.put(memory.NEW_SHAPE, R1)
        self.put(memory.NEW_COUNT, 1)
        self.put(memory.BYTES, GUESSED)
        asm.mov32(R2, -1)
        self.put(memory.FULL, R2)
        asm.jump("deep.bytes")

    def near_holder(self) -> None:
        """Goes on when R9 may point to the heap: it is near its holder, whose address stands before the piece."""
        asm = self.asm
        self.get(R1, memory.POSITION)
        asm.jgt(R1, self.setting.record_size, "deep.next")  # it is not, but the verifier does not know
        asm.jlt(R1, memory.CHUNK_HEADER, "deep.next")
        asm.add(R1, R7)
        asm.load(R1, R1, memory.CHUNK_ADDRESS - memory.CHUNK_HEADER)
        asm.mov(R2, R9)
        asm.sub(R2, R1)
        asm.ld_imm64(R1, _HEAP)
        asm.add(R2, R1)
        asm.lsh(R1, 1)
        asm.jge(R2, R1, "deep.next")
