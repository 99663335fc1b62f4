"""Words of the intermediate form → BPF instructions that leave the value in R0 or jump to a label when it fails."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gotap.bpf.asm import Assembler, AssemblerError, Operand
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.memory import ROW, Memory
from gotap.bpf.codegen.planner import Plan
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R3, R6, R7, R10, Helper, Reg
from gotap.image.code import Constant, Edge, Global, Location, Register, Stack, StaticAddress
from gotap.probe import ir

_CF, _PF, _ZF, _SF, _OF = 1, 4, 0x40, 0x80, 0x800
_INVERSE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


class WordEmitter:
    """Emits words for one program. `inputs`: where arguments stand; `bias`: load bias of the target's executable;
    `memory`: where words are kept on the way.
    """

    def __init__(
        self, asm: Assembler, inputs: Mapping[ir.Input, Location], bias: int, plan: Plan, memory: Memory = ROW
    ) -> None:
        self.asm = asm
        self.memory = memory
        self.inputs = inputs
        self.bias = bias
        self.plan = plan
        self._temporaries = 0

    @contextmanager
    def temporary(self) -> Iterator[int]:
        """A slot, offset from `memory.temporary_base`, for a value that must survive a call."""
        slot = self.memory.temporaries - 8 * self._temporaries
        if self._temporaries == self.memory.temporary_count:
            raise AssemblerError("the expression is nested too deeply", "take it apart with variables")
        self._temporaries += 1
        yield slot
        self._temporaries -= 1

    def keep(self, slot: int, source: Reg) -> None:
        """Puts the register into the temporary."""
        self.asm.store(self.memory.temporary_base, slot, source)

    def recall(self, target: Reg, slot: int) -> None:
        """The register becomes what was kept in the temporary."""
        self.asm.load(target, self.memory.temporary_base, slot)

    def point(self, target: Reg, offset: int) -> None:
        """The register becomes the address of a slot of `memory`."""
        self.asm.mov(target, self.memory.base)
        self.asm.add(target, offset)

    def word(self, word: ir.Word, fail: str) -> None:
        """R0 = word; jumps to `fail` when it cannot be had. Loses R1–R5."""
        asm = self.asm
        match word:
            case ir.Const(value):
                asm.constant(R0, value)
            case ir.StaticAddress(address):
                asm.constant(R0, address + self.bias)
            case ir.Input():
                self.input(word, fail)
            case ir.Goroutine():
                asm.load(R0, R6, PT_REGS["r14"])
            case ir.Kept(column):
                asm.load(R0, R7, frame.field("present"))
                self.test_bit(column.index, fail)
                asm.load(R0, R7, column.offset)
            case ir.Load():
                self.load(word, fail)
            case ir.MapElement():
                asm.load(R0, R7, self.plan.elements[word])
                jump_if(asm, "==", R0, 0, fail)
            case ir.Unwrapped(type, data, wrappers, part):
                place = self.plan.chains[ir.Unwrapped(type, data, wrappers, 0)]
                asm.load(R0, R7, place)
                jump_if(asm, "==", R0, 0, fail)
                asm.load(R0, R7, place + 8 * part)
            case ir.Subtract(left, right) | ir.Add(left, right):
                with self.temporary() as slot:
                    self.word(left, fail)
                    self.keep(slot, R0)
                    self.word(right, fail)
                    asm.mov(R1, R0)
                    self.recall(R0, slot)
                    (asm.sub if isinstance(word, ir.Subtract) else asm.add)(R0, R1)
            case ir.Log2(operand):
                self.word(operand, fail)
                self.log2()
            case ir.Conditional(when, then, otherwise):
                other, end = self.asm.new_label("other"), self.asm.new_label("chosen")
                self.require(when, other, fail)
                self.word(then, fail)
                asm.jump(end)
                asm.label(other)
                self.word(otherwise, fail)
                asm.label(end)
            case _:
                self.truth(word, fail)

    def log2(self) -> None:
        """R0 = number of its highest bit: halves the word's width six times."""
        asm = self.asm
        asm.mov(R2, R0)
        asm.mov(R0, 0)
        for shift in (32, 16, 8, 4, 2, 1):
            low = asm.new_label("low")
            asm.mov(R1, R2)
            asm.rsh(R1, shift)
            asm.jeq(R1, 0, low)
            asm.mov(R2, R1)
            asm.add(R0, shift)
            asm.label(low)

    def truth(self, word: ir.Word, fail: str) -> None:
        """R0 = 1 or 0."""
        false, end = self.asm.new_label("false"), self.asm.new_label("end")
        self.require(word, false, fail)
        self.asm.mov(R0, 1)
        self.asm.jump(end)
        self.asm.label(false)
        self.asm.mov(R0, 0)
        self.asm.label(end)

    def require(self, word: ir.Word, false: str, fail: str) -> None:
        """Falls through when the word is not zero, else jumps to `false`."""
        match word:
            case ir.Compare():
                self.compare(word, false, fail)
            case ir.Logic("&&", left, right):
                self.require(left, false, fail)
                self.require(right, false, fail)
            case ir.Logic(_, left, right):
                second, true = self.asm.new_label("or"), self.asm.new_label("true")
                self.require(left, second, fail)
                self.asm.jump(true)
                self.asm.label(second)
                self.require(right, false, fail)
                self.asm.label(true)
            case ir.Not(operand):
                true = self.asm.new_label("not")
                self.require(operand, true, fail)
                self.asm.jump(false)
                self.asm.label(true)
            case ir.TextEquals(text, value):
                self.text_equals(text, value, false, fail)
            case _:
                self.word(word, fail)
                jump_if(self.asm, "==", R0, 0, false)

    def compare(self, word: ir.Compare, false: str, fail: str) -> None:
        operator = _INVERSE[word.operator]
        signed = "s" if word.signed and operator not in ("==", "!=") else ""
        if isinstance(word.right, ir.Const) and -(2**31) <= word.right.value < 2**31:
            self.word(word.left, fail)
            jump_if(self.asm, signed + operator, R0, word.right.value, false)
            return
        with self.temporary() as slot:
            self.word(word.left, fail)
            self.keep(slot, R0)
            self.word(word.right, fail)
            self.recall(R1, slot)
            jump_if(self.asm, signed + operator, R1, R0, false)

    def text_equals(self, text: ir.Text, value: bytes, false: str, fail: str) -> None:
        assert len(value) <= frame.KEY_SIZE
        self.word(text.length, fail)
        jump_if(self.asm, "!=", R0, len(value), false)
        if not value:
            return
        self.word(text.pointer, fail)
        self.asm.mov(R3, R0)
        self.point(R1, self.memory.key)
        self.asm.mov(R2, len(value))
        self.asm.call(Helper.PROBE_READ_USER)
        jump_if(self.asm, "!=", R0, 0, fail)
        compare_bytes(self.asm, self.memory.base, self.memory.key, value, false)

    def test_bit(self, index: int, fail: str) -> None:
        """Jumps to `fail` when bit `index` of R0 is clear."""
        if index:
            self.asm.rsh(R0, index)
        self.asm.and_(R0, 1)
        jump_if(self.asm, "==", R0, 0, fail)

    def load(self, word: ir.Load, fail: str) -> None:
        block = self.plan.blocks.get(word.base)
        if block is not None:
            self.asm.load(R0, R7, block.valid)
            jump_if(self.asm, "==", R0, 0, fail)
            self.asm.load(R0, R10 if block.on_stack else R7, block.place + word.offset - block.start, word.size)
        else:
            self.word(word.base, fail)
            jump_if(self.asm, "==", R0, 0, fail)
            self.asm.mov(R3, R0)
            if word.offset:
                self.asm.add(R3, word.offset)
            self.read(word.size, fail)
        self.extend(word.size, word.signed)

    def together(self, places: Mapping[ir.Word, int], fail: str) -> None:
        """Each word into its stack slot; words of one structure by one read. There is no row yet."""
        loads = [word for word in places if isinstance(word, ir.Load)]
        start = min((load.offset for load in loads), default=0) // 8 * 8
        size = max((load.offset + load.size for load in loads), default=0) - start
        if len(loads) < max(2, len(places)) or len({load.base for load in loads}) > 1 or size > frame.EARLY_SIZE:
            for word, place in places.items():
                self.word(word, fail)
                self.asm.store(R10, place, R0)
            return
        self.word(loads[0].base, fail)
        jump_if(self.asm, "==", R0, 0, fail)
        self.asm.mov(R3, R0)
        if start:
            self.asm.add(R3, start)
        self.asm.mov(R1, R10)
        self.asm.add(R1, frame.EARLY)
        self.asm.mov(R2, size)
        self.asm.call(Helper.PROBE_READ_USER)
        jump_if(self.asm, "!=", R0, 0, fail)
        for load in loads:
            self.asm.load(R0, R10, frame.EARLY + load.offset - start, load.size)
            self.extend(load.size, load.signed)
            self.asm.store(R10, places[load], R0)

    def read(self, size: int, fail: str) -> None:
        """R0 = `size` bytes of the process at R3."""
        self.point(R1, self.memory.read)
        self.asm.mov(R2, size)
        self.asm.call(Helper.PROBE_READ_USER)
        jump_if(self.asm, "!=", R0, 0, fail)
        self.asm.load(R0, self.memory.base, self.memory.read, size)

    def extend(self, size: int, signed: bool) -> None:
        """Sign-extends R0 from `size` bytes."""
        if signed and size < 8:
            self.asm.lsh(R0, 64 - 8 * size)
            self.asm.arsh(R0, 64 - 8 * size)

    def cut(self, size: int, signed: bool) -> None:
        """Zero- or sign-extends R0 from its low `size` bytes, whatever is above."""
        if size < 8:
            self.asm.lsh(R0, 64 - 8 * size)
            (self.asm.arsh if signed else self.asm.rsh)(R0, 64 - 8 * size)

    def input(self, word: ir.Input, fail: str) -> None:
        match self.inputs.get(word):
            case Register(name, size):
                self.asm.load(R0, R6, PT_REGS[name])
                self.cut(min(word.size, size), word.signed)
            case Stack(offset, size):
                self.asm.load(R3, R6, PT_REGS["rsp"])
                self.asm.add(R3, offset)
                self.read(min(word.size, size), fail)
                self.extend(min(word.size, size), word.signed)
            case Global(address, size):
                self.asm.constant(R3, address + self.bias)
                self.read(min(word.size, size), fail)
                self.extend(min(word.size, size), word.signed)
            case Constant(value):
                self.asm.constant(R0, value)
                self.cut(word.size, word.signed)
            case StaticAddress(address):
                self.asm.constant(R0, address + self.bias)
            case None:
                self.give_up(fail)

    def give_up(self, fail: str) -> None:
        """Always jumps; yet the verifier, which refuses what nothing leads to, sees a way on."""
        self.asm.mov(R0, 0)
        self.asm.jeq(R0, 0, fail)

    def edge(self, edge: Edge, skip: str) -> None:
        """Falls through when the conditional jump at the site goes the edge's way, else jumps to `skip`.

        The same truth table as Edge.counts.
        """
        asm = self.asm
        asm.load(R0, R6, PT_REGS["rflags"])
        asm.mov(R1, R0)
        base, negated = edge.required >> 1, edge.required & 1
        if base >= 6:  # l, le: SF != OF; bring OF (bit 11) onto SF (bit 7)
            asm.rsh(R1, 4)
            asm.xor(R1, R0)
            asm.and_(R1, _SF)
            if base == 7:
                asm.and_(R0, _ZF)
                asm.or_(R1, R0)
        else:
            asm.and_(R1, (_OF, _CF, _ZF, _CF | _ZF, _SF, _PF)[base])
        jump_if(asm, "!=" if negated else "==", R1, 0, skip)


def compare_bytes(asm: Assembler, base: Reg, offset: int, value: bytes, different: str) -> None:
    """Jumps to `different` unless the bytes at `base + offset` are `value`. Loses R1, R2."""
    position = 0
    while position < len(value):
        size = next(step for step in (8, 4, 2, 1) if step <= len(value) - position)
        part = int.from_bytes(value[position : position + size], "little")
        asm.load(R1, base, offset + position, size)
        asm.constant(R2, part)
        jump_if(asm, "!=", R1, R2, different)
        position += size


def jump_if(asm: Assembler, operator: str, left: Reg, right: Operand, label: str) -> None:
    """Jumps when `left operator right`; an `s` before the operator compares signed."""
    jumps = {
        "==": asm.jeq, "!=": asm.jne, "<": asm.jlt, "<=": asm.jle, ">": asm.jgt, ">=": asm.jge,
        "s<": asm.jslt, "s<=": asm.jsle, "s>": asm.jsgt, "s>=": asm.jsge,
    }  # fmt: skip
    jumps[operator](left, right, label)


def pack_key(tgid: int, second: int) -> int:
    """The first eight bytes of a map key: two u32."""
    return int(struct.unpack("<Q", struct.pack("<II", tgid, second))[0])
