"""BPF → x86-64: what the kernel's translator does for uprobes, for code that runs inside the target.

One instruction becomes one or two, registers stand for registers (`computing.REGISTERS`), and helpers are functions of
the machine that the code runs on. A program is called with RDI = its context (struct pt_regs of the site) and R12 = the
thread's slot, which it leaves alone; it returns in RAX, keeps RSP and R12, and may lose all else. It finds its stack
below RSP: at entry RSP + 8 is a multiple of 16, and RSP is one where it calls helpers. `stack_size` says how much it
takes. Nothing is zeroed: what programs read of their stack they wrote before, or the verifier would refuse them.

There is no check of memory accesses here. It is the generators' business that programs pass the kernel's verifier, and
their tests' (tests/bpf, tests/kernel) that they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from gotap.bpf import isa
from gotap.bpf.code import Code
from gotap.bpf.isa import Atomic, Class, Helper, Instruction
from gotap.inject.x86 import calls
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.calls import TAIL_ENTRY, Call, Inline, Untranslatable
from gotap.inject.x86.computing import REGISTERS, combined, compare, compute, constant, load_address
from gotap.inject.x86.knowledge import MapPlace
from gotap.inject.x86.memory import access, atomic
from gotap.inject.x86.operands import R11, R11D, R12, RBP, RSP, Register, byte, mem, rip
from gotap.inject.x86.reading import (
    ATOMICS,
    EXIT,
    JUMPS,
    Function,
    Reading,
    callee,
    helper,
    is_helper,
    place_of,
    read,
    target,
)

__all__ = ["TAIL_ENTRY", "Call", "Inline", "MapPlace", "Untranslatable", "helpers_used", "stack_size", "translate"]


def helpers_used(code: Code) -> frozenset[Helper]:
    """The helpers that a machine must bring for this program. LOOP and TAIL_CALL are translated here.

    Untranslatable: there is one that gotap has no name for.
    """
    found = {helper(one) for one in code.instructions if is_helper(one)}
    return frozenset(found - calls.OWN_HELPERS)


def translate(
    code: Code,
    at: int,
    maps: Mapping[str, MapPlace],
    helpers: Mapping[Helper, int],
    inline: Mapping[Helper, Inline] | None = None,
    alone: int | None = None,
) -> bytes:
    """Machine code for the address `at`, to be called at its first byte. `helpers`: their addresses; `inline`: of calls
    that are written in their place; `alone`: offset in the slot of a byte that is not 0 while no other thread writes to
    this one's per-CPU values, so that atomic operations on them need no lock.

    Untranslatable: it uses a helper that is neither in `helpers` nor in `inline`, or a map that is not in `maps`.
    """
    asm = Assembler(at)
    reading = read(code, maps)
    for function in reading.functions:
        _Translator(asm, code, reading, function, maps, helpers, inline or {}, alone).function()
    if any(call.helper == Helper.LOOP for call in reading.calls.values()):
        asm.align(16)
        calls.loop(asm)
    return asm.finish()


def stack_size(code: Code) -> int:
    """Bytes that the program takes of its caller's stack, return addresses of its own and of helpers included.

    Untranslatable: its subprograms call each other in a circle, or it uses a helper that has no name.
    """
    places = {one.map: MapPlace(0) for one in code.relocations}
    reading = read(code, places)
    functions = {one.start: one for one in reading.functions}

    def depth(start: int, above: tuple[int, ...]) -> int:
        if start in above:
            raise Untranslatable(None, "its subprograms call each other in a circle")
        function = functions[start]
        size = _frame(code, reading, function)
        deeper = 8
        for index in range(function.start, function.end):
            called = callee(index, code.instructions[index]) if index in reading.reached else None
            if called is not None:
                loop = calls.LOOP_STACK if code.instructions[index].opcode == isa.LD_IMM64 else 0
                deeper = max(deeper, loop + depth(called, (*above, start)))
        return 8 + 8 * len(size.saved) + size.size + deeper

    return depth(0, ())


class _Frame(Struct, frozen=True):
    """`size`: bytes below the saved registers; `pointer`: R10 is used."""

    saved: tuple[Register, ...]
    size: int
    pointer: bool
    counts_tail_calls: bool


def _frame(code: Code, reading: Reading, function: Function) -> _Frame:
    written, pointer, called, tail = set[int](), False, False, False
    for index in range(function.start, function.end):
        if index not in reading.reached:
            continue
        one = code.instructions[index]
        group = one.opcode & 7
        if group in (Class.JMP, Class.JMP32):
            called = called or one.opcode == Class.JMP | isa.Jump.CALL
            tail = tail or (index in reading.calls and reading.calls[index].helper == Helper.TAIL_CALL)
            continue
        if 10 in (one.dst, one.src):
            pointer = True
        if group in (Class.ALU, Class.ALU64, Class.LD, Class.LDX):
            written.add(one.dst)
        elif group == Class.STX and one.opcode & 0xE0 == isa.MODE_ATOMIC and one.imm & Atomic.FETCH:
            written.add(one.src)
    if tail and not function.main:
        raise Untranslatable(Helper.TAIL_CALL, "a tail call of a subprogram has no translation")
    saved = tuple(REGISTERS[number] for number in (6, 7, 8, 9) if number in written)
    if function.main:
        saved = ()
    elif pointer:
        saved = (RBP, *saved)
    size = (isa.STACK_SIZE if pointer else 0) + (8 if tail else 0)
    if called and (8 + 8 * len(saved) + size) % 16:
        size += 8
    return _Frame(saved, size, pointer, tail)


class _Translator:
    """Writes one function."""

    def __init__(
        self,
        asm: Assembler,
        code: Code,
        reading: Reading,
        function: Function,
        maps: Mapping[str, MapPlace],
        helpers: Mapping[Helper, int],
        inline: Mapping[Helper, Inline],
        alone: int | None,
    ) -> None:
        self.alone = alone
        self.cold: list[Callable[[], None]] = []
        self.asm, self.code, self.reading, self.place = asm, code, reading, function
        self.maps, self.helpers, self.inline = maps, helpers, inline
        self.relocations = {one.index: one for one in code.relocations}
        self.frame = _frame(code, reading, function)

    def function(self) -> None:
        self._prologue()
        instructions, reached, targets = self.code.instructions, self.reading.reached, self.reading.targets
        index = self.place.start
        while index < self.place.end:
            if index not in reached:
                index += 1
                continue
            if index in targets:
                self.asm.label(_label(index))
            one, following = instructions[index], index + 1
            if one.opcode == isa.LD_IMM64:
                self._constant(index, one)
                following += 1
            elif one.opcode & 7 in (Class.JMP, Class.JMP32):
                self._flow(index, one)
            elif one.opcode & 7 in (Class.ALU, Class.ALU64):
                pair = following in reached and following not in targets
                if pair and combined(self.asm, one, instructions[following]):
                    following += 1
                else:
                    compute(self.asm, one)
            elif one.opcode in ATOMICS:
                self._atomic(index, one)
            else:
                access(self.asm, one)
            index = following
        for cold in self.cold:
            cold()

    def _atomic(self, index: int, one: Instruction) -> None:
        """Without a lock where no other thread can be; whether that is so may be the slot's to say."""
        own = self.reading.own.get(index)
        if own is None or (not own and self.alone is None):
            atomic(self.asm, one)
            return
        if not own:
            shared, done = self.asm.new_label("shared"), self.asm.new_label("done")
            self.asm.cmp(byte(R12, self.alone or 0), 0)
            self.asm.je(shared)
            self.cold.append(lambda: self._shared(one, shared, done))
            atomic(self.asm, one, locked=False)
            self.asm.label(done)
        else:
            atomic(self.asm, one, locked=False)

    def _shared(self, one: Instruction, here: str, back: str) -> None:
        """An atomic operation that has its lock, behind the function."""
        self.asm.label(here)
        atomic(self.asm, one)
        self.asm.jmp(back)

    def _prologue(self) -> None:
        asm, frame = self.asm, self.frame
        if self.place.main:
            asm.xor(R11D, R11D)  # no tail call yet; TAIL_ENTRY is behind it
        else:
            asm.align(16)
            asm.label(_function(self.place.start))
        for register in frame.saved:
            asm.push(register)
        if frame.pointer:
            asm.mov(RBP, RSP)
        if frame.size:
            asm.sub(RSP, frame.size)
        if frame.counts_tail_calls:
            asm.mov(mem(RSP), R11)

    def _epilogue(self) -> None:
        if self.frame.size:
            self.asm.add(RSP, self.frame.size)
        for register in reversed(self.frame.saved):
            self.asm.pop(register)
        self.asm.ret()

    def _constant(self, index: int, one: Instruction) -> None:
        dst, relocation = REGISTERS[one.dst], self.relocations.get(index)
        if relocation is not None:
            place, offset = place_of(relocation, self.maps), relocation.offset
            load_address(self.asm, dst, place.descriptor if offset is None else place.values + offset)
        elif (called := callee(index, one)) is not None:
            self.asm.lea(dst, rip(_function(called)))
        else:
            high = self.code.instructions[index + 1].imm
            constant(self.asm, dst, (high & 0xFFFFFFFF) << 32 | one.imm & 0xFFFFFFFF)

    def _flow(self, index: int, one: Instruction) -> None:
        if one.opcode == EXIT:
            self._epilogue()
        elif one.opcode in JUMPS:
            self._jump(index, one)
        elif (called := callee(index, one)) is not None:
            self.asm.call(_function(called))
        else:
            self._helper(self.reading.calls[index])

    def _jump(self, index: int, one: Instruction) -> None:
        there = target(index, one)
        if one.opcode & 0xF0 == isa.Jump.JA or index in self.reading.always:
            if self.reading.always.get(index, True) and there != self._following(index):
                self.asm.jmp(_label(there))
        else:
            self.asm.jcc(compare(self.asm, one), _label(there))

    def _following(self, index: int) -> int:
        """The next instruction that is reached."""
        index += 1
        while index < self.place.end and index not in self.reading.reached:
            index += 1
        return index

    def _helper(self, call: Call) -> None:
        if call.helper == Helper.LOOP:
            self.asm.call(calls.LOOP)
        elif call.helper == Helper.TAIL_CALL:
            calls.tail_call(self.asm, call, self.frame.size)
        else:
            calls.call_helper(self.asm, call, self.helpers, self.inline)


def _label(index: int) -> str:
    return f"i{index}"


def _function(start: int) -> str:
    return f"f{start}"
