"""Jumps as bytes."""

from __future__ import annotations

import pytest
from iced_x86 import Decoder, Mnemonic

from gotap.inject.patches.patch import Found, jump_patch, why_not
from gotap.inject.trampolines.windows import PAGE

EPILOGUE = bytes.fromhex("4883c4105d")  # add $0x10, %rsp; pop %rbp


@pytest.mark.parametrize("target", [0x400000, 0x401235, 0x5D500000, 0x8000_0000])
def test_a_jump_leads_where_it_should(target: int) -> None:
    patch = jump_patch(0x401230, bytes(range(8)), target)
    (jump,) = Decoder(64, patch.new, ip=0x401230)
    assert (jump.mnemonic, jump.near_branch_target, jump.len) == (Mnemonic.JMP, target, 5)
    assert (patch.original, patch.end, patch.moved_end) == (bytes(range(8)), 0x401235, 0x401238)


def test_a_pun_leaves_the_instruction_behind_it() -> None:
    target = 0x401230 + 5 + 0x5D123456
    patch = jump_patch(0x401230, EPILOGUE, target, 0x5D)
    assert (patch.size, patch.original) == (4, EPILOGUE)
    (jump,) = Decoder(64, patch.new + EPILOGUE[4:], ip=0x401230)
    assert jump.near_branch_target == target


@pytest.mark.parametrize(("target", "original"), [
    (0x401230 + 5 + 0x5C123456, EPILOGUE), (0x401230 + 5 + 0x5D123456, EPILOGUE[:4] + b"\x90"), (0x401230, EPILOGUE)
])  # fmt: skip
def test_a_pun_that_is_none(target: int, original: bytes) -> None:
    with pytest.raises(ValueError, match="does not end in 0x5d"):
        jump_patch(0x401230, original, target, 0x5D)


def test_too_far() -> None:
    with pytest.raises(ValueError, match="cannot be reached"):
        jump_patch(0x401230, EPILOGUE, 0x401235 + (1 << 31))


def test_whose_bytes() -> None:
    patch = jump_patch(0x401230, EPILOGUE, 0x5D500000)
    assert patch.whose(EPILOGUE) is Found.ORIGINAL
    assert patch.whose(patch.new) is Found.OURS
    assert patch.whose(b"\xcc" + patch.new[1:]) is Found.FOREIGN
    longer = jump_patch(0x401230, EPILOGUE + b"\xc3", 0x5D500000)
    assert longer.whose(EPILOGUE) is longer.whose(EPILOGUE + b"\xc3") is Found.ORIGINAL
    assert longer.whose(EPILOGUE + b"\xcc") is Found.FOREIGN, "a breakpoint that would never be met"
    assert longer.whose(longer.new) is longer.whose(longer.new + b"\xcc") is Found.OURS


def test_a_jump_to_its_pad_is_one_byte_and_not_taken_for_another() -> None:
    target = 0x401230 + 5 + int.from_bytes(EPILOGUE[1:], "little")
    padded = jump_patch(0x401230, EPILOGUE + b"\xc3", target, 0x5D)
    assert (padded.new, padded.end, padded.moved_end) == (b"\xe9", 0x401231, 0x401236)
    assert padded.whose(b"\xe9" + EPILOGUE[1:]) is Found.OURS
    assert padded.whose(EPILOGUE) is Found.ORIGINAL
    other = jump_patch(0x401230, EPILOGUE, 0x5D500000)
    assert padded.whose(other.new) is other.whose(b"\xe9" + EPILOGUE[1:]) is Found.FOREIGN


@pytest.mark.parametrize(("offset", "pun", "fits"), [
    (0, None, True), (PAGE - 5, None, True), (PAGE - 4, None, False), (PAGE - 1, None, False),
    (PAGE - 4, 0x5D, True), (PAGE - 3, 0x5D, False),
])  # fmt: skip
def test_a_jump_lies_in_one_page(offset: int, pun: int | None, fits: bool) -> None:
    assert (why_not(0x401000 + offset, pun) == "") is fits


def test_a_uprobe_on_the_programs_own_bytes_is_no_jump() -> None:
    """Nor is one where a jump to a landing pad was, whose displacement is the program's own."""
    patch = jump_patch(0x1000, EPILOGUE, 0x5D001000)
    assert patch.is_under_uprobe(b"\xcc" + EPILOGUE[1:])
    assert not patch.is_under_uprobe(EPILOGUE)
    assert not patch.is_under_uprobe(b"\xcc" + patch.new[1:])
    assert not patch.is_under_uprobe(patch.new)
