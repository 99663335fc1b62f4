"""Which instructions may fault, and so must stay where they are.

Go makes a panic of a nil pointer's fault by the PC at which it happened: sigpanic becomes a callee of that instruction
(runtime/signal_amd64.go, preparePanic; signal_unix.go, shouldPushSigpanic; Go 1.18–1.27). In a trampoline it would find
no function there, and end the process instead of running deferred functions.

The compiler relies on such faults only where an address is a pointer and a constant, less than a page
(cmd/compile/internal/ssa/nilcheck.go). With an index there is a check of its own, but for a few shifts of GOAMD64=v3,
which are marked faultOnNilArg0 in ssa/_gen/AMD64Ops.go (Go 1.21–1.27).
"""

from __future__ import annotations

from iced_x86 import Instruction, Mnemonic, OpKind, Register

from ..effects import NONE, R14, RBP, RIP, RSP

_INDEXED = frozenset((Mnemonic.SARX, Mnemonic.SHLX, Mnemonic.SHRX))
_HARMLESS = frozenset((Mnemonic.LEA, Mnemonic.NOP))
_DIVISIONS = frozenset((Mnemonic.DIV, Mnemonic.IDIV))
#: Operands that touch no memory; string instructions have others.
_PLAIN = frozenset(
    (
        OpKind.REGISTER,
        OpKind.NEAR_BRANCH64,
        OpKind.IMMEDIATE8,
        OpKind.IMMEDIATE8_2ND,
        OpKind.IMMEDIATE16,
        OpKind.IMMEDIATE32,
        OpKind.IMMEDIATE64,
        OpKind.IMMEDIATE8TO16,
        OpKind.IMMEDIATE8TO32,
        OpKind.IMMEDIATE8TO64,
        OpKind.IMMEDIATE32TO64,
    )
)


def fault(instruction: Instruction, *, assembly: bool) -> int | None:
    """What may make an instruction fault: the register with a pointer, NONE for anything else; None: nothing.

    `assembly`: people wrote it, who may use RBP and R14 for pointers, and read beyond what they are given.
    """
    if instruction.mnemonic in _HARMLESS:
        return None
    if instruction.mnemonic in _DIVISIONS:
        return NONE
    memory = False
    for operand in range(instruction.op_count):
        kind = instruction.op_kind(operand)
        if kind == OpKind.MEMORY:
            memory = True
        elif kind not in _PLAIN:
            return NONE
    return _unsafe_base(instruction, assembly) if memory else None


def _unsafe_base(instruction: Instruction, assembly: bool) -> int | None:
    base = instruction.memory_base
    if base in (RSP, RIP):
        return None
    if assembly:
        return int(base)
    if base in (R14, RBP):  # g; the frame
        return None
    if base == NONE:  # TLS, of which the address is constant
        return None if instruction.segment_prefix == Register.FS else NONE
    if instruction.memory_index != NONE and instruction.mnemonic not in _INDEXED:
        return None
    return int(base)


def pointer_used(instruction: Instruction) -> int | None:
    """The register that the instruction takes for a pointer to memory: behind it that is known not to be nil."""
    if instruction.mnemonic in _HARMLESS or instruction.memory_index != NONE:
        return None
    kinds = [instruction.op_kind(operand) for operand in range(instruction.op_count)]
    return int(instruction.memory_base) if OpKind.MEMORY in kinds else None
