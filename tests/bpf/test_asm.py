"""The assembler and the disassembler; the kernel's verifier, which prints what it reads, is the oracle of both."""

from __future__ import annotations

import ctypes
import os
import re
import struct

import pytest

from bpf_samples import IMAGE, random_program, signed_extensions
from gotap.bpf.asm import R0, R1, R2, R3, R6, R7, R10, Assembler, AssemblerError, Code, Helper
from gotap.bpf.disasm import disassemble
from gotap.kernel import syscalls
from gotap.kernel.bpf import Map, MapType, ProgramType
from kernel_access import needs_bpf


def _verifier_lines(code: Code, fds: dict[str, int]) -> dict[int, str]:
    """Index → text, as the verifier prints the instructions that it walks (log level 2)."""
    log = ctypes.create_string_buffer(1 << 24)
    os.close(syscalls.program_load(ProgramType.SOCKET_FILTER, code.bytes(fds), log_level=2, log=log))
    lines = re.findall(rb"^(\d+): (\([0-9a-f]{2}\) .*?)(?: +;.*)?$", log.value, re.MULTILINE)
    return {int(index): text.decode() for index, text in lines}


@pytest.mark.root
@needs_bpf
def test_prints_what_the_verifier_prints() -> None:
    seen = set()
    with Map.create(MapType.ARRAY, 4, 1024, 1) as registers:
        for code in (signed_extensions(), *(random_program(seed) for seed in range(60))):
            fds = {"registers": registers.fd}
            ours = dict(re.findall(r"^(\d+): (.*)$", disassemble(code.bytes(fds)), re.MULTILINE))
            for index, text in _verifier_lines(code, fds).items():
                if not text.startswith("(18)"):  # the kernel shows the map's address
                    assert ours[str(index)] == text
                    seen.add(text[:4])
    assert len(seen) > 90, "opcodes that were compared"
    assert IMAGE <= 1024


def test_listing_shows_labels_and_maps() -> None:
    asm = Assembler()
    asm.ld_map(R1, "rows")
    asm.ld_map_value(R2, "counters", 16)
    asm.ld_func(R3, "body")
    asm.call_subprogram("body")
    asm.ld_imm64(R6, 0x1122334455667788)
    asm.jeq(R6, -1, "out")
    asm.call(Helper.MAP_LOOKUP)
    asm.label("out")
    asm.exit_()
    asm.label("body")
    asm.mov(R0, 0)
    asm.exit_()
    code = asm.finish()
    assert code.listing() == """\
   0: (18) r1 = map[rows]
   2: (18) r2 = map[counters]+16
   4: (18) r3 = subprog[+7]
   6: (85) call pc+5
   7: (18) r6 = 0x1122334455667788
   9: (15) if r6 == 0xffffffff goto pc+1
  10: (85) call bpf_map_lookup_elem#1
out:
  11: (95) exit
body:
  12: (b7) r0 = 0
  13: (95) exit
"""
    assert code.subprograms == ((12, "body"),)
    assert code.maps == {"rows", "counters"}


def test_bytes_as_in_the_instruction_set_document() -> None:
    """Documentation/bpf/standardization/instruction-set.rst: opcode, dst | src << 4, s16 offset, s32 immediate."""
    asm = Assembler()
    asm.mov(R6, R1)
    asm.load(R7, R6, 80)
    asm.store(R10, -4, 0, size=4)
    asm.atomic_add(R6, 8, R7)
    asm.ld_map(R1, "m")
    asm.label("end")
    asm.exit_()
    assert asm.finish().bytes({"m": 9}) == b"".join([
        struct.pack("<BBhi", 0xBF, 0x16, 0, 0),
        struct.pack("<BBhi", 0x79, 0x67, 80, 0),
        struct.pack("<BBhi", 0x62, 0x0A, -4, 0),
        struct.pack("<BBhi", 0xDB, 0x76, 8, 0),
        struct.pack("<BBhi", 0x18, 0x11, 0, 9),
        struct.pack("<BBhi", 0, 0, 0, 0),
        struct.pack("<BBhi", 0x95, 0, 0, 0),
    ])  # fmt: skip


def test_jumps_reach_as_far_as_16_bits() -> None:
    def program(between: int) -> Assembler:
        asm = Assembler()
        asm.jump("far")
        for _ in range(between):
            asm.mov(R0, 0)
        asm.label("far")
        asm.exit_()
        return asm

    assert program(32767).finish().instructions[0].offset == 32767
    with pytest.raises(AssemblerError, match="spans 32768 instructions"):
        program(32768).finish()

    backwards = Assembler()
    backwards.label("start")
    backwards.mov(R0, 0)
    backwards.jump("start")
    assert backwards.finish().instructions[1].offset == -2


@pytest.mark.parametrize(("build", "message"), [
    (lambda asm: asm.jump("nowhere"), "nowhere is used and not placed"),
    (lambda asm: (asm.label("a"), asm.label("a")), "placed twice"),
    (lambda asm: asm.mov(R0, 1 << 32), "does not fit in 32 bits"),
    (lambda asm: asm.and_(R0, 0xFFFFFFFF), "would be sign-extended"),
    (lambda asm: asm.jgt(R0, 0x80000000, "x"), "would be sign-extended"),
    (lambda asm: asm.store(R10, -8, 256, size=1), "does not fit in a store of 1 bytes"),
    (lambda asm: asm.load(R0, R10, 40000), "does not fit in 16 bits"),
    (lambda asm: asm.atomic_add(R10, -8, R0, size=2), "no atomic operations on 2 bytes"),
    (lambda asm: asm.ld_imm64(R0, 1 << 64), "does not fit in 64 bits"),
])  # fmt: skip
def test_refuses_what_cannot_be_encoded(build: object, message: str) -> None:
    def assemble() -> Code:
        asm = Assembler()
        build(asm)  # type: ignore[operator]
        return asm.finish()

    with pytest.raises(AssemblerError, match=message):
        assemble()


def test_a_map_that_is_not_given() -> None:
    asm = Assembler()
    asm.ld_map(R1, "rows")
    with pytest.raises(AssemblerError, match="rows"):
        asm.finish().bytes({})


def test_a_32_bit_operation_takes_unsigned_immediates() -> None:
    asm = Assembler()
    asm.and32(R0, 0xFFFFFFFF)
    asm.jeq32(R0, 0x80000000, "end")
    asm.label("end")
    asm.exit_()
    assert [one.imm for one in asm.finish().instructions] == [-1, -0x80000000, 0]


@pytest.mark.parametrize(("value", "slots"), [
    (0, 1), (-1, 1), (0x7FFFFFFF, 1), (0xFFFFFFFF, 1), (0x80000000, 1), (-0x80000000, 1), (1 << 32, 2),
    (-0x80000001, 2), (0xFFFFFFFFFFFFFFFF, 1), (0x8000000000000000, 2),
])  # fmt: skip
def test_the_shortest_constant_has_the_right_value(value: int, slots: int) -> None:
    from bpf_interpreter import Machine

    asm = Assembler()
    asm.constant(R0, value)
    assert len(asm) == slots
    asm.exit_()
    assert Machine().run(asm.finish()) == value & (1 << 64) - 1
