"""The rules for sites, on hand-assembled functions."""

from __future__ import annotations

import pytest

from gotap.image.code import (
    CONDITIONS,
    Callees,
    Constant,
    Cost,
    Edge,
    Exit,
    FunctionCode,
    Global,
    Register,
    Stack,
    StaticAddress,
)

RESULTS = ("rax", "rbx", "rcx")


def function(code: str, **known: frozenset[int]) -> FunctionCode:
    return FunctionCode(bytes.fromhex(code), 0x1000, callees=Callees(**known))


# -- edges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", range(16))
@pytest.mark.parametrize("rflags", [0, 0x1, 0x4, 0x40, 0x80, 0x800, 0x880, 0x41, 0x8C0, 0x8D5])
def test_edge(condition: int, rflags: int) -> None:
    carry, parity, zero, sign, overflow = (bool(rflags & bit) for bit in (0x1, 0x4, 0x40, 0x80, 0x800))
    holds = {  # Intel SDM volume 1, appendix B
        "o": overflow, "no": not overflow, "b": carry, "ae": not carry, "e": zero, "ne": not zero,
        "be": carry or zero, "a": not carry and not zero, "s": sign, "ns": not sign, "p": parity, "np": not parity,
        "l": sign != overflow, "ge": sign == overflow, "le": zero or sign != overflow,
        "g": not zero and sign == overflow,
    }[CONDITIONS[condition]]  # fmt: skip
    assert Edge(condition, taken=True).counts(rflags) == holds
    assert Edge(condition, taken=False).counts(rflags) != holds


# -- entry -------------------------------------------------------------------------------------------------------

RESTART = "e8f71f0000"  # call of something; followed by the jump to the entry


def test_entry_is_the_push_behind_the_check() -> None:
    # 1000 cmp 0x10(%r14),%rsp; 1004 jbe 1009; 1006 push %rbp; 1007 pop %rbp; 1008 ret; 1009 call; 100e jmp 1000
    site = function("493b6610 7603 55 5d c3" + RESTART + "ebf0").entry_site()
    assert site is not None
    assert (site.address, site.cost, site.sp_offset, site.edge, site.once) == (0x1006, Cost.EMULATED, 0, None, True)


def test_entry_is_the_edge_of_the_check_up_to_go1_20() -> None:
    # cmp; jbe 1012; sub $8,%rsp; xor %eax,%eax; add $8,%rsp; ret …
    site = function("493b6610 760c 4883ec08 31c0 4883c408 c3 90" + RESTART + "ebe7").entry_site()
    assert site is not None
    assert (site.address, site.edge) == (0x1004, Edge(CONDITIONS.index("be"), taken=False))


def test_entry_may_be_the_first_call() -> None:
    # as above, with a call in place of the xor: nothing has changed when it is reached
    site = function("493b6610 760e 4883ec08 e8f11f0000 4883c408 c3" + RESTART + "ebe5").entry_site()
    assert site is not None
    assert (site.address, site.sp_offset, site.edge) == (0x100A, 8, None)


def test_entry_of_a_leaf_is_not_moved_over_what_may_fail_or_change_arguments() -> None:
    for first in ("488b08", "48ffc0", "48894c2408", "488908"):  # load, inc %rax, store above SP, store to the heap
        site = function(first + "90 c3").entry_site()
        assert site is not None
        assert (site.address, site.cost) == (0x1000, Cost.SINGLE_STEP)
    site = function("4885c0 7501 c3 c3").entry_site()  # test %rax,%rax; jne
    assert site is not None
    assert (site.address, site.cost, site.edge) == (0x1003, Cost.EMULATED, None)


def test_entry_in_a_loop_is_told() -> None:
    site = function("48ffc8 75fb c3").entry_site()
    assert site is not None
    assert not site.once


def test_nop5_is_avoided_where_memory_below_sp_is_used() -> None:
    nop = "0f1f440000"
    assert function(nop + "c3").cost_at(0x1000) == Cost.NOP5
    assert function(nop + "48896c24f0 c3").cost_at(0x1000) == Cost.FORBIDDEN  # mov %rbp,-0x10(%rsp)


# -- results -----------------------------------------------------------------------------------------------------


def test_results_before_an_epilogue() -> None:
    # push %rbp; sub $0x10,%rsp
    # jmp +0; mov 8(%rsp),%rax; lea x(%rip),%rbx; xor %ecx,%ecx; add $0x10,%rsp; pop %rbp; ret
    code = function("55 4883ec10 eb00 488b442408 488d1d10000000 31c9 4883c410 5d c3")
    (site,) = code.return_sites(RESULTS)
    assert (site.address, site.cost, site.sp_offset, site.edge) == (0x1005, Cost.EMULATED, 0x18, None)
    assert site.results == (Stack(8), StaticAddress(0x1023), Constant(0))


def test_results_through_the_stack_and_globals() -> None:
    # nop; mov %rdx,8(%rsp); mov 8(%rsp),%rax; mov x(%rip),%rbx; movzbl 0x10(%rsp),%ecx; ret
    (site,) = function("90 4889542408 488b442408 488b1d10000000 0fb64c2410 c3").return_sites(RESULTS)
    assert site.address == 0x1000
    assert site.results == (Register("rdx"), Global(0x1022), Stack(0x10, size=1))


@pytest.mark.parametrize(
    "between",
    [
        "e8fb1f0000",  # a call
        "48890a",  # a store through a pointer: may fault, may change 8(%rsp)
        "488b1a",  # a load through a pointer: may fault
        "66c74424080100",  # a store into part of the slot
        "f348ab",  # rep stos
        "48f7f1",  # div
        "4801c0",  # what is in %rax is not yet known before
    ],
)
def test_no_site_before_what_hides_the_results(between: str) -> None:
    # nop; BETWEEN; the result is in %rax, or loaded from 8(%rsp); ret
    for load in ("", "488b442408"):
        if not load and between == "66c74424080100":
            continue  # %rax is not concerned
        if load and between == "4801c0":
            continue
        (site,) = function("90" + between + load + "c3").return_sites(("rax",))
        assert site.cost == Cost.SINGLE_STEP
        assert site.results == (Register("rax"),)


def test_faults_may_be_allowed() -> None:
    code = function("90 48890a 488b442408 c3")  # nop; mov %rcx,(%rdx); mov 8(%rsp),%rax; ret
    assert code.return_sites(("rax",), allow_faults=True)[0].address == 0x1009, "the store may change 8(%rsp)"
    assert function("90 48890a c3").return_sites(("rax",), allow_faults=True)[0].address == 0x1000


def test_harmless_callees_are_crossed() -> None:
    # nop; call 2000; mov 8(%rsp),%rax; ret
    code, callee = "90 e8fa0f0000 488b442408 c3", frozenset((0x2000,))
    assert function(code).return_sites(("rax",))[0].cost == Cost.SINGLE_STEP
    assert function(code, harmless=callee).return_sites(("rax",))[0].address == 0x1001
    assert function("90 e8fa0f0000 c3", harmless=callee).return_sites(("rax",))[0].address == 0x1006, "%rax is lost"


def test_both_directions_of_a_jump_are_two_sites_or_one() -> None:
    # je 1007; mov $1,%eax … ; both return
    (first, second) = function("7406 b801000000 c3 31c0 c3").return_sites(("rax",))
    assert first.address == second.address == 0x1000
    assert {(site.edge, site.results) for site in (first, second)} == {
        (Edge(CONDITIONS.index("e"), taken=True), (Constant(0),)),
        (Edge(CONDITIONS.index("e"), taken=False), (Constant(1),)),
    }
    (only,) = function("7403 31c0 c3 31c0 c3").return_sites(("rax",))
    assert only.edge is None


def test_jumps_in_loops_are_no_return_sites() -> None:
    (site,) = function("48ffc8 75fb c3").return_sites(("rax",))
    assert (site.address, site.cost) == (0x1005, Cost.SINGLE_STEP)


def test_idle_hits_are_bounded() -> None:
    # cmp $i,%rax; jne next; xor %eax,%eax; ret: ten times, and a last return
    code = "".join(f"4883f8{i:02x} 7503 31c0 c3" for i in range(10)) + "31c0 c3"
    for idle_hits in (0, 1, 5, 100):
        sites = function(code).return_sites(("rax",), idle_hits=idle_hits)
        branches = {site.address for site in sites if site.edge or site.cost == Cost.EMULATED}
        assert len(branches) == min(10, idle_hits + 1)
        assert len(sites) >= 10


def test_shared_return_is_split_by_the_ways_into_it() -> None:
    # je 1009; mov $1,%eax; jmp 100b; 1009 xor %eax,%eax; 100b ret
    sites = function("7407 b801000000 eb02 31c0 c3").return_sites(("rax",))
    assert [(site.address, site.results) for site in sites if site.cost.cheap] == [
        (0x1000, (Constant(0),)),
        (0x1007, (Register("rax"),)),
    ]


def test_tail_call() -> None:
    (site,) = function("e9fb0f0000").return_sites(RESULTS)
    assert (site.exit, site.results, site.cost) == (Exit.TAIL_CALL, (None, None, None), Cost.EMULATED)


# -- calls and words -----------------------------------------------------------------------------------------------


def test_call_sites() -> None:
    # je 100c; call 2000; call 2000 … ; 100c call 3000; ret
    code = function("740a e8f90f0000 e8f40f0000 e8ef1f0000 c3")
    first, second = code.call_sites({0x2000})
    assert (first.always, first.once, first.cost) == (False, True, Cost.EMULATED)
    assert second.target == 0x2000
    (last,) = code.call_sites({0x3000})
    assert (last.always, last.once) == (True, True)
    late = code.late_site()
    assert late is not None
    assert late.address == last.address


def test_words_survive_calls_in_the_callers_area_only() -> None:
    # sub $0x10,%rsp; mov %rax,0x18(%rsp); mov %rbx,8(%rsp); call; nop
    code = function("4883ec10 4889442418 48895c2408 e8ed0f0000 90 4883c410 c3")
    assert code.words_at(0x100E, ("rax", "rbx", "rcx")) == (Register("rax"), Register("rbx"), Register("rcx"))
    assert code.words_at(0x1013, ("rax", "rbx", "rcx", 8)) == (Stack(0x18), None, None, None)


def test_words_whose_address_is_taken_do_not_survive() -> None:
    # sub; mov %rax,0x18(%rsp); lea 0x18(%rsp),%rdi; call; nop
    code = function("4883ec10 4889442418 488d7c2418 e8ed0f0000 90 4883c410 c3")
    assert code.words_at(0x1013, ("rax",)) == (None,)


def test_after_call() -> None:
    # call 2000; mov %rbx,%rdx; xor %ebx,%ebx; test %rdx,%rdx; je
    code = function("e8fb0f0000 4889da 31db 4885d2 7400 c3")
    site = code.after_call(0x1000, ("rax", "rbx", "rcx"))
    assert site is not None
    assert site.address == 0x100D
    assert site.results == (Register("rax"), Register("rdx"), Register("rcx"))
    assert code.after_call(0x1005, ("rax",)) is None, "no call"
    assert [site.address for site in code.call_sites()] == [0x1000]
    assert function("e8fb0f0000 31c0 90 c3").after_call(0x1000, ("rax",)) is None, "%rax is gone"
    # call 2000; mov %rbx,(%rcx); je
    storing = function("e8fb0f0000 488919 7400 c3")
    assert storing.after_call(0x1000, ("rax",)) is None, "the store may fault, and then the site would not fire"
    site = storing.after_call(0x1000, ("rax",), allow_faults=True)
    assert site is not None
    assert site.address == 0x1008


@pytest.mark.parametrize(
    ("between", "address"),
    [
        ("90", 0x1006),  # nop
        ("90 4889d0", 0x1005),  # nop; mov %rdx,%rax: the result is gone
        ("90 488919", 0x1005),  # nop; mov %rbx,(%rcx), which may fault
        ("90 e8ea0f0000", 0x1005),  # nop; call
    ],
)
def test_behind_a_call_one_of_the_cheapest_is_worth_the_way(between: str, address: int) -> None:
    site = function(f"e8fb0f0000 {between} 0f1f440000 c3").after_call(0x1000, ("rax",), allow_faults=True)
    assert site is not None
    assert site.address == address
