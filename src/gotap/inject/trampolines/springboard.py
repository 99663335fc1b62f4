"""Springboards: a stub is a 5-byte nop that carries an ordinary uprobe, between the instructions that the jump
displaced.

    before | nop5 | after | jmp resume

Linux ≥ 6.18 turns a uprobe on a nop5 into a call of a kernel-provided trampoline (arch_uprobe_optimize,
arch/x86/kernel/uprobes.c, "uprobes/x86: Add support to optimize uprobes"), unless the nop crosses a page; older kernels
emulate the nop. The call takes 32 bytes of the goroutine's stack: a return address and three registers.

The program sees the registers as at the site, all but the instruction pointer, which is the nop's.
"""

from __future__ import annotations

from typing import NamedTuple

from gotap.image.code.jumps.model import JumpSite
from gotap.inject.trampolines.stub import after_code, largest, original
from gotap.inject.trampolines.windows import PAGE, Jump

NOP5 = bytes.fromhex("0f1f440000")


class Springboard(NamedTuple):
    """A stub's code for the address it was made for, and where in it the nop is."""

    code: bytes
    nop: int


def springboard_jump(site: JumpSite, bias: int = 0) -> Jump:
    """What the stub wants of `plan`."""
    return Jump(site.start + bias, largest(site) + 2 * len(NOP5), 0, site.pun, original(site))


def springboard(site: JumpSite, at: int, bias: int = 0) -> Springboard:
    """The stub for address `at` of the process; `bias` is what the process adds to the image's addresses.

    Raises JumpTooFar.
    """
    code = site.before.encode(at - bias, bias)
    left = -(at + len(code)) % PAGE
    if left < len(NOP5):  # the kernel rewrites the nop only within a page
        code += b"\x90" * left
    nop = len(code)
    code += NOP5
    return Springboard(code + after_code(site, at + len(code), bias), nop)
