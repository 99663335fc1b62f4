"""What the translator takes for certain is certain: random programs full of ways to be wrong about the stack.

They write to it by its own register, by pointers with known and unknown offsets, by pointers that were put aside, by
helpers and subprograms, on branches and in loops; and look up in arrays with keys that lie there. The interpreter knows
nothing beforehand and must come to the same results.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bpf_interpreter import ArrayMap, HashMap, PerCpuArrayMap
from gotap.bpf.asm import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, Assembler, Code, Reg
from gotap.bpf.isa import PT_REGS, Helper
from gotap.inject.x86.knowledge import MapPlace
from gotap.inject.x86.reading import read
from native_machine import NativeMachine

#: Words of the stack that are played with; below them, pointers that were put aside; then what routines use.
WORDS = 2
ASIDE, SCRATCH = -8 * (WORDS + 2), -8 * (WORDS + 4)
NUMBERS = (R0, R8, R9)  # hold numbers, R7 a loop's counter, R6 the context


class _Program:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.asm = Assembler()
        self.kinds: list[Callable[[], None]] = [
            self.store, self.load, self.compute, self.by_pointer, self.by_either_pointer, self.put_aside, self.look_up,
            self.read, self.subprogram, self.branch, self.count, self.ask,
        ]  # fmt: skip
        self.deep = 0

    def code(self) -> Code:
        asm = self.asm
        asm.mov(R6, R1)
        asm.mov(R7, 0)
        for word in range(WORDS + 2):
            asm.store(R10, -8 * (word + 1), word)
        for register, name in zip(NUMBERS, ("rax", "r8", "r9"), strict=True):
            asm.load(register, R6, PT_REGS[name])
        for _ in range(self.rng.randint(10, 30)):
            self.rng.choice(self.kinds)()
            self.rng.choice((self.look_up, self.ask, self.load))()
        if self.rng.random() < 0.5:
            asm.label("loop")
            for _ in range(self.rng.randint(1, 12)):
                self.rng.choice(self.kinds)()
            asm.add(R7, 1)
            asm.jlt(R7, 3, "loop")
        for register in NUMBERS[1:]:
            asm.add(R0, register)
        for word in range(WORDS):
            asm.load(R1, R10, -8 * (word + 1))
            asm.mul(R0, 31)
            asm.xor(R0, R1)
        asm.exit_()
        asm.label("write")  # R1: where to, R2: what
        asm.store(R1, 0, R2, 4)
        asm.mov(R0, 0)
        asm.exit_()
        return asm.finish()

    def place(self, size: int) -> int:
        return -self.rng.randrange(1, 8 * WORDS // size + 1) * size

    def number(self) -> Reg:
        return self.rng.choice(NUMBERS)

    def store(self) -> None:
        size = self.rng.choice((1, 2, 4, 4, 8))
        value = self.number() if self.rng.random() < 0.2 else self.rng.choice((0, 1, 2, 3, 100, 0x103))
        if size == 1 and value == 0x103:
            value = 2
        self.asm.store(R10, self.place(max(size, self.rng.choice((1, 4)))), value, size)

    def load(self) -> None:
        size = self.rng.choice((1, 2, 4, 8))
        self.asm.load(self.number(), R10, self.place(size), size)

    def compute(self) -> None:
        self.rng.choice((self.asm.add, self.asm.mov, self.asm.xor, self.asm.mov32))(
            self.number(), self.rng.choice((*NUMBERS, 0, 1, 5)))  # fmt: skip

    def pointer(self, register: Reg, size: int) -> None:
        self.asm.mov(register, R10)
        if self.rng.random() < 0.5:
            self.asm.add(register, self.place(size))
        else:
            self.asm.sub(register, -self.place(size))

    def by_pointer(self) -> None:
        self.pointer(R2, 8)
        value = self.number() if self.rng.random() < 0.3 else self.rng.randrange(4)
        self.asm.store(R2, 0, value, self.rng.choice((4, 8)))

    def by_either_pointer(self) -> None:
        over = self.asm.new_label("over")
        self.pointer(R3, 8)
        self.asm.jset(self.number(), 1, over)
        self.pointer(R3, 8)
        self.asm.label(over)
        self.asm.store(R3, 0, self.rng.choice((0, 1, 2)), self.rng.choice((4, 8)))

    def put_aside(self) -> None:
        over = self.asm.new_label("over")
        self.pointer(R4, 8)
        self.asm.store(R10, ASIDE, R4)
        if self.rng.random() < 0.7:
            self.asm.jset(self.number(), 1, over)
            self.pointer(R4, 8)
            self.asm.store(R10, ASIDE, R4)
        self.asm.label(over)
        self.asm.mov(R4, 0)
        self.asm.load(R5, R10, ASIDE)
        self.asm.store(R5, 0, self.rng.choice((0, 1, 3)), 4)

    def look_up(self) -> None:
        asm, none = self.asm, self.asm.new_label("none")
        key = self.place(4)
        if self.rng.random() < 0.2:
            asm.store(R10, key, self.rng.choice((0, 1, 2, 9)), 4)
        asm.ld_map(R1, self.rng.choice(("one", "four", "hash", "percpu")))
        asm.mov(R2, R10)
        asm.add(R2, key)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, none)
        if self.rng.random() < 0.5:
            asm.mov(R1, self.rng.choice((1, 7)))
            asm.atomic_add(R0, 0, R1, fetch=self.rng.random() < 0.3)
        asm.load(R0, R0)
        asm.label(none)

    def ask(self) -> None:
        """A branch on what lies on the stack."""
        over, size = self.asm.new_label("over"), self.rng.choice((4, 8))
        self.asm.load(R5, R10, self.place(size), size)
        self.rng.choice((self.asm.jeq, self.asm.jne))(R5, self.rng.randrange(4), over)
        self.asm.add(R8, self.rng.randrange(1, 1000))
        self.asm.label(over)

    def read(self) -> None:
        asm = self.asm
        self.pointer(R1, 8)
        asm.mov(R2, 8)
        if self.rng.random() < 0.4:  # 0 or 8, unknown
            asm.mov(R2, self.number())
            asm.and_(R2, 8)
        asm.ld_map_value(R3, "one")
        asm.call(Helper.PROBE_READ_KERNEL)

    def subprogram(self) -> None:
        self.pointer(R1, 8)
        self.asm.mov(R2, self.rng.choice((0, 1, 2, 3)))
        self.asm.call_subprogram("write")

    def branch(self) -> None:
        if self.deep > 2:
            return
        over = self.asm.new_label("over")
        condition = self.rng.choice((self.asm.jeq, self.asm.jne, self.asm.jset, self.asm.jgt))
        condition(self.number(), self.rng.choice((0, 1, 2)), over)
        self.deep += 1
        for _ in range(self.rng.randint(1, 3)):
            self.rng.choice(self.kinds)()
        self.deep -= 1
        self.asm.label(over)

    def count(self) -> None:
        """An atomic operation on the stack."""
        self.asm.mov(R1, 3)
        self.asm.atomic_add(R10, self.place(8), R1, fetch=self.rng.random() < 0.5)
        self.asm.mov32(R8, R1)
        self.asm.mov(R5, 7)
        self.asm.atomic_xchg(R10, self.place(8), R5)
        over = self.asm.new_label("over")
        self.asm.jeq(R8, self.rng.randrange(4), over)
        self.asm.add(R9, R5)
        self.asm.label(over)


@pytest.mark.parametrize("seed", range(250))
def test_random_programs_about_the_stack(seed: int) -> None:
    code = _Program(seed).code()
    rng = random.Random(seed)
    one, four, hashed = ArrayMap(16, 1), ArrayMap(8, 4), HashMap(4, 8, 8)
    for array in (one, four):
        for value in array.values.values():
            value[:] = bytes(4 * [rng.randrange(4), 0, 0, 0])[: len(value)]
    for key in (0, 1, 100):
        hashed.update(key.to_bytes(4, "little"), rng.randbytes(8), 0, 0)
    maps = {"one": one, "four": four, "hash": hashed, "percpu": PerCpuArrayMap(8, 3)}
    machine = NativeMachine(maps, alone=rng.choice((None, 0, 1)))
    for _ in range(3):
        machine.run(code, {"rax": rng.randrange(3), "r8": rng.getrandbits(64), "r9": rng.randrange(2)})


def test_upper_halves() -> None:
    """Constants of 32 and of 64 bits that are the same in the lower half."""
    asm = Assembler()
    asm.mov(R6, 0)
    asm.ld_imm64(R1, 1 << 32 | 5)
    asm.mov32(R2, R1)
    asm.jeq(R2, 5, "same")
    asm.mov(R6, 1)
    asm.label("same")
    asm.jeq32(R1, 5, "also")
    asm.mov(R6, 2)
    asm.label("also")
    asm.jne(R1, 5, "other")
    asm.mov(R6, 3)
    asm.label("other")
    asm.store(R10, -8, R1, 4)
    asm.load(R3, R10, -8, 4)
    asm.jeq(R3, 5, "cut")
    asm.mov(R6, 4)
    asm.label("cut")
    asm.mov(R0, R6)
    asm.exit_()
    assert NativeMachine().run(asm.finish()) == 0


def test_what_is_looked_at_of_a_read() -> None:
    """Two words of a large read, one of them in part; all of one whose place is told to others."""

    def pieces(emit: Callable[[Assembler], None]) -> list[tuple[int, int]] | None:
        asm = Assembler()
        asm.mov(R3, R1)
        asm.mov(R1, R10)
        asm.add(R1, -64)
        asm.mov(R2, 44)
        asm.call(Helper.PROBE_READ_USER)
        asm.load(R6, R10, -64)
        emit(asm)
        asm.mov(R0, 0)
        asm.exit_()
        asm.label("other")
        asm.mov(R0, 0)
        asm.exit_()
        (found,) = (call for call in read(asm.finish(), {"hash": MapPlace(1)}).calls.values()
                    if call.helper == Helper.PROBE_READ_USER)  # fmt: skip
        return found.pieces()

    def by_key(asm: Assembler) -> None:
        asm.ld_map(R1, "hash")
        asm.mov(R2, R10)
        asm.add(R2, -28)
        asm.call(Helper.MAP_LOOKUP)

    def by_subprogram(asm: Assembler) -> None:
        asm.mov(R1, R10)
        asm.call_subprogram("other")

    everything = [(0, 8), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4)]
    assert pieces(lambda _: None) == [(0, 8)]
    assert pieces(lambda asm: asm.load(R7, R10, -23, 1)) == [(0, 8), (40, 4)]
    assert pieces(lambda asm: asm.atomic_add(R10, -48, R6)) == [(0, 8), (16, 8)]
    assert pieces(by_key) == [(0, 8), (32, 8), (40, 4)]
    assert pieces(by_subprogram) == everything
    assert pieces(lambda asm: asm.store(R10, -8, R10)) == everything
