"""BPF instructions as text, in the notation of the kernel's verifier (kernel/bpf/disasm.c, Linux 6.18)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from gotap.bpf.isa import (
    LD_IMM64,
    MODE_ATOMIC,
    MODE_MEMSX,
    PSEUDO_CALL,
    PSEUDO_FUNC,
    PSEUDO_MAP_FD,
    PSEUDO_MAP_VALUE,
    REG,
    SIZE_BYTES,
    Alu,
    Atomic,
    Class,
    Helper,
    Instruction,
    Jump,
)

_ALU = {Alu.ADD: "+=", Alu.SUB: "-=", Alu.MUL: "*=", Alu.DIV: "/=", Alu.OR: "|=", Alu.AND: "&=", Alu.LSH: "<<=",
        Alu.RSH: ">>=", Alu.MOD: "%=", Alu.XOR: "^=", Alu.MOV: "=", Alu.ARSH: "s>>="}
_JUMP = {Jump.JEQ: "==", Jump.JGT: ">", Jump.JLT: "<", Jump.JGE: ">=", Jump.JLE: "<=", Jump.JSET: "&",
         Jump.JNE: "!=", Jump.JSGT: "s>", Jump.JSLT: "s<", Jump.JSGE: "s>=", Jump.JSLE: "s<="}
_ATOMIC = {Atomic.ADD: ("+=", "add"), Atomic.AND: ("&=", "and"), Atomic.OR: ("|=", "or"), Atomic.XOR: ("^=", "xor")}


def disassemble(data: bytes) -> str:
    """One line an instruction: `index: (opcode) text`; maps show as `map[fd:N]`."""
    return "".join(f"{index}: {text}\n" for index, text in _lines(Instruction.unpack(data), {}))


def listing(instructions: Sequence[Instruction], maps: Mapping[int, str], labels: Sequence[tuple[int, str]]) -> str:
    """As `disassemble`, with a line for each label; `maps` is the text of the LD_IMM64 at an index."""
    names = defaultdict(list)
    for index, label in labels:
        names[index].append(label)
    lines = []
    for index, text in _lines(instructions, maps):
        lines += [f"{label}:\n" for label in names.pop(index, [])]
        lines.append(f"{index:4}: {text}\n")
    lines += [f"{label}:\n" for placed in names.values() for label in placed]  # placed after the last instruction
    return "".join(lines)


def _lines(instructions: Sequence[Instruction], maps: Mapping[int, str]) -> list[tuple[int, str]]:
    lines, index = [], 0
    while index < len(instructions):
        one = instructions[index]
        if one.opcode == LD_IMM64:
            high = instructions[index + 1].imm if index + 1 < len(instructions) else 0
            text = f"r{one.dst} = {maps.get(index) or _imm64(one, high)}"
        else:
            text = instruction_text(one)
        lines.append((index, f"({one.opcode:02x}) {text}"))
        index += 2 if one.opcode == LD_IMM64 else 1
    return lines


def _imm64(one: Instruction, high: int) -> str:
    if one.src == PSEUDO_MAP_FD:
        return f"map[fd:{one.imm}]"
    if one.src == PSEUDO_MAP_VALUE:
        return f"map[fd:{one.imm}]+{high}"
    if one.src == PSEUDO_FUNC:
        return f"subprog[{one.imm:+d}]"
    return f"{(high & 0xFFFFFFFF) << 32 | one.imm & 0xFFFFFFFF:#x}"


def instruction_text(one: Instruction) -> str:
    """The text of any instruction but LD_IMM64."""
    group = one.opcode & 7
    if group in (Class.ALU, Class.ALU64):
        return _alu(one, "r" if group == Class.ALU64 else "w")
    if group in (Class.JMP, Class.JMP32):
        return _jump(one, "r" if group == Class.JMP else "w")
    return _memory(one)


def _alu(one: Instruction, letter: str) -> str:
    operation = one.opcode & 0xF0
    dst = f"{letter}{one.dst}"
    if operation == Alu.END:
        if one.opcode & 7 == Class.ALU64:
            return f"r{one.dst} = bswap{one.imm} r{one.dst}"
        return f"r{one.dst} = {'be' if one.opcode & REG else 'le'}{one.imm} r{one.dst}"
    if operation == Alu.NEG:
        return f"{dst} = -{dst}"
    sign = _ALU.get(Alu(operation), "?")
    if operation in (Alu.DIV, Alu.MOD) and one.offset == 1:
        sign = f"s{sign}"
    if not one.opcode & REG:
        return f"{dst} {sign} {one.imm}"
    cast = f"(s{one.offset})" if operation == Alu.MOV and one.offset else ""
    return f"{dst} {sign} {cast}{letter}{one.src}"


def _jump(one: Instruction, letter: str) -> str:
    operation = one.opcode & 0xF0
    if operation == Jump.CALL:
        if one.src == PSEUDO_CALL:
            return f"call pc{one.imm:+d}"
        try:
            name = f"bpf_{Helper(one.imm).name.lower()}"
        except ValueError:
            name = "unknown"
        return f"call {_KERNEL_NAMES.get(name, name)}#{one.imm}"
    if operation == Jump.EXIT:
        return "exit"
    if operation == Jump.JA:
        return f"goto pc{one.offset:+d}"
    right = f"{letter}{one.src}" if one.opcode & REG else f"{one.imm & 0xFFFFFFFF:#x}"
    return f"if {letter}{one.dst} {_JUMP.get(Jump(operation), '?')} {right} goto pc{one.offset:+d}"


#: Where a name of ours is shorter than the kernel's.
_KERNEL_NAMES = {f"bpf_map_{verb}": f"bpf_map_{verb}_elem" for verb in ("lookup", "update", "delete")}


def _memory(one: Instruction) -> str:
    bits = 8 * SIZE_BYTES[one.opcode & 0x18]
    group, mode = one.opcode & 7, one.opcode & 0xE0
    if group == Class.LDX:
        return f"r{one.dst} = *({'s' if mode == MODE_MEMSX else 'u'}{bits} *)(r{one.src} {one.offset:+d})"
    place = f"(u{bits} *)(r{one.dst} {one.offset:+d})"
    if group == Class.ST:
        return f"*{place} = {one.imm}"
    if mode != MODE_ATOMIC:
        return f"*{place} = r{one.src}"
    width = "64" if bits == 64 else ""
    if one.imm == Atomic.CMPXCHG:
        return f"r0 = atomic{width}_cmpxchg({place}, r0, r{one.src})"
    if one.imm == Atomic.XCHG:
        return f"r{one.src} = atomic{width}_xchg({place}, r{one.src})"
    sign, name = _ATOMIC[Atomic(one.imm & ~Atomic.FETCH)]
    if one.imm & Atomic.FETCH:
        return f"r{one.src} = atomic{width}_fetch_{name}({place}, r{one.src})"
    return f"lock *{place} {sign} r{one.src}"
