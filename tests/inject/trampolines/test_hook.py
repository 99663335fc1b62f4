"""Hook stubs, run in this process: nothing of the site changes, and programs see the site."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

import pytest

from gotap.inject.machine.layout import OWN_STRIPES, STRIPES, Header, Slot
from gotap.inject.trampolines import hook
from gotap.inject.trampolines.slots import MULTIPLIER, SHIFT, Context
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import R12, R13, RAX
from hook_stubs import REGISTERS, SITE, Stub, Stubs, rubbish

KINDS = pytest.mark.parametrize("scratch", [True, False], ids=["scratch", "careful"])
LOST_AT_SCRATCH = (R12, R13)


@pytest.fixture
def stubs() -> Stubs:
    if not Path("/proc/cpuinfo").read_text().count("fsgsbase"):
        pytest.skip("no RDFSBASE here")
    return Stubs()


def fs_base() -> int:
    a = Assembler()
    a.rdfsbase(RAX)
    a.ret()
    stubs = Stubs()
    at = stubs._add(a.finish())
    return int(ctypes.CFUNCTYPE(ctypes.c_uint64)(at)())


@KINDS
@pytest.mark.parametrize("seed", range(20))
def test_the_site_is_as_before(stubs: Stubs, seed: int, scratch: bool) -> None:
    stub = stubs.stub([(stubs.program(), stubs.counter(0))], scratch=scratch)
    seen = stubs.run(stub, *rubbish(seed))
    lost = LOST_AT_SCRATCH if scratch else ()
    assert {one: seen.after[one] for one in REGISTERS if one not in lost} == {
        one: seen.before[one] for one in REGISTERS if one not in lost
    }
    if not scratch:
        assert seen.flags_after == seen.flags_before
    assert seen.bytes_of_stack == (0 if scratch else 16)
    assert stubs.count(0) == 1


@KINDS
def test_programs_see_the_site(stubs: Stubs, scratch: bool) -> None:
    stub = stubs.stub([(stubs.program(), stubs.counter(0))], scratch=scratch)
    seen = stubs.run(stub, *rubbish(1))
    for register in REGISTERS:
        if not (scratch and register in LOST_AT_SCRATCH):
            assert stubs.seen(Context[repr(register).upper()]) == seen.before[register], register
    assert stubs.seen(Context.RIP) == SITE
    assert stubs.seen(Context.RSP) == seen.stack
    stack, slot = stubs.words(stubs.context + 168, 2)
    assert stubs.slots.address < slot < stubs.slots.end
    assert slot + Slot.STACK - 64 <= stack <= slot + Slot.STACK


@KINDS
def test_the_thread_finds_its_slot_again(stubs: Stubs, scratch: bool) -> None:
    stub = stubs.stub([(stubs.program(), stubs.counter(0))], scratch=scratch)
    slots = set()
    for seed in range(5):
        stubs.run(stub, *rubbish(seed))
        slots.add(stubs.read(stubs.context + 176))
    assert len(slots) == 1
    slot = slots.pop()
    base = fs_base()
    assert stubs.read(slot + Slot.OWNER) == base
    assert slot == stubs.slots.address + (base * MULTIPLIER % (1 << 64) >> SHIFT & stubs.slots.mask) or (
        slot == stubs.slot(1) and base * MULTIPLIER % (1 << 64) >> SHIFT & stubs.slots.mask == 0
    )
    assert stubs.read(stubs.region + Header.CLAIMED) == 1


def test_both_kinds_find_the_same_slot(stubs: Stubs) -> None:
    program = stubs.program()
    for first, second in ((True, False), (False, True)):
        stubs = Stubs()
        program = stubs.program()
        found = set()
        for scratch in (first, second):
            stubs.run(stubs.stub([(program, stubs.counter(0))], scratch=scratch), *rubbish(2))
            found.add(stubs.read(stubs.context + 176))
        assert len(found) == 1


@KINDS
def test_several_programs_the_last_first(stubs: Stubs, scratch: bool) -> None:
    first, second = stubs.program(), stubs.program()
    wanted = [(first, stubs.counter(0)), (second, stubs.counter(1)), (first, stubs.counter(2))]
    stub = stubs.stub(wanted, scratch=scratch)
    stubs.run(stub, *rubbish(3))
    assert [stubs.count(number) for number in range(3)] == [1, 1, 1]
    assert stubs.read(stubs.read(stub.record + 8) + 8) == stubs.counter(2), "what came last runs first"


def test_programs_come_and_go_while_the_site_fires(stubs: Stubs) -> None:
    program = stubs.program()
    stub = stubs.stub([], scratch=True)
    stubs.run(stub, *rubbish(4))
    for number in range(hook.PROGRAMS):
        at = hook.element(stub.record, number)
        stubs.put(at, hook.packed(program, stubs.counter(number)))
        stubs.write(hook.first_pointer(stub.record), at)
        stubs.run(stub, *rubbish(number))
    assert [stubs.count(number) for number in range(hook.PROGRAMS)] == [*range(hook.PROGRAMS, 0, -1)]
    stubs.write(hook.element(stub.record, 2), stubs.code.nothing(stubs.window))
    seen = stubs.run(stub, *rubbish(5))
    assert stubs.count(2) == hook.PROGRAMS - 2
    assert stubs.count(0) == hook.PROGRAMS + 1
    assert seen.after[RAX] == seen.before[RAX]


@KINDS
def test_a_busy_slot_is_left_alone_and_counted(stubs: Stubs, scratch: bool) -> None:
    stub = stubs.stub([(stubs.program(), stubs.counter(0))], scratch=scratch)
    stubs.run(stub, *rubbish(6))
    slot = stubs.read(stubs.context + 176)
    ctypes.c_uint8.from_address(slot + Slot.BUSY).value = 1
    content = ctypes.string_at(slot, Slot.SIZE)
    seen = stubs.run(stub, *rubbish(7))
    assert ctypes.string_at(slot, Slot.SIZE) == content
    assert stubs.count(0) == 1
    assert stubs.read(stubs.region + Header.BUSY) == 1
    if not scratch:
        assert (seen.after, seen.flags_after) == (seen.before, seen.flags_before)


@KINDS
def test_without_a_free_slot_events_are_counted(stubs: Stubs, scratch: bool) -> None:
    for number in range(stubs.slots.count):
        stubs.write(stubs.slot(number) + Slot.CLAIM, 1)
        stubs.write(stubs.slot(number) + Slot.OWNER, 1)
    stub = stubs.stub([(stubs.program(), stubs.counter(0))], scratch=scratch)
    seen = stubs.run(stub, *rubbish(8))
    assert stubs.count(0) == 0
    assert stubs.read(stubs.region + Header.NO_SLOT) == 1
    if not scratch:
        assert (seen.after, seen.flags_after) == (seen.before, seen.flags_before)


@KINDS
def test_slots_whose_owners_share_half_of_their_bits(stubs: Stubs, scratch: bool) -> None:
    """The careful stub compares in two parts."""
    base = fs_base()
    for number in range(1, stubs.slots.count - 1):
        stubs.write(stubs.slot(number) + Slot.CLAIM, 1)
        stubs.write(stubs.slot(number) + Slot.OWNER, base ^ (1 << 40 if number % 2 else 1 << 12))
    stub = stubs.stub([(stubs.program(), stubs.counter(0))], scratch=scratch)
    stubs.run(stub, *rubbish(9))
    stubs.run(stub, *rubbish(10))
    assert stubs.count(0) == 2
    assert stubs.read(stubs.context + 176) == stubs.slot(stubs.slots.count - 1)
    assert stubs.read(stubs.slot(stubs.slots.count - 1) + Slot.OWNER) == base


@KINDS
def test_each_thread_has_a_slot_of_its_own(scratch: bool) -> None:
    stubs = Stubs(slots=64)
    stub = stubs.stub([(stubs.program(), stubs.counter(0))], scratch=scratch)
    threads, rounds = 24, 2000
    barrier = threading.Barrier(threads)

    def work() -> None:
        barrier.wait()
        call(stub, rounds)
        barrier.wait()  # a dead thread's FS base may be another's

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    owners = [stubs.read(stubs.slot(number) + Slot.OWNER) for number in range(1, 64)]
    taken = [owner for owner in owners if owner]
    assert len(taken) == len(set(taken)) == threads
    assert stubs.count(0) == threads * rounds
    stripes: dict[int, list[int]] = {0: [], 1: []}
    for number in (n + 1 for n in range(63) if owners[n]):
        alone = ctypes.c_uint8.from_address(stubs.slot(number) + Slot.ALONE).value
        stripes[alone].append(ctypes.c_uint32.from_address(stubs.slot(number) + Slot.STRIPE).value)
    assert sorted(stripes[1]) == list(range(OWN_STRIPES))
    assert len(stripes[0]) == threads - OWN_STRIPES
    assert set(stripes[0]) == set(range(OWN_STRIPES, STRIPES))


def call(stub: Stub, rounds: int) -> None:
    for _ in range(rounds):
        stub()


@KINDS
def test_a_forked_child_touches_nothing(stubs: Stubs, scratch: bool) -> None:
    stub = stubs.stub([(stubs.program(), stubs.counter(0))], scratch=scratch)
    stubs.run(stub, *rubbish(11))
    before = ctypes.string_at(stubs.slots.address, stubs.slots.count * Slot.SIZE)
    child = os.fork()
    if child == 0:
        seen = stubs.run(stub, *rubbish(12))
        same = scratch or (seen.after, seen.flags_after) == (seen.before, seen.flags_before)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert ctypes.string_at(stubs.slots.address, stubs.slots.count * Slot.SIZE) == before
    assert stubs.count(0) == 1
    assert stubs.read(stubs.region + Header.BUSY) == stubs.read(stubs.region + Header.NO_SLOT) == 0
