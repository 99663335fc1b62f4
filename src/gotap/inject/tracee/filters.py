"""seccomp filters: what one would do with a system call. Pure: classic BPF in, a number out.

Instructions are struct sock_filter (uapi/linux/filter.h), those that seccomp_check_filter lets through
(kernel/seccomp.c, Linux 6.18); they read struct seccomp_data, and their answer is SECCOMP_RET_* (uapi/linux/seccomp.h).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

KILL_PROCESS, KILL_THREAD, TRAP, ERRNO = 0x80000000, 0, 0x00030000, 0x00050000
USER_NOTIF, TRACE, LOG, ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000
_ACTION = 0xFFFF0000
#: Those that end the process, or send it a signal that it may not survive.
DEADLY = (KILL_PROCESS, KILL_THREAD, TRAP)

_DATA = struct.Struct("=IIQ6Q")  # nr, arch, instruction_pointer, args
_AUDIT_ARCH_X86_64 = 0xC000003E
_WORD = (1 << 32) - 1

#: class, and for ALU and JMP the operation (uapi/linux/bpf_common.h).
_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_IMMEDIATE, _ABSOLUTE, _MEMORY, _LENGTH = 0x00, 0x20, 0x60, 0x80
_BY_X, _TXA = 0x08, 0x80

_ARITHMETIC: dict[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b if b else 0,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << b if b < 32 else 0,
    0x70: lambda a, b: a >> b if b < 32 else 0,
    0x80: lambda a, b: -a,
    0xA0: lambda a, b: a ^ b,
}
_CONDITIONS: dict[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: bool(a & b),
}

Instruction = tuple[int, int, int, int]  # code, jt, jf, k


def parse(content: bytes) -> tuple[Instruction, ...]:
    return tuple(struct.iter_unpack("=HBBI", content))


def answer(filters: Iterable[Sequence[Instruction]], number: int, arguments: Sequence[int], at: int) -> int:
    """The action that the kernel takes for a call: the strictest of what the filters say.

    `at` is the address behind the `syscall` instruction. A filter that cannot be followed counts as KILL_PROCESS.
    """
    data = _DATA.pack(number, _AUDIT_ARCH_X86_64, at, *(tuple(arguments) + (0,) * 6)[:6])
    actions = []
    for instructions in filters:
        try:
            actions.append(run(instructions, data) & _ACTION)
        except (IndexError, KeyError, struct.error):
            actions.append(KILL_PROCESS)
    # KILL_PROCESS is the smallest as a signed number (seccomp_run_filters).
    return min(actions, key=lambda action: action - (1 << 32) if action >> 31 else action, default=ALLOW)


def run(instructions: Sequence[Instruction], data: bytes) -> int:
    """One filter's answer, SECCOMP_RET_DATA included."""
    a = x = 0
    memory = [0] * 16
    at = 0
    while True:
        code, taken, otherwise, k = instructions[at]
        at += 1
        kind, mode = code & 7, code & 0xF0
        operand = x if code & _BY_X else k
        if kind == _RET:
            return a if code & 0x18 == 0x10 else k
        if kind in (_LD, _LDX):
            loaded = _load(code & 0xE0, k, memory, data)
            a, x = (loaded, x) if kind == _LD else (a, loaded)
        elif kind in (_ST, _STX):
            memory[k] = a if kind == _ST else x
        elif kind == _ALU:
            a = _ARITHMETIC[mode](a, operand) & _WORD
        elif kind == _JMP:
            at += k if mode == 0 else taken if _CONDITIONS[mode](a, operand) else otherwise
        elif code & _TXA:
            a = x
        else:
            x = a


def _load(mode: int, k: int, memory: Sequence[int], data: bytes) -> int:
    if mode == _ABSOLUTE:
        return int(struct.unpack_from("=I", data, k)[0])
    return {_IMMEDIATE: k, _LENGTH: len(data), _MEMORY: memory[k % 16]}[mode]
