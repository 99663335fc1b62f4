"""The rules for jump sites, on hand-assembled functions."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from itertools import pairwise

import pytest

from gobuild import NEWEST, OLDEST, build
from gotap.image.code import Cost, FunctionCode
from gotap.image.code.jumps import (
    Fit,
    JumpSite,
    JumpSites,
    JumpTooFar,
    NoJump,
    UnsafePoints,
    checked_entry,
    fits,
    jump_site,
    jump_sites,
    jumpable,
)
from patched_programs import GoCode

SAFE: list[tuple[int, int, int]] = [(0, 0x1000, -1)]
UNSAFE: list[tuple[int, int, int]] = [(0, 0x1000, -2)]
RESTART = "e8f71f0000"  # call of something; followed by the jump to the entry
CHECKED = [(0, 6, -2), (6, 0x1000, -1)]  # the check alone is unsafe


def function(code: str, words: Mapping[int, int] | None = None) -> FunctionCode:
    def read(address: int, size: int) -> bytes | None:
        return None if words is None or address not in words else words[address].to_bytes(size, "little")

    return FunctionCode(bytes.fromhex(code), 0x1000, read=read)


def site(code: str, address: int, rows: list[tuple[int, int, int]] = SAFE, **kinds: bool) -> JumpSite:
    found = jump_site(function(code), address, UnsafePoints(0x1000, rows, **kinds))
    assert isinstance(found, JumpSite), found
    return found


def refused(code: str, address: int, **kinds: bool) -> str:
    found = jump_site(function(code), address, UnsafePoints(0x1000, SAFE, **kinds))
    assert isinstance(found, NoJump)
    return found.reason


def parts(site: JumpSite) -> tuple[int, int, str, str, int | None]:
    return site.start, site.length, site.before.code.hex(), site.after.code.hex(), site.resume


# -- entries ----------------------------------------------------------------------------------------------------------

# 1000 cmp 0x10(%r14),%rsp; 1004 jbe 100c; 1006 push %rbp; 1007 mov %rsp,%rbp; 100a pop %rbp; 100b ret; 100c call; jmp
SMALL = "493b6610 7606 55 4889e5 5d c3" + RESTART + "ebed"


def test_entry_is_reached_through_the_check() -> None:
    found = site(SMALL, 0x1006, CHECKED)
    assert parts(found) == (0x1000, 4, "493b66107606", "", 0x1006)
    assert (found.live, found.reason_not_live, found.pun, found.scratch, found.nosplit) == (True, "", 0x76, True, False)


def test_a_far_jump_of_the_check_has_room_by_itself() -> None:
    # cmp; jbe 1010 (near); push %rbp; mov; pop; ret; call; jmp 1000
    found = site("493b6610 0f8606000000 55 4889e5 5d c3" + RESTART + "ebe9", 0x100A)
    assert parts(found) == (0x1004, 6, "0f8606000000", "", 0x100A)
    assert found.live


def test_larger_checks_have_no_boundary_inside() -> None:
    # lea -0x80(%rsp),%r12; cmp 0x10(%r14),%r12; jbe; push %rbp; pop %rbp; ret; call; jmp 1000
    found = site("4c8d642480 4d3b6610 7603 55 5d c3" + RESTART + "ebeb", 0x100B)
    assert parts(found) == (0x1000, 5, "4c8d6424804d3b66107603", "", 0x100B)
    assert found.live


def test_go1_20_enters_at_the_edge_of_the_check() -> None:
    # cmp; jbe 1012; sub $8,%rsp; xor %eax,%eax; add $8,%rsp; ret; nop; call; jmp
    code = "493b6610 760c 4883ec08 31c0 4883c408 c3 90" + RESTART + "ebe7"
    found = site(code, 0x1004, CHECKED)
    assert parts(found) == (0x1000, 4, "493b6610", "", 0x1004)
    assert not found.scratch  # the flags decide
    assert site(code, 0x1006, CHECKED).scratch


def test_without_a_check_a_goroutine_may_be_parked_in_the_prologue() -> None:
    # push %rbp; mov %rsp,%rbp; sub $0x10,%rsp; …
    found = site("55 4889e5 4883ec10 4883c410 5d c3", 0x1000)
    assert parts(found) == (0x1000, 8, "", "554889e54883ec10", 0x1008)
    assert not found.live
    assert "preempted at 0x1001" in found.reason_not_live
    assert found.nosplit
    assert site("55 4889e5 4883ec10 4883c410 5d c3", 0x1000, UNSAFE).live


# -- returns ----------------------------------------------------------------------------------------------------------


def test_an_epilogue_is_punned() -> None:
    """The jump ends in the pop, which a goroutine that is parked there still executes."""
    for padding in ("", "90"):
        found = site(f"31c0 4883c410 5d {padding} c3", 0x1002)
        assert parts(found) == (0x1002, 4, "", f"4883c4105d{padding}c3", None)
        assert (found.pun, found.live, found.scratch) == (0x5D, True, True)


def test_the_return_itself_is_reached_through_the_epilogue() -> None:
    found = site("31c0 4883c410 5d c3", 0x1007)
    assert parts(found) == (0x1002, 4, "4883c4105d", "c3", None)
    assert found.pun == 0x5D


def test_without_puns_an_epilogue_is_not_for_live_processes() -> None:
    unsafe = UnsafePoints(0x1000, SAFE)
    found = jump_site(function("31c0 4883c410 5d c3"), 0x1002, unsafe, puns=False)
    assert isinstance(found, JumpSite)
    assert parts(found) == (0x1002, 5, "", "4883c4105dc3", None)
    assert (found.pun, found.live) == (None, False)


def test_large_frames_need_no_pun() -> None:
    found = site("31c0 4881c400010000 5d c3", 0x100A)
    assert parts(found) == (0x1002, 7, "4881c4000100005d", "c3", None)
    assert (found.pun, found.live) == (None, True)


def test_epilogues_of_go1_20() -> None:
    # mov 0x10(%rsp),%rbp; add $0x18,%rsp; ret
    found = site("31c0 488b6c2410 4883c418 c3", 0x100B)
    assert parts(found) == (0x1002, 5, "488b6c24104883c418", "c3", None)
    assert found.live


def test_padding_behind_a_function_gives_room() -> None:
    found = site("4801d8 c3 cccccccccccccccccccccccc", 0x1003)
    assert parts(found) == (0x1003, 5, "", "c3", None)
    assert found.live
    assert "only 1 bytes" in refused("c3", 0x1000)


# -- calls ------------------------------------------------------------------------------------------------------------


def test_a_call_stays_where_the_instruction_before_it_has_room() -> None:
    """Else it is moved: its return address is behind the jump, so that a goroutine may be in the callee."""
    found = site("488b442408 e8f71f0000 90 c3", 0x1005)
    assert parts(found) == (0x1000, 5, "488b442408", "", 0x1005)
    found = site("4889d8 e8f71f0000 90 c3", 0x1003)
    assert parts(found) == (0x1003, 5, "", "e8f71f0000", None)
    assert found.live


def test_nothing_behind_a_call_can_be_overwritten_with_it() -> None:
    # ret; call *%rcx; test; ret: what leads to the call is unknown
    assert "only 2 bytes" in refused("c3 ffd1 4885c0 c3", 0x1001)
    # mov %rbx,%rax; call *%rcx
    found = site("31c9 4889d8 ffd1 4885c0 c3", 0x1005)
    assert parts(found) == (0x1000, 5, "31c94889d8", "", 0x1005)
    assert not found.live
    # call; mov %rbx,%rax; call *%rcx: the first one's return address is where the jump begins
    found = site("e8f71f0000 4889d8 ffd1 4885c0 c3", 0x1008)
    assert parts(found) == (0x1005, 5, "4889d8", "ffd1", None)


def test_behind_a_call_goroutines_come_back() -> None:
    # call; test %rax,%rax; je; …: a window must not begin before the call
    found = site("e8f71f0000 4885c0 7402 31c0 90 c3", 0x1008)
    assert found.start == 0x1005


# -- jumps ------------------------------------------------------------------------------------------------------------


def test_no_jump_may_lead_inside() -> None:
    # 1000 call; 1005 xor; 1007 xor; 1009 dec %rcx; 100c jne 1007; 100e nop; 100f ret
    code = "e8f71f0000 31c0 31db 48ffc9 75f9 90 c3"
    assert "a jump leads to 0x1007" in refused(code, 0x1005)
    assert site(code, 0x1007).start == 0x1007


def test_a_jump_to_the_window_goes_through_the_trampoline() -> None:
    # 1000 nop; 1001 dec %rax; 1004 jne 1001; 1006 ret
    found = site("90 48ffc8 75fb c3", 0x1004)
    assert parts(found) == (0x1001, 5, "48ffc8", "75fb", 0x1006)


def test_tables_of_switches() -> None:
    # cmp $2,%rax; jae 1011; lea 0x1ff3(%rip),%rcx (3000); jmp *(%rcx,%rax,8); 1011 xor; 1013 xor; 1015 nop; ret
    code = "4883f802 730b 488d0df31f0000 ff24c1 90 31c0 31db 90 c3"
    behind = {0x3000: 0x1011, 0x3008: 0x1013}
    unsafe = UnsafePoints(0x1000, SAFE)
    found = jump_site(function(code, behind), 0x1011, unsafe)
    assert isinstance(found, NoJump)
    assert "0x1013" in found.reason
    only = jump_site(function(code, {0x3000: 0x1011}), 0x1011, unsafe)
    assert isinstance(only, JumpSite)
    unknown = jump_site(function(code), 0x1011, unsafe)  # the table cannot be read: it may lead anywhere
    assert isinstance(unknown, NoJump)


def test_where_a_recovered_panic_goes_on_is_a_target() -> None:
    code = "e8f71f0000 90 31c0 31db c3"
    assert site(code, 0x1005).length == 5
    unsafe = UnsafePoints(0x1000, SAFE, recovery=0x1006)
    assert isinstance(jump_site(function(code), 0x1005, unsafe), NoJump)


def test_assembly_may_be_entered_anywhere() -> None:
    """duffzero is: only an instruction that has room for the whole jump is taken."""
    assert "a jump leads to" in refused("4889d8 4889cb c3", 0x1000, assembly=True)
    found = site("b801000000 c3", 0x1000, assembly=True)
    assert (found.length, found.scratch) == (5, False)


# -- what cannot run elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("488b4008 90909090", "may fault"),  # mov 8(%rax),%rax
        ("8400 90909090", "may fault"),  # test %al,(%rax)
        ("f348a5 909090", "may fault"),  # rep movsq
        ("48f7f9 909090", "may fault"),  # idiv %rcx
        ("c462f9f70418 90", "may fault"),  # shlx %rax,(%rax,%rbx),%r8: faultOnNilArg0
        ("0f05 909090", "enters the kernel"),
        ("0f0b 909090", "enters the kernel"),
        ("e2fe 909090", "loop instruction"),
        ("ff542408 90", "through the stack"),
        ("ff1d00100000", "far call"),
        ("67488b0500000000", "32-bit address"),
        ("06 90909090", "not understood"),
    ],
)
def test_instructions_that_must_stay(code: str, why: str) -> None:
    assert why in refused(code + "c3", 0x1000)


@pytest.mark.parametrize(
    "code",
    [
        "488b442408",  # mov 8(%rsp),%rax
        "488b05f0000000",  # mov 0xf0(%rip),%rax
        "498b4610 90",  # mov 0x10(%r14),%rax: g
        "488b04d8 90",  # mov (%rax,%rbx,8),%rax: the index was checked
        "644c8b3425f8ffffff",  # mov %fs:-8,%r14
        "488d4008 90",  # lea 8(%rax),%rax
        "0f1f440000",
    ],
)
def test_instructions_that_cannot_fault(code: str) -> None:
    assert site(code + "c3", 0x1000, UNSAFE).start == 0x1000


def test_a_pointer_that_was_used_before_is_not_nil() -> None:
    # mov (%rax),%rcx; mov 8(%rax),%rdx; nop
    found = site("488b08 488b5008 90 c3", 0x1003, UNSAFE)
    assert parts(found)[0] == 0x1003
    # … but was changed in between: mov (%rax),%rcx; mov %rcx,%rax; mov 8(%rax),%rdx; nop
    assert "may fault" in refused("488b08 4889c8 488b5008 90 c3", 0x1006)


def test_an_instruction_that_may_fault_can_follow_the_window() -> None:
    # mov 8(%rsp),%rax; mov (%rax),%rcx; ret
    found = site("488b442408 488b08 c3", 0x1005)
    assert parts(found) == (0x1000, 5, "488b442408", "", 0x1005)


def test_below_the_stack_pointer() -> None:
    # Go ≤ 1.21: mov %rbp,-0x10(%rsp); lea -0x10(%rsp),%rbp; call duffzero; mov (%rbp),%rbp; xor; ret
    code = "48896c24f0 488d6c24f0 e8f11f0000 488b6d00 31c0 90909090 c3"
    for address in (0x1005, 0x100A, 0x100F):
        assert "below the stack pointer" in refused(code, address)
    assert site(code, 0x1000).start == 0x1000
    assert site(code, 0x1013).start == 0x100F  # the pop of that frame runs before the event


def test_other_code_and_addresses() -> None:
    assert "no Go code" in refused("b801000000 c3", 0x1000, foreign=True)
    assert "no instruction begins at 0x1001" in refused("b801000000 c3", 0x1001)


# -- R12, R13 and the flags -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "scratch"),
    [
        ("b801000000 c3", True),  # nothing more is read
        ("4c89e0 9090 c3", False),  # mov %r12,%rax
        ("0f94c0 9090 c3", False),  # sete %al
        ("4531e4 4531ed c3", True),  # both are written first, and the flags
        ("4531e4 4c89e8 c3", False),  # mov %r13,%rax
        ("41b401 9090 4c89e0 c3", False),  # only a byte of R12
        ("b801000000 e8f71f0000 c3", False),  # who knows what is called
        ("7203 9090 90 c3", False),  # jb
    ],
)
def test_scratch(code: str, scratch: bool) -> None:
    assert site("4801d8" + code, 0x1003, UNSAFE).scratch == scratch


def test_scratch_until_something_is_written() -> None:
    # lea 8(%rsp),%rax; lea 8(%rsp),%rbx; jmp *%rax: nobody has written them since the entry
    assert site("488d442408 488d5c2408 ffe0", 0x1005).scratch
    for written in ("0fbae003", "48ffc0", "41b401", "664531e4"):  # bt, inc, movb to R12, xorw of R12
        assert not site(f"{written} 488d5c2408 ffe0", 0x1000 + len(written) // 2).scratch, written


# -- pages -----------------------------------------------------------------------------------------------------------


def test_no_jump_lies_in_two_pages() -> None:
    """It could be half written when gotap is killed."""
    unsafe = UnsafePoints(0x1FFC, UNSAFE)
    crossing = FunctionCode(bytes.fromhex("b801000000 c3"), 0x1FFC)
    found = jump_site(crossing, 0x1FFC, unsafe)
    assert isinstance(found, NoJump)
    assert "two pages" in found.reason
    within = jump_site(FunctionCode(bytes.fromhex("b801000000 c3"), 0x1FFB), 0x1FFB, UnsafePoints(0x1FFB, UNSAFE))
    assert isinstance(within, JumpSite)
    punned = jump_site(FunctionCode(bytes.fromhex("4883c410 5d c3"), 0x1FFC), 0x1FFC, UnsafePoints(0x1FFC, SAFE))
    assert isinstance(punned, JumpSite)  # only the four bytes before the page's end are written
    assert punned.pun == 0x5D


# -- several events ---------------------------------------------------------------------------------------------------


def test_sites_keep_out_of_each_others_way() -> None:
    code = function("31c0 488b542408 4889d8 488b4c2410 4883c410 5d c3")
    unsafe = UnsafePoints(0x1000, SAFE)
    wanted = [0x1002, 0x1007, 0x100A, 0x100F, 0x1014]
    found = jump_sites(code, wanted, unsafe)
    taken = sorted((one.start, one.moved_end) for one in found.values() if isinstance(one, JumpSite))
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))
    for address, one in found.items():
        if isinstance(one, NoJump):
            assert "another probe" in one.reason
            assert not any(start <= address < end for start, end in taken)  # a uprobe can be there
    assert {0x1002, 0x100A} <= {one.address for one in found.values() if isinstance(one, JumpSite)}


def test_the_last_byte_of_a_pun_is_nobody_elses() -> None:
    """Another jump there would make it lead elsewhere, a breakpoint too."""
    # lea -1(%rbx),%rax; lea 1(%rcx),%rdx …
    code, unsafe = function("488d43ff 488d5101 488d4801 488d7101 c3"), UnsafePoints(0x1000, SAFE)
    alone = jump_site(code, 0x1000, unsafe)
    assert isinstance(alone, JumpSite)
    assert (alone.pun, alone.end, alone.moved_end) == (0x48, 0x1004, 0x1005)
    both = jump_sites(code, [0x1000, 0x1004, 0x1008], unsafe)
    places = sorted((one.start, one.start + 5) for one in both.values() if isinstance(one, JumpSite))
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    assert not any(low < address < high for address in both for low, high in places)


def test_each_alone_would_find_room() -> None:
    code, unsafe = function("31c0 4883c410 5d c3"), UnsafePoints(0x1000, SAFE)
    sites = JumpSites(code, unsafe)
    assert all(isinstance(sites.at(address), JumpSite) for address in (0x1002, 0x1006))
    both = sites.spread([0x1002, 0x1006])
    assert sum(isinstance(one, JumpSite) for one in both.values()) < 2


def test_prices_by_jumps() -> None:
    """A return rather than the conditional jump before it, which a uprobe prefers."""
    # 1000 sub $0x100,%rsp; 1007 test; 100a jne 1011; 100c mov $1,%eax; 1011 add $0x100,%rsp; 1018 ret
    code = function("4881ec00010000 4885c0 7505 b801000000 4881c400010000 c3")
    unsafe = UnsafePoints(0x1000, SAFE)
    assert [(one.address, one.cost) for one in code.return_sites()] == [(0x100A, Cost.EMULATED)]
    chosen = jumpable(code, unsafe)
    (one,) = chosen.return_sites()
    assert (one.address, one.cost, one.edge) == (0x1011, Cost.NOP5, None)
    assert code.cost_at(0x1011) == Cost.SINGLE_STEP  # the original is what it was
    assert jumpable(function("c3"), unsafe).cost_at(0x1000) == Cost.SINGLE_STEP


def test_what_fits() -> None:
    unsafe = UnsafePoints(0x1000, CHECKED)
    assert fits(function(SMALL), 0x1006, unsafe) == Fit(True, True, True, "")
    assert not fits(function("c3"), 0x1000, unsafe).springboard
    found = fits(function("55 4889e5 4883ec10 4883c410 5d c3"), 0x1000, UnsafePoints(0x1000, SAFE))
    assert (found.springboard, found.hook, found.live) == (True, True, False)
    assert "preempted" in found.reason


# -- by the prologue's bytes alone ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLDEST, "1.21.13", NEWEST])
def test_prologues_tell_what_the_analysis_finds(version: str) -> None:
    program = GoCode(build("faults", version))
    told = asked = 0
    for function, code, unsafe in program.functions():
        entry = code.entry_site()
        content = program.image.code(function)
        for address in {one.ip for one in code.graph.instructions[:6]}:
            quick = checked_entry(content, function.address, address, unsafe)
            if quick is not None:
                assert quick == jump_site(code, address, unsafe), function.name
            if entry is not None and entry.address == address != function.address:
                told += quick is not None
                asked += 1
    assert told > 0.8 * asked
    assert asked > 800


# -- damaged code -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes(seed: int) -> None:
    """Executables come from others: whatever stands there is judged, and at worst refused."""
    chance = random.Random(seed)
    for _ in range(20):
        content = chance.randbytes(chance.randrange(1, 120))
        code = FunctionCode(content, 0x401000 + chance.randrange(4096))
        unsafe = UnsafePoints(code.address, [(0, len(content), chance.choice((-1, -2)))])
        addresses = [one.ip for one in code.graph.instructions]
        found = jump_sites(code, chance.sample(addresses, min(len(addresses), 6)), unsafe)
        for one in found.values():
            if isinstance(one, JumpSite):
                assert one.end <= code.graph.end
                for part in (one.before, one.after):
                    with contextlib.suppress(JumpTooFar):  # jumps that lead anywhere
                        part.encode(0x5D400000, 0x555555554000)
        jumpable(code, unsafe).return_sites()
        checked_entry(content, code.address, code.address + 6, unsafe)
