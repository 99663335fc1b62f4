"""Translated programs do what the interpreter does, and the translation refuses what it cannot express."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest
from iced_x86 import Decoder, Mnemonic
from iced_x86 import Register as X86Register

from bpf_interpreter import ArrayMap, EmulatedMap, HashMap, PerCpuArrayMap, ProgramArrayMap, RingMap, UserMemory
from bpf_samples import ARITHMETIC, IMAGE, INTERESTING, random_program, signed_extensions
from gotap.bpf import isa
from gotap.bpf.asm import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, Assembler, Code
from gotap.bpf.enums import MapType
from gotap.bpf.isa import PT_REGS, Atomic, Helper, Instruction
from gotap.inject.x86 import assembler as x86
from gotap.inject.x86.operands import RAX, RDI, RDX, mem
from gotap.inject.x86.translator import (
    Call,
    Inline,
    MapPlace,
    Untranslatable,
    helpers_used,
    stack_size,
    translate,
)
from native_machine import SLOT, NativeMachine, address_of

FAR = 1 << 40  # nothing of ours is near


def finished(asm: Assembler) -> Code:
    asm.exit_()
    return asm.finish()


def run(asm: Assembler, **maps: EmulatedMap) -> int:
    """R0, after the interpreter agreed."""
    return NativeMachine(maps).run(finished(asm), {"rdi": 7, "r15": 15, "ss": 0x2B})


@pytest.mark.parametrize("seed", range(300))
def test_random_programs(seed: int) -> None:
    rng = random.Random(seed)
    registers = ArrayMap(IMAGE, 1)
    image = b"".join(rng.choice((rng.choice(INTERESTING), rng.getrandbits(64))).to_bytes(8, "little") for _ in range(8))
    registers.update(bytes(4), image, 0, 0)
    NativeMachine({"registers": registers}).run(random_program(seed))


def test_what_linux_6_6_added() -> None:
    NativeMachine({"registers": ArrayMap(8 * 256, 1)}).run(signed_extensions())


# Arithmetic: all operations on interesting numbers; the registers of a pair matter too, since divisions and
# shifts need certain ones

_PAIRS = [(R0, R3), (R3, R0), (R4, R1), (R1, R4), (R4, R4), (R0, R0), (R3, R3), (R6, R7), (R5, R9)]


@pytest.mark.parametrize("name", [*ARITHMETIC, "sdiv", "smod"])
def test_arithmetic_on_interesting_numbers(name: str) -> None:
    for bits in (32, 64):
        for dst, src in _PAIRS:
            asm = Assembler()
            method = getattr(asm, {32: f"{name}32", 64: f"{name}_" if name in ("and", "or") else name}[bits], None)
            if method is None:
                continue
            asm.ld_map_value(R8, "out")
            at = 0
            for left in INTERESTING[::2]:
                for right in INTERESTING[1::3]:
                    for number, register in enumerate((R0, R1, R3, R4, R5)):
                        asm.mov(register, 1000 + number)
                    asm.ld_imm64(dst, left)
                    asm.ld_imm64(src, right)
                    method(dst, src)
                    for register in (dst, src, R0, R1, R3, R4, R5):
                        asm.store(R8, at, register)
                        at += 8
            run(asm, out=ArrayMap(at, 1))


@pytest.mark.parametrize("name", ["div", "mod", "sdiv", "smod", "mul", "and", "lsh", "rsh", "arsh"])
def test_arithmetic_with_constants(name: str) -> None:
    shift = name in ("lsh", "rsh", "arsh")
    for bits in (32, 64):
        asm = Assembler()
        method = getattr(asm, {32: f"{name}32", 64: "and_" if name == "and" else name}[bits], None)
        if method is None:
            continue
        asm.ld_map_value(R8, "out")
        at = 0
        rights = (0, 1, 7, bits - 1) if shift else (0, 1, 2, 3, 8, 10, 1 << 30, 0x7FFFFFFF, -1, -2, -10, -0x80000000)
        for right in rights:
            for left in INTERESTING:
                for dst in (R0, R3, R4, R6):
                    asm.ld_imm64(dst, left)
                    method(dst, right)
                    asm.store(R8, at, dst)
                    at += 8
        run(asm, out=ArrayMap(at, 1))


def test_every_atomic_operation_on_every_pair_of_registers() -> None:
    registers = (R0, R1, R2, R3, R4, R5, R6, R7, R9)
    asm = Assembler()
    asm.ld_map_value(R8, "out")
    at = 0
    for operation in (Atomic.ADD, Atomic.OR, Atomic.AND, Atomic.XOR):
        for fetch in (0, Atomic.FETCH):
            for size in (4, 8):
                for base in registers:
                    for src in registers:
                        if base == src:
                            continue
                        asm.ld_imm64(R0, 0x1111111122222222)
                        asm.ld_imm64(src, 0xF0F0F0F087654321)
                        asm.mov(base, R8)
                        asm.add(base, at)
                        asm.store(base, 0, 0x6789ABC)
                        asm._atomic(operation | fetch, base, 0, src, size)
                        asm.store(R8, at + 8, src)
                        asm.store(R8, at + 16, R0 if base != R0 else src)
                        at += 24
    NativeMachine({"out": ArrayMap(at, 1)}).run(finished(asm))


def test_exchanges() -> None:
    asm = Assembler()
    asm.ld_map_value(R8, "out")
    for size in (4, 8):
        for expected in (0x11, 0x12):
            asm.store(R8, 0, 0x11)
            asm.ld_imm64(R0, 0xFFFFFFFF00000000 | expected)
            asm.mov(R1, -2)
            asm.atomic_cmpxchg(R8, 0, R1, size)
            asm.store(R8, 8, R0)
            asm.atomic_xchg(R8, 0, R0, size)
            asm.store(R8, 16 + 8 * size + expected - 0x11, R0, 1)
    run(asm, out=ArrayMap(256, 1))


def test_the_context_is_struct_pt_regs() -> None:
    asm = Assembler()
    asm.load(R0, R1, PT_REGS["rdi"])
    asm.load(R2, R1, PT_REGS["ss"])
    asm.lsh(R2, 8)
    asm.or_(R0, R2)
    asm.load(R2, R1, PT_REGS["r15"])
    asm.add(R0, R2)
    assert run(asm) == (7 | 0x2B00) + 15


def test_the_stack_and_moved_pointers() -> None:
    asm = Assembler()
    asm.store(R10, -512, -3)
    asm.mov(R2, R10)
    asm.add(R2, -512)
    asm.mov(R3, R10)
    asm.sub(R3, 512)
    asm.mov(R4, 8)
    asm.mov(R5, R2)
    asm.add(R5, R4)
    asm.load(R0, R2)
    asm.load(R1, R3)
    asm.add(R0, R1)
    asm.sub(R5, R2)
    asm.add(R0, R5)
    assert isa.signed64(run(asm)) == 2


# Calls


def _sum_of_registers(asm: Assembler) -> None:
    for register in (R6, R7, R8, R9):
        asm.add(R0, register)


def test_subprograms_keep_registers_and_have_a_stack_of_their_own() -> None:
    asm = Assembler()
    for number, register in enumerate((R6, R7, R8, R9)):
        asm.mov(register, 100 << number)
    asm.store(R10, -8, 5)
    asm.mov(R1, R10)
    asm.add(R1, -8)
    asm.mov(R2, 3)
    asm.call_subprogram("double")
    asm.load(R1, R10, -8)
    asm.add(R0, R1)
    _sum_of_registers(asm)
    asm.exit_()
    asm.label("double")  # R0 = 2·(*R1 + R2), by a subprogram that keeps nothing
    asm.mov(R6, R2)
    asm.load(R7, R1)
    asm.store(R10, -8, R6)
    asm.mov(R1, R7)
    asm.call_subprogram("times_two")
    asm.mov(R8, R0)
    asm.load(R1, R10, -8)
    asm.call_subprogram("times_two")
    asm.add(R0, R8)
    asm.exit_()
    asm.label("times_two")
    asm.mov(R0, R1)
    asm.add(R0, R0)
    assert run(asm) == 16 + 5 + 1500


@pytest.mark.parametrize("pushed", range(5))
@pytest.mark.parametrize("stack", [False, True])
def test_helpers_find_the_stack_aligned(pushed: int, stack: bool) -> None:
    """The thunks of helpers trap where it is not."""
    asm = Assembler()
    asm.call_subprogram("inner")
    asm.exit_()
    asm.label("inner")
    for register in (R6, R7, R8, R9)[:pushed]:
        asm.mov(register, 1)
    if stack:
        asm.store(R10, -8, 1)
    asm.call(Helper.GET_CURRENT_PID_TGID)
    assert run(asm) == 4242 << 32 | 4243


@pytest.mark.parametrize(("count", "stop", "result"), [(0, 9, 0), (1, 9, 1), (5, 9, 5), (5, 2, 3), (5, 4, 5),
                                                       ((1 << 23) + 1, 9, -7)])  # fmt: skip
def test_loops(count: int, stop: int, result: int) -> None:
    asm = Assembler()
    for number, register in enumerate((R6, R7, R8, R9)):
        asm.mov(register, 1 << number)
    asm.store(R10, -8, 0)
    asm.mov32(R1, count)
    asm.ld_func(R2, "step")
    asm.mov(R3, R10)
    asm.add(R3, -8)
    asm.mov(R4, 0)
    asm.call(Helper.LOOP)
    asm.load(R1, R10, -8)
    asm.lsh(R1, 32)
    asm.add(R0, R1)
    _sum_of_registers(asm)
    asm.exit_()
    asm.label("step")  # adds its number to the sum
    asm.mov(R6, R1)
    asm.mov(R7, R2)
    asm.mov(R8, 0)
    asm.store(R10, -8, R1)
    asm.load(R1, R7)
    asm.load(R9, R10, -8)
    asm.add(R1, R9)
    asm.store(R7, 0, R1)
    asm.mov(R0, 0)
    asm.jne(R6, stop, "on")
    asm.mov(R0, 1)
    asm.label("on")
    total = sum(range(max(0, result)))
    assert isa.signed64(run(asm)) == result + 15 + (total << 32)


def test_loops_have_no_flags() -> None:
    asm = Assembler()
    asm.mov(R1, 3)
    asm.ld_func(R2, "step")
    asm.mov(R3, 0)
    asm.mov(R4, 1)
    asm.call(Helper.LOOP)
    asm.exit_()
    asm.label("step")
    asm.mov(R0, 0)
    assert isa.signed64(run(asm)) == -22


def _tail_caller(index: int, then: int) -> Code:
    """Counts itself at [then], and goes on with program `index`; 1000 + then where there is none."""
    asm = Assembler()
    asm.mov(R6, R1)
    asm.store(R10, -8, 77)
    asm.ld_map_value(R2, "counts", 8 * then)
    asm.mov(R3, 1)
    asm.atomic_add(R2, 0, R3)
    asm.mov(R1, R6)
    asm.ld_map(R2, "programs")
    asm.mov(R3, index)
    asm.call(Helper.TAIL_CALL)
    asm.mov(R0, 1000 + then)
    return finished(asm)


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, -1])
def test_tail_calls(index: int) -> None:
    """Program 0 goes on with itself until there were too many, 1 ends, 2 is not there."""
    last = Assembler()
    last.load(R0, R1, PT_REGS["rdi"])
    programs, counts = ProgramArrayMap(4), ArrayMap(64, 1)
    programs.programs = {0: _tail_caller(0, 3), 1: finished(last), 3: _tail_caller(1, 4)}
    machine = NativeMachine({"programs": programs, "counts": counts})
    assert machine.run(_tail_caller(index, 0), {"rdi": 99}) == {0: 1003, 1: 99, 3: 99}.get(index, 1000)
    assert machine.run(_tail_caller(index, 0), {"rdi": 99}) == {0: 1003, 1: 99, 3: 99}.get(index, 1000)
    assert int.from_bytes(counts.values[bytes(4)][24:32], "little") == (66 if index == 0 else 0)


def test_a_tail_call_that_is_never_made_costs_nothing() -> None:
    asm = Assembler()
    asm.mov(R0, 0)
    asm.jeq(R0, 0, "start")
    asm.ld_map(R2, "programs")
    asm.mov(R3, 0)
    asm.call(Helper.TAIL_CALL)
    asm.label("start")
    asm.load(R0, R1, PT_REGS["rdi"])
    assert run(asm, programs=ProgramArrayMap(1)) == 7
    with_it = finished(asm)
    asm = Assembler()
    asm.mov(R0, 0)
    asm.load(R0, R1, PT_REGS["rdi"])
    places = {"programs": MapPlace(0x1000, 0x2000, MapType.PROG_ARRAY, 1, 8)}
    assert translate(with_it, FAR, places, {}) == translate(finished(asm), FAR, {}, {})


# Maps


@pytest.mark.parametrize("entries", [1, 3])
@pytest.mark.parametrize("value_size", [1, 8, 20, 24, 64])
@pytest.mark.parametrize("inlined", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_lookups_in_arrays(entries: int, value_size: int, inlined: bool, known: bool) -> None:
    for key in (0, 1, 2, 3, 0x7FFFFFFF, -1):
        asm = Assembler()
        asm.mov(R6, key)
        if not known:
            asm.load(R2, R1, PT_REGS["rdi"])
            asm.add(R6, R2)
            asm.sub(R6, 7)
        asm.store(R10, -4, R6, 4)
        asm.ld_map(R1, "array")
        asm.mov(R2, R10)
        asm.add(R2, -4)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "none")
        asm.store(R0, 0, 0x55, 1)
        asm.mov(R0, 1)
        asm.exit_()
        asm.label("none")
        asm.mov(R0, 2)
        machine = NativeMachine({"array": ArrayMap(value_size, entries)}, inlined_arrays=inlined)
        assert machine.run(finished(asm), {"rdi": 7}) == (1 if 0 <= key < entries else 2)


def test_a_key_is_known_only_while_nothing_can_change_it() -> None:
    def look_up(between: Callable[[Assembler], None]) -> int:
        asm = Assembler()
        asm.mov(R6, R1)
        asm.mov(R7, R10)
        asm.load(R8, R6, PT_REGS["rdi"])
        asm.store(R10, -8, 0)
        between(asm)
        asm.label("look")
        asm.ld_map(R1, "array")
        asm.mov(R2, R10)
        asm.add(R2, -8)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "none")
        asm.load(R0, R0)
        asm.exit_()
        asm.label("none")
        asm.mov(R0, 99)
        array = ArrayMap(8, 9)
        for key, value in enumerate(array.values.values()):
            value[:] = (10 + key).to_bytes(8, "little")
        return run(asm, array=array, other=ArrayMap(8, 1))

    def by_unknown_pointer(asm: Assembler) -> None:
        asm.and_(R8, 0)
        asm.add(R8, R7)
        asm.store(R8, -8, 3, 4)

    def by_atomic(asm: Assembler) -> None:
        asm.mov(R1, 4)
        asm.atomic_add(R7, -8, R1)

    def by_helper(asm: Assembler) -> None:
        asm.mov(R1, R10)
        asm.add(R1, -8)
        asm.mov(R2, 4)
        asm.ld_map_value(R3, "other")
        asm.store(R3, 0, 5)
        asm.call(Helper.PROBE_READ_KERNEL)

    def by_another_way(asm: Assembler) -> None:
        asm.jne(R8, 7, "look")
        asm.store(R10, -8, 7, 4)

    def over_its_end(asm: Assembler) -> None:
        asm.store(R10, -7, 1, 1)

    def in_its_first_byte(asm: Assembler) -> None:
        asm.store(R10, -8, 0x100, 4)
        asm.store(R10, -8, 1, 1)

    def beside_it(asm: Assembler) -> None:
        asm.store(R10, -16, 1, 8)

    found = [look_up(one) for one in (lambda _: None, beside_it, by_unknown_pointer, by_atomic, by_helper,
                                      by_another_way, over_its_end, in_its_first_byte)]  # fmt: skip
    assert found == [10, 10, 13, 14, 15, 17, 99, 99]


def test_values_and_helpers_of_maps() -> None:
    asm = Assembler()
    asm.ld_map_value(R6, "array", 8)
    asm.store(R6, 0, 0x1234)
    asm.store(R10, -8, 42)
    asm.ld_map(R1, "hash")
    asm.mov(R2, R10)
    asm.add(R2, -8)
    asm.mov(R3, R6)
    asm.mov(R4, 0)
    asm.call(Helper.MAP_UPDATE)
    asm.ld_map(R1, "ring")
    asm.mov(R2, R6)
    asm.mov(R3, 8)
    asm.mov(R4, 0)
    asm.call(Helper.RINGBUF_OUTPUT)
    asm.store(R10, -8, 0)
    asm.ld_map(R1, "percpu")
    asm.mov(R2, R10)
    asm.add(R2, -8)
    asm.call(Helper.MAP_LOOKUP)
    asm.jeq(R0, 0, "none")
    asm.store(R0, 0, 5)
    asm.label("none")
    asm.call(Helper.KTIME_GET_NS)
    maps: Mapping[str, EmulatedMap] = {
        "array": ArrayMap(16, 1), "hash": HashMap(8, 8, 4), "ring": RingMap(4096), "percpu": PerCpuArrayMap(8, 1),
    }  # fmt: skip
    assert run(asm, **maps) == 1_000_000
    assert maps["hash"].values == {(42).to_bytes(8, "little"): (0x1234).to_bytes(8, "little")}


# Helpers


def _reader(size: int) -> Code:
    asm = Assembler()
    asm.load(R3, R1, PT_REGS["rdi"])
    asm.mov(R1, R10)
    asm.add(R1, -16)
    asm.mov(R2, size)
    asm.call(Helper.PROBE_READ_USER)
    asm.load(R0, R10, -16, 1)
    return finished(asm)


def test_helpers_written_in_place() -> None:
    seen: list[Call] = []

    def always_nine(asm: x86.Assembler, call: Call) -> bool:
        seen.append(call)
        if call.number(2) != 8:
            return False
        asm.mov(mem(RDI, size=8), 9)
        asm.mov(RDX, 0)
        asm.mov(RAX, RDX)
        return True

    class Machine(NativeMachine):
        def inlines(self) -> Mapping[Helper, Inline]:
            return {Helper.PROBE_READ_USER: always_nine}

    machine = Machine(memory=UserMemory({0xC000: b"abcdefgh"}), compared=False)
    assert machine.run(_reader(8), {"rdi": 0xC000}) == 9
    assert machine.run(_reader(4), {"rdi": 0xC000}) == ord("a")
    assert [(call.helper, call.number(2), call.number(3), call.map) for call in seen] == [
        (Helper.PROBE_READ_USER, 8, None, None), (Helper.PROBE_READ_USER, 4, None, None)]  # fmt: skip


@pytest.mark.parametrize("helper", [Helper.GET_STACK, Helper.SEND_SIGNAL, Helper.GET_CURRENT_TASK])
def test_helpers_that_only_the_kernel_has(helper: Helper) -> None:
    asm = Assembler()
    asm.call(helper)
    code = finished(asm)
    assert helpers_used(code) == {helper}
    with pytest.raises(Untranslatable, match=f"bpf_{helper.name.lower()}: ") as raised:
        translate(code, FAR, {}, {})
    assert raised.value.helper == helper
    assert "--via uprobe" in raised.value.remedy


def test_what_cannot_be_translated() -> None:
    unknown = Code((Instruction(isa.Class.JMP | isa.Jump.CALL, imm=9999), Instruction(0x95)), (), (), ())
    with pytest.raises(Untranslatable, match="9999"):
        helpers_used(unknown)
    with pytest.raises(Untranslatable, match="9999"):
        translate(unknown, FAR, {}, {})
    asm = Assembler()
    asm.ld_map(R0, "somewhere")
    with pytest.raises(Untranslatable, match="somewhere"):
        translate(finished(asm), FAR, {}, {})
    asm = Assembler()
    asm.call(Helper.TAIL_CALL)
    with pytest.raises(Untranslatable, match="tail call"):
        translate(finished(asm), FAR, {}, {})
    asm = Assembler()
    asm.mov(R0, 1)
    with pytest.raises(Untranslatable, match="runs out"):
        translate(asm.finish(), FAR, {}, {})


def test_helpers_used() -> None:
    asm = Assembler()
    asm.call(Helper.KTIME_GET_NS)
    asm.ld_func(R2, "step")
    asm.call(Helper.LOOP)
    asm.call(Helper.TAIL_CALL)
    asm.exit_()
    asm.label("step")
    asm.call(Helper.MAP_LOOKUP)
    assert helpers_used(finished(asm)) == {Helper.KTIME_GET_NS, Helper.MAP_LOOKUP}


def test_how_much_stack_a_program_takes() -> None:
    asm = Assembler()
    asm.mov(R0, 0)
    assert stack_size(finished(asm)) == 16  # its return address, and as if it called something
    asm = Assembler()
    asm.store(R10, -8, 1)
    asm.call_subprogram("inner")
    asm.exit_()
    asm.label("inner")
    asm.mov(R6, R1)
    asm.store(R10, -8, 1)
    asm.mov(R0, 0)
    size = stack_size(finished(asm))
    assert 2 * 512 < size <= 2 * 512 + 80
    asm = Assembler()
    asm.call_subprogram("round")
    asm.exit_()
    asm.label("round")
    asm.call_subprogram("round")
    with pytest.raises(Untranslatable, match="circle"):
        stack_size(finished(asm))


def test_distances_do_not_matter() -> None:
    """The same program, with maps and helpers near and far away."""
    asm = Assembler()
    asm.ld_map(R1, "one")
    asm.ld_map_value(R2, "one", 8)
    asm.call(Helper.MAP_DELETE)
    code = finished(asm)
    sizes = [len(translate(code, 0x7F0000000000, {"one": MapPlace(there, there + 64)}, {Helper.MAP_DELETE: there}))
             for there in (0x7F0000100000, 0x10000, 0x550000000000)]  # fmt: skip
    assert sizes[0] < sizes[2]
    assert sizes[1] < sizes[2]


def test_code_of_subprograms_that_nothing_reaches_is_left_out() -> None:
    asm = Assembler()
    asm.mov(R0, 0)
    asm.jeq(R0, 0, "end")
    asm.call_subprogram("unused")
    asm.label("end")
    asm.exit_()
    asm.label("unused")
    asm.call(Helper.GET_STACK)
    assert len(translate(finished(asm), FAR, {}, {})) < 10


@pytest.mark.parametrize("alone", [None, 0, 1])
@pytest.mark.parametrize("operation", [Atomic.ADD, Atomic.ADD | Atomic.FETCH, Atomic.OR, Atomic.XOR | Atomic.FETCH,
                                       Atomic.XCHG, Atomic.CMPXCHG])  # fmt: skip
@pytest.mark.parametrize("size", [4, 8])
def test_own_memory_needs_no_lock(alone: int | None, operation: int, size: int) -> None:
    """Per-CPU values of a thread that is alone on its stripe, and the stack; also by pointers that were put aside."""
    asm = Assembler()
    asm.store(R10, -8, 0)
    asm.store(R10, -24, 0x1234)
    asm.ld_map(R1, "percpu")
    asm.mov(R2, R10)
    asm.add(R2, -8)
    asm.call(Helper.MAP_LOOKUP)
    asm.jeq(R0, 0, "none")
    asm.store(R10, -16, R0)
    asm.call(Helper.KTIME_GET_NS)
    asm.load(R3, R10, -16)
    for base, offset in ((R3, 8), (R10, -24)):
        asm.mov(R0, 7)
        asm.mov(R4, 5)
        asm._atomic(operation, base, offset, R4, size)
        asm.store(R3, 16, R4)
        asm.store(R3, 24, R0)
    asm.load(R0, R10, -24)
    asm.exit_()
    asm.label("none")
    asm.mov(R0, 0)
    machine = NativeMachine({"percpu": PerCpuArrayMap(32, 1)}, alone=alone)
    code = finished(asm)
    machine.run(code)
    instructions = list(Decoder(64, machine.machine_code(code)))
    exchanges = [one for one in instructions if one.mnemonic == Mnemonic.XCHG]
    locked = [one for one in instructions if one.has_lock_prefix] + exchanges
    asked = [one for one in instructions if one.mnemonic == Mnemonic.CMP and one.memory_base == X86Register.R12]
    assert (len(locked), len(asked)) == (1, alone is not None)


def test_maps_may_have_helpers_of_their_own() -> None:
    asm = Assembler()
    asm.ld_map(R1, "one")
    asm.call(Helper.MAP_DELETE)
    asm.ld_map(R1, "two")
    asm.call(Helper.MAP_DELETE)
    asm.load(R1, R10, -8)
    asm.call(Helper.MAP_DELETE)
    places = {"one": MapPlace(FAR + 64, helpers={Helper.MAP_DELETE: FAR + 0x1000}), "two": MapPlace(FAR + 128)}
    code = translate(finished(asm), FAR, places, {Helper.MAP_DELETE: FAR + 0x2000})
    called = [one.near_branch_target - FAR for one in Decoder(64, code, ip=FAR) if one.mnemonic == Mnemonic.CALL]
    assert called == [0x1000, 0x2000, 0x2000]


@pytest.mark.parametrize("stride", [8, 24, 64])
@pytest.mark.parametrize("key", [0, 5])
def test_a_map_with_a_value_for_each_slot(stride: int, key: int) -> None:
    """Lookups find it by R12, whatever the key; nobody else writes there, so that nothing is locked."""
    asm = Assembler()
    asm.store(R10, -4, key, 4)
    asm.ld_map(R1, "frames")
    asm.mov(R2, R10)
    asm.add(R2, -4)
    asm.call(Helper.MAP_LOOKUP)
    asm.jeq(R0, 0, "none")
    asm.mov(R6, R0)
    asm.mov(R1, 5)
    asm.atomic_add(R6, 0, R1)
    asm.mov(R0, R6)
    asm.label("none")
    code = finished(asm)

    class Machine(NativeMachine):
        def _place(self, name: str) -> MapPlace:
            place = super()._place(name)
            return MapPlace(place.descriptor, place.values, place.kind, place.entries, place.stride,
                            slots=SLOT - 3 * 4096, slot_size=4096)  # fmt: skip

    frames = ArrayMap(stride, 4)
    machine = Machine({"frames": frames}, compared=False)
    assert machine.run(code) == address_of(frames.values[(3).to_bytes(4, "little")])
    assert [value[0] for value in frames.values.values()] == [0, 0, 0, 5]
    assert not any(one.has_lock_prefix for one in Decoder(64, machine.machine_code(code)))
