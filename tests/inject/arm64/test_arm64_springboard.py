"""Springboards for arm64 on an emulated processor, and where they are worth it."""

from __future__ import annotations

import pytest

from arm64_machine import Machine
from gotap.image.code.arm64 import Arm64Function, JumpSite, jump_site
from gotap.image.code.arm64_instructions import NOP
from gotap.image.code.arm64_relocation import OutOfReach, jump, words_of
from gotap.inject.arm64.springboard import largest, springboard, worthwhile

TEXT, STUB = 0x11000, 0x400000
#: A leaf with a stack check, of which the second block asks for more stack.
FUNCTION = [
    0xF9400B90, 0xEB3063FF, 0x540000E9, 0xAA0103E0, 0xD65F03C0, 0x94000001, 0xB4FFFFE0, 0xD503201F, 0xD503201F,
    0xAA1E03E3, 0x97FFF800, 0x17FFFFF5,
]  # fmt: skip
BODY = Arm64Function(words_of(FUNCTION), TEXT)


def site(index: int) -> JumpSite:
    found = jump_site(BODY, TEXT + 4 * index)
    assert isinstance(found, JumpSite)
    return found


@pytest.mark.parametrize("bias", [0, 0x5550000000])
def test_through_the_nop_and_back(bias: int) -> None:
    entry = site(3)
    made = springboard(entry, STUB + bias, bias)
    assert len(made.code) <= largest(entry)
    assert made.code[made.nop : made.nop + 4] == words_of([NOP])
    machine = Machine()
    machine.load(TEXT + bias, words_of(FUNCTION))
    machine.load(STUB + bias, made.code)
    machine.load(entry.start + bias, words_of(jump(entry.start, STUB)))
    state, trace = machine.run(TEXT + bias + 12, {TEXT + bias + 16}, {"x1": 7})
    assert state.registers["x0"] == 7
    assert [address - bias for address in trace] == [TEXT + 12, STUB, STUB + 4, STUB + 8]


def test_where_a_springboard_is_worth_it() -> None:
    """Not where the kernel emulates the instruction itself: returns, calls, jumps, nops."""
    assert [worthwhile(site(index)) for index in (3, 4, 5, 6, 7)] == [True, False, False, False, False]


def test_too_far() -> None:
    with pytest.raises(OutOfReach):
        springboard(site(3), STUB + (1 << 28))
