"""Sites in Go programs for arm64, of every Go version; `go tool objdump` judges what is there."""

from __future__ import annotations

import re

import pytest

from arm64_binaries import Arm64Binary, arm64
from gobuild import ALL, NEWEST, OLDEST, every_version
from gotap.image.code.arm64 import Arm64Function, JumpSite, NoJump, fits, jump_site
from gotap.image.code.arm64_relocation import words_of
from gotap.image.functions.pcvalue import value_at


def cases() -> list[object]:
    plain = [pytest.param(go, "plain", marks=() if go in (OLDEST, NEWEST) else pytest.mark.matrix) for go in ALL]
    others = [pytest.param(go, mode, marks=pytest.mark.matrix) for go in ALL for mode in ("unoptimised", "pie")]
    return [*plain, *others, pytest.param(NEWEST, "race", marks=pytest.mark.matrix)]


@pytest.fixture
def binary(go: str, mode: str) -> Arm64Binary:
    if mode == "unoptimised":
        return arm64("returns", go, "-gcflags=all=-N -l")
    return arm64("returns", go, mode=mode)


_GROWS = re.compile(r"CALL runtime\.morestack(_noctxt|c)?(\.abi0)?\(SB\)")


@pytest.mark.parametrize(("go", "mode"), cases())
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
        assert (site.scratch, site.nosplit, site.live, site.length) == (True, False, True, 4)
        assert site.resume == entry.address + 4 * len(site.after.instructions)
        checked += 1
    assert checked > 900
    assert unchecked > 50


@pytest.mark.parametrize(("go", "mode"), cases())
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


@pytest.mark.parametrize("go", every_version())
def test_census(go: str) -> None:
    """In a web server every function with a stack check, and every return and tail call, has its site; of the functions
    without a check only those have none that begin with a load through a pointer, or with a loop."""
    binary = arm64("httpserver", go)
    entries = sites = 0
    reasons: set[str] = set()
    for function, code in binary.compiled():
        entries += 1
        if code.entry is None:
            reasons.add(code.entry_trouble.split(",")[0])
        elif isinstance(site := jump_site(code, code.entry.address), NoJump):
            assert not code.entry.checked, function.name
            reasons.add(site.reason.split(":")[-1].strip())
        else:
            sites += 1
        assert all(isinstance(jump_site(code, one.address), JumpSite) for one in code.leavings), function.name
    assert entries > 5000
    assert sites > 0.94 * entries
    assert reasons <= {
        "its panic would come from the trampoline",
        "it begins with a loop",
        "it jumps through a register",
    }


@pytest.mark.parametrize(
    ("words", "index", "reason"),
    [
        ([0xF9400000, 0xD65F03C0], 0, "touches memory that may not be there"),
        ([0x885FFC01, 0xD503201F, 0x88027C01, 0xD65F03C0], 1, "store-exclusive pair"),
        ([0x885FFC01, 0xD503201F, 0x88027C01, 0xD65F03C0], 0, "store-exclusive pair"),
        ([0xD4000001, 0xD65F03C0], 0, "enters the kernel"),
        ([0xD503241F, 0xD65F03C0], 0, "is not known to work elsewhere"),  # bti c
        ([0xD503201F, 0xAA0103E0, 0xD65F03C0], 1, "does not check its stack"),
        ([0x58000040, 0xD65F03C0, 0, 0], 2, "no instruction begins"),  # a constant
        ([0x5800FF40, 0xD65F03C0], 0, "a constant outside of its function"),
    ],
)
def test_refusals(words: list[int], index: int, reason: str) -> None:
    code = Arm64Function(words_of(words), 0x11000)
    site = jump_site(code, 0x11000 + 4 * index)
    assert isinstance(site, NoJump)
    assert reason in site.reason
    assert fits(code, 0x11000 + 4 * index).reason == site.reason


def test_behind_an_exclusive_pair_all_is_well() -> None:
    code = Arm64Function(words_of([0x885FFC01, 0x88027C01, 0xD65F03C0]), 0x11000)
    assert isinstance(jump_site(code, 0x11008), JumpSite)


@pytest.mark.parametrize("go", every_version())
def test_no_event_comes_twice_by_preemption(go: str) -> None:
    """Entries where the compiler's table says that a preempted goroutine does some instructions again: all of them run
    in the trampoline. Go 1.18 … 1.20 have none in this program."""
    binary = arm64("httpserver", go)
    several = 0
    for function, code in binary.compiled():
        rows = binary.table.pcdata(function, 0)
        for address in [code.entry.address, *code.targets] if code.entry else []:
            site = jump_site(code, address)
            if not isinstance(site, JumpSite):
                continue
            last = site.after.instructions[-1].address - function.address
            here, behind = (value_at(rows, at) for at in (address - function.address, last + 4))
            assert {value_at(rows, at) for at in range(address - function.address, last + 4, 4)} == {here}
            assert here not in (-3, -4, -5) or behind != here, function.name
            several += len(site.after.instructions) > 1
    assert several > 0


@pytest.mark.parametrize("value", [-3, -4, -5])
def test_sequences_that_begin_anew(value: int) -> None:
    """`MOVD $n, R27; SUB R27, RSP, R20`, a long frame's prologue: the second runs with the first."""
    words = [0xD29A001B, 0xCB3B63F4, 0xA93FFA9D, 0x9100029F, 0xD65F03C0]
    code = Arm64Function(words_of(words), 0x11000, unsafe_points=[(0, 8, value), (8, 20, -1)])
    site = jump_site(code, 0x11000)
    if value == -5:
        assert isinstance(site, NoJump)
        assert "begins the function anew" in site.reason
        return
    assert isinstance(site, JumpSite)
    assert (site.end, site.moved_end, site.resume) == (0x11004, 0x11008, 0x11008)
    assert site.after.encode(0x400000) == words_of(words[:2])


@pytest.mark.parametrize(("kind", "reason"), [("assembly", "in assembly"), ("foreign", "not Go's")])
def test_what_go_has_not_compiled(kind: str, reason: str) -> None:
    code = Arm64Function(words_of([0xAA0103E0, 0xD65F03C0]), 0x11000, **{kind: True})
    site = jump_site(code, 0x11000)
    assert isinstance(site, NoJump)
    assert reason in site.reason


def test_c_in_the_function_table() -> None:
    """The race detector is C that Go's linker puts into the table of Go's functions: they are left alone."""
    binary = arm64("returns", NEWEST, mode="race")
    foreign = [code for function, code in binary.functions() if function.name.startswith("_ZN")]
    assert len(foreign) > 100
    assert all(code.foreign for code in foreign)
    assert isinstance(jump_site(foreign[0], foreign[0].address), NoJump)


def test_a_loop_at_the_start_is_no_entry() -> None:
    code = Arm64Function(words_of([0xD1000400, 0xB5FFFFE0, 0xD65F03C0]), 0x11000)  # sub; cbnz to the start; ret
    assert code.entry is None
    assert "loop" in code.entry_trouble


def test_a_closure_reads_its_context() -> None:
    code = Arm64Function(words_of([0xF9400741, 0xF9400742, 0xD65F03C0]), 0x11000)  # twice ldr [x26, #8]
    assert isinstance(jump_site(code, 0x11000), JumpSite)
    assert isinstance(jump_site(code, 0x11004), NoJump)


def test_a_variable_is_there() -> None:
    """ADRP and a load from that page; not if a jump may come between."""
    words = [0xD503201F, 0xF9400B90, 0x9000001B, 0xF9400361, 0xD65F03C0]
    code = Arm64Function(words_of(words), 0x11000)
    load = code.at(0x1100C)
    assert load is not None
    assert _stays(code, 0x1100C) == "does not check its stack"
    jumping = Arm64Function(words_of([0xB4000060, *words[1:]]), 0x11000)  # cbz to the load
    assert _stays(jumping, 0x1100C) == "touches memory that may not be there"


def _stays(code: Arm64Function, address: int) -> str:
    site = jump_site(code, address)
    assert isinstance(site, NoJump)
    reasons = ("does not check its stack", "touches memory that may not be there")
    return next(text for text in reasons if text in site.reason)
