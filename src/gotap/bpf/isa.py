"""The BPF instruction set: opcodes, registers, helper numbers, one 8-byte instruction.

Source: Documentation/bpf/standardization/instruction-set.rst and include/uapi/linux/bpf.h (Linux 6.18).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import Enum, IntEnum

from msgspec import Struct


class Reg(Enum):
    """R0 result, R1–R5 arguments (lost by calls), R6–R9 kept by calls, R10 frame pointer (read-only).

    Not an int on purpose: an operand is a `Reg` or an immediate, and the type checker tells them apart.
    """

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Reg


class Class(IntEnum):
    LD = 0x00
    LDX = 0x01
    ST = 0x02
    STX = 0x03
    ALU = 0x04
    JMP = 0x05
    JMP32 = 0x06
    ALU64 = 0x07


class Alu(IntEnum):
    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30  # offset 1: signed (Linux 6.6)
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90  # offset 1: signed (Linux 6.6)
    XOR = 0xA0
    MOV = 0xB0  # offset 8, 16, 32: sign extension (Linux 6.6)
    ARSH = 0xC0
    END = 0xD0


class Jump(IntEnum):
    JA = 0x00
    JEQ = 0x10
    JGT = 0x20
    JGE = 0x30
    JSET = 0x40
    JNE = 0x50
    JSGT = 0x60
    JSGE = 0x70
    CALL = 0x80
    EXIT = 0x90
    JLT = 0xA0
    JLE = 0xB0
    JSLT = 0xC0
    JSLE = 0xD0


class Atomic(IntEnum):
    """Immediate of an atomic store; the kernel has the fetching forms from 5.12."""

    ADD = 0x00
    OR = 0x40
    AND = 0x50
    XOR = 0xA0
    FETCH = 0x01
    XCHG = 0xE1
    CMPXCHG = 0xF1


IMM, REG = 0x00, 0x08
MODE_MEM, MODE_MEMSX, MODE_ATOMIC = 0x60, 0x80, 0xC0
LD_IMM64 = 0x18
#: Size of a memory access in bytes → the opcode's size bits.
SIZE_BITS = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
SIZE_BYTES = {bits: size for size, bits in SIZE_BITS.items()}

# What the source register of a LD_IMM64 or a CALL says about its immediate.
PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_FUNC, PSEUDO_CALL = 1, 2, 4, 1

STACK_SIZE = 512


class Helper(IntEnum):
    """enum bpf_func_id, as far as uprobe programs are of use to us."""

    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    PROBE_READ = 4
    KTIME_GET_NS = 5
    GET_PRANDOM_U32 = 7
    GET_SMP_PROCESSOR_ID = 8
    TAIL_CALL = 12
    GET_CURRENT_PID_TGID = 14
    GET_CURRENT_COMM = 16
    PERF_EVENT_OUTPUT = 25
    GET_STACKID = 27
    GET_CURRENT_TASK = 35
    PROBE_WRITE_USER = 36
    GET_STACK = 67
    SEND_SIGNAL = 109
    PROBE_READ_USER = 112
    PROBE_READ_KERNEL = 113
    PROBE_READ_USER_STR = 114
    PROBE_READ_KERNEL_STR = 115
    SEND_SIGNAL_THREAD = 117
    GET_NS_CURRENT_PID_TGID = 120
    KTIME_GET_BOOT_NS = 125
    RINGBUF_OUTPUT = 130
    RINGBUF_RESERVE = 131
    RINGBUF_SUBMIT = 132
    RINGBUF_DISCARD = 133
    RINGBUF_QUERY = 134
    COPY_FROM_USER = 148
    GET_FUNC_IP = 173
    GET_ATTACH_COOKIE = 174
    LOOP = 181
    STRNCMP = 182
    MAP_LOOKUP_PERCPU = 195


class RingFlags(IntEnum):
    """Last argument of RINGBUF_OUTPUT, SUBMIT and DISCARD; 0 wakes the reader when it has caught up."""

    ADAPTIVE = 0
    NO_WAKEUP = 1
    FORCE_WAKEUP = 2


#: Register of the probed process → its offset in struct pt_regs, the context of uprobe programs on x86-64
#: (arch/x86/include/asm/ptrace.h).
PT_REGS = {
    "r15": 0, "r14": 8, "r13": 16, "r12": 24, "rbp": 32, "rbx": 40, "r11": 48, "r10": 56, "r9": 64, "r8": 72,
    "rax": 80, "rcx": 88, "rdx": 96, "rsi": 104, "rdi": 112, "orig_rax": 120, "rip": 128, "cs": 136, "rflags": 144,
    "rsp": 152, "ss": 160,
}  # fmt: skip
PT_REGS_SIZE = 168


class Instruction(Struct, frozen=True):
    """One slot; LD_IMM64 takes two, the second with only `imm` (the upper half)."""

    opcode: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    imm: int = 0

    def pack(self) -> bytes:
        return pack((self,))

    @classmethod
    def unpack(cls, data: bytes) -> list[Instruction]:
        if len(data) % 8:
            raise ValueError(f"{len(data)} bytes are not whole BPF instructions")
        return [cls(opcode, registers & 15, registers >> 4, offset, imm)
                for opcode, registers, offset, imm in struct.iter_unpack("<BBhi", data)]


def pack(instructions: Sequence[Instruction]) -> bytes:
    one = struct.Struct("<BBhi").pack
    return b"".join([one(each.opcode, each.dst | each.src << 4, each.offset,
                         (each.imm & 0xFFFFFFFF ^ 0x80000000) - 0x80000000) for each in instructions])  # fmt: skip


def signed32(value: int) -> int:
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def signed64(value: int) -> int:
    return (value & (1 << 64) - 1 ^ 1 << 63) - (1 << 63)
