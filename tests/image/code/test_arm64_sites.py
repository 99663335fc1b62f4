"""Sites in Go programs for arm64, of every Go version; `go tool objdump` judges what is there."""

from __future__ import annotations

import re

import pytest

from arm64_binaries import Arm64Binary, arm64
from gobuild import ALL, NEWEST, OLDEST
from gotap.image.code.arm64 import JumpSite, jump_site
from gotap.image.code.arm64_relocation import words_of

_UNOPTIMISED = "-gcflags=all=-N -l"


def cases() -> list[object]:
    plain = [pytest.param(go, "", marks=() if go in (OLDEST, NEWEST) else pytest.mark.matrix) for go in ALL]
    return [*plain, *(pytest.param(go, _UNOPTIMISED, marks=pytest.mark.matrix) for go in ALL)]


@pytest.fixture
def binary(go: str, flags: str) -> Arm64Binary:
    return arm64("returns", go, *([flags] if flags else []))


_GROWS = re.compile(r"CALL runtime\.morestack(_noctxt|c)?(\.abi0)?\(SB\)")


@pytest.mark.parametrize(("go", "flags"), cases())
def test_entries_are_behind_the_stack_check(binary: Arm64Binary) -> None:
    """Behind the conditional jump to the call of morestack, the last if there are two; else the first instruction."""
    checked = unchecked = 0
    for function, code in binary.compiled():
        rows = binary.rows(function)
        grows = [address for address, text in rows if _GROWS.match(text)]
        entry = code.entry
        if not grows:
            assert entry is None or (entry.address, entry.checked) == (function.address, False), function.name
            unchecked += entry is not None
            continue
        # Jumps of the prologue to the block that ends the function; the distance is in instructions.
        jumps = [
            (address, address + 4 * int(found[1]))
            for address, text in rows[:14]
            if (found := re.match(r"BL[SO] (\d+)\(PC\)", text))
        ]
        jumps = [(address, target) for address, target in jumps if target == jumps[0][1]]
        assert 0 < grows[-1] - jumps[0][1] < 400, function.name
        assert entry is not None, function.name
        assert (entry.address, entry.checked) == (jumps[-1][0] + 4, True), function.name
        site = jump_site(code, entry.address)
        assert isinstance(site, JumpSite), function.name
        assert (site.scratch, site.nosplit, site.live, site.resume) == (True, False, True, entry.address + 4)
        checked += 1
    assert checked > 900
    assert unchecked > 50


@pytest.mark.parametrize(("go", "flags"), cases())
def test_every_return_is_a_site(binary: Arm64Binary) -> None:
    """All RETs that the disassembler sees are sites, live and with free registers; no other instruction is one."""
    returns = 0
    for function, code in binary.compiled():
        rets = {address for address, text in binary.rows(function) if text == "RET"}
        assert {one.address for one in code.leavings if not one.tail} == rets, function.name
        for address in rets:
            site = jump_site(code, address)
            assert isinstance(site, JumpSite)
            assert (site.start, site.length, site.live, site.scratch, site.resume) == (address, 4, True, True, None)
            assert site.after.encode(0x100000) == words_of([0xD65F03C0])
        returns += len(rets)
    assert returns > 1500
