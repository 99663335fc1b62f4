"""Sites in Go programs for arm64, of every Go version; `go tool objdump` judges what is there."""

from __future__ import annotations

import re

import pytest

from arm64_binaries import Arm64Binary, arm64
from gobuild import ALL, NEWEST, OLDEST, every_version
from gotap.image.code.arm64 import Arm64Function, JumpSite, NoJump, fits, jump_site
from gotap.image.code.arm64_relocation import words_of

_UNOPTIMISED = "-gcflags=all=-N -l"


def cases() -> list[object]:
    plain = [pytest.param(go, "", marks=() if go in (OLDEST, NEWEST) else pytest.mark.matrix) for go in ALL]
    return [*plain, *(pytest.param(go, _UNOPTIMISED, marks=pytest.mark.matrix) for go in ALL)]


@pytest.fixture
def binary(go: str, flags: str) -> Arm64Binary:
    return arm64("returns", go, *([flags] if flags else []))


@pytest.mark.parametrize(("go", "flags"), cases())
def test_entries_are_behind_the_stack_check(binary: Arm64Binary) -> None:
    """Behind the conditional jump to the call of morestack, the last if there are two; else the first instruction."""
    checked = unchecked = 0
    listing = binary.listing()
    for function, code in binary.compiled():
        rows = listing[function.name] if len(binary.table.find_all(function.name)) == 1 else []
        entry = code.entry
        grows = [address for address, _, text in rows if re.search(r"runtime\.morestack(_noctxt|c)?(\.abi0)?\(SB\)", text)]
        if not rows or entry is None:
            continue
        if not grows or function.name.startswith("runtime.morestack"):
            assert (entry.address, entry.checked) == (function.address, False)
            unchecked += 1
            continue
        # Jumps of the prologue to the block that ends the function; the distance is in instructions.
        jumps = [
            address for address, _, text in rows[:14]
            if (found := re.match(r"BL[SO] (\d+)\(PC\)", text))
            and grows[-1] - 400 <= address + 4 * int(found[1]) <= grows[-1]
        ]  # fmt: skip
        assert jumps, function.name
        assert (entry.address, entry.checked) == (jumps[-1] + 4, True), function.name
        checked += 1
    assert checked > 900
    assert unchecked > 50


@pytest.mark.parametrize(("go", "flags"), cases())
def test_every_return_is_a_site(binary: Arm64Binary) -> None:
    """All RETs that the disassembler sees are sites, live and with free registers; no other instruction is one."""
    listing = binary.listing()
    returns = 0
    for function, code in binary.compiled():
        if len(binary.table.find_all(function.name)) != 1:
            continue
        rets = {address for address, _, text in listing[function.name] if text == "RET"}
        found = {one.address for one in code.leavings if not one.tail}
        assert found == rets, function.name
        for address in found:
            site = jump_site(code, address)
            assert isinstance(site, JumpSite)
            assert (site.start, site.length, site.live, site.scratch, site.resume) == (address, 4, True, True, None)
        returns += len(rets)
    assert returns > 1500
