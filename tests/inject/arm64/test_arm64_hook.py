"""Hook stubs for arm64 on an emulated processor: what the program is given, and that the site notices nothing."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

import pytest

from arm64_machine import NAMES, STACK, STACK_SIZE, VECTORS, Machine, State
from gotap.image.code.arm64 import Arm64Function, JumpSite, jump_site
from gotap.image.code.arm64_relocation import jump, words_of
from gotap.inject.arm64.assembler import Assembler
from gotap.inject.arm64.hook import HEAD, MASK, Places, check, common, largest, programs, stub
from gotap.inject.arm64.slots import Context, Slots

TEXT, WINDOW, PROGRAM, CALLEE = 0x11000, 0x400000, 0x500000, 0x12000
HEAD_AT, RECORD_AT, LIST_AT, MASK_AT = 0x420000, 0x420040, 0x420080, 0x421000
G, M = 0x4000001000, 0x4000080800
SLOTS = Slots(0x700000, count=9, homes=4)
#: Where the programs of the tests leave what they saw.
SEEN = 0x600000

#: A function with a stack check, as Go 1.27 makes it; the call and the branch are sites in its middle.
FUNCTION = [
    0xF9400B90,  # ldr x16, [x28, #16]
    0xEB3063FF,  # cmp sp, x16
    0x54000129,  # b.ls +36
    0xF81E0FFE,  # str x30, [sp, #-32]!
    0xF81F83FD,  # stur x29, [sp, #-8]
    0xD10023FD,  # sub x29, sp, #8
    0xB4000040,  # cbz x0, +8
    0x940003F9,  # bl CALLEE
    0xF85F83FD,  # ldur x29, [sp, #-8]
    0xF84207FE,  # ldr x30, [sp], #32
    0xD65F03C0,  # ret
    0xA90087E0,  # stp x0, x1, [sp, #8]
    0xAA1E03E3,  # mov x3, x30
    0x97FFF800,  # bl morestack
    0xA94087E0,  # ldp x0, x1, [sp, #8]
    0x17FFFFF1,  # b to the start
]
CHECK_END, BRANCH, CALL, RETURN = (TEXT + 4 * i for i in (3, 6, 7, 10))
BODY = Arm64Function(words_of(FUNCTION), TEXT)
HOOKED = (CHECK_END, TEXT + 20, BRANCH, CALL, TEXT + 36, RETURN)


def site_at(address: int) -> JumpSite:
    site = jump_site(BODY, address)
    assert isinstance(site, JumpSite)
    return site


def program(at: int, mark: int) -> bytes:
    """Copies its context and cookie to SEEN + mark, then spoils all that programs may."""
    a = Assembler(at)
    a.address_in(1, SEEN + mark)
    a.ldr(2, 19, SLOTS.cookie)
    a.str(2, 1, Context.SIZE)
    for offset in range(0, Context.SIZE, 16):
        a.ldp(2, 3, 0, offset)
        a.stp(2, 3, 1, offset)
    for register in (*range(18), *range(20, 28), 29):
        a.movz(register, 0xDEAD)
    a.write_flags(30)
    a.ret()
    return a.finish()


@dataclass
class Process:
    """The function with hooks, and what they need."""

    sites: tuple[int, ...] = HOOKED
    mask: int = SLOTS.mask
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        load = self.machine.load
        load(TEXT, words_of(FUNCTION))
        for landing in (CALLEE, 0x13000, BODY.instructions[13].target or 0):
            load(landing, words_of([0xD503201F]))
        load(G, struct.pack("<4Q", 0, STACK + STACK_SIZE, STACK, 0) + bytes(16) + struct.pack("<Q", M))
        load(SLOTS.address, bytes(SLOTS.count * SLOTS.size))
        load(SLOTS.address, b"\xff" * 12)  # slot 0 is gotap's
        load(SEEN, bytes(0x2000))
        load(HEAD_AT, HEAD.pack(SLOTS.address, SLOTS.end))
        load(MASK_AT, MASK.pack(self.mask))
        two = [(PROGRAM, 0x1111), (PROGRAM + 0x1000, 0x2222)]
        load(PROGRAM, program(PROGRAM, 0))
        load(PROGRAM + 0x1000, program(PROGRAM + 0x1000, 0x1000))
        load(LIST_AT, programs(two))
        load(WINDOW, common(SLOTS, WINDOW))
        at = WINDOW + 0x1000
        for number, address in enumerate(self.sites):
            places = Places(WINDOW, HEAD_AT, MASK_AT, RECORD_AT + 0x400 + 16 * number)
            made = stub(site_at(address), SLOTS, at, places, LIST_AT)
            assert len(made.code) <= largest(site_at(address), SLOTS)
            load(at, made.code)
            load(places.record, made.record)
            load(address, words_of(jump(address, at)))
            at += len(made.code) + 8

    def seen(self, mark: int = 0) -> dict[str, int]:
        """The context that a program got; empty if it did not run."""
        values = struct.unpack("<35Q", self.machine.read(SEEN + mark, Context.SIZE + 8))
        names = [*(f"x{n}" for n in range(31)), "sp", "pc", "nzcv", "cookie"]
        return dict(zip(names, values, strict=True)) if values[-1] else {}

    def slot(self, number: int) -> tuple[int, int, int, int]:
        """Owner, claimed, lost, busy."""
        raw = self.machine.read(SLOTS.address + number * SLOTS.size, 512)
        return (*struct.unpack_from("<QI4xQ", raw), raw[SLOTS.busy])

    def lost(self) -> list[int]:
        return [self.slot(number)[2] for number in range(SLOTS.count)]


def registers(seed: int = 0) -> dict[str, int]:
    chance = random.Random(seed)
    values = {name: chance.getrandbits(64) for name in NAMES} | {name: chance.getrandbits(128) for name in VECTORS}
    fixed = {"sp": STACK + STACK_SIZE // 2, "x28": G, "x30": 0x13000, "nzcv": chance.getrandbits(4) << 28}
    return values | fixed


HOME = (M >> SLOTS.hash_shift) & SLOTS.mask


@pytest.mark.parametrize("address", HOOKED, ids=lambda address: str(BODY.at(address) and hex(address)))
@pytest.mark.parametrize("seed", range(6))
def test_the_site_notices_nothing(address: int, seed: int) -> None:
    """Registers, flags, vectors, the stack and the way on are as without a hook; below SP what Go keeps there."""
    plain, hooked = Process(sites=()), Process(sites=(address,))
    values = registers(seed)
    if seed & 1:
        values["x0"] = 0
    stops = {address + 4, address + 8, CALLEE, 0x13000}
    expected, got = (one.machine.run(address, stops, values)[0] for one in (plain, hooked))
    free = ("x16", "x17", "x27") if site_at(address).scratch else ()
    assert expected.differing(got, free) == {}
    assert got.pc == expected.pc
    assert _kept(got) == _kept(expected)
    for mark, cookie in ((0, 0x1111), (0x1000, 0x2222)):
        seen = hooked.seen(mark)
        assert (seen.pop("pc"), seen.pop("cookie")) == (address, cookie)
        assert {name: value for name, value in values.items() if name in seen and seen[name] != value} == {
            name: values[name] for name in free
        }
    assert hooked.slot(HOME) == (M, 1, 0, 0)
    assert sum(hooked.lost()) == 0


def _kept(state: State) -> bytes:
    """The stack from 24 bytes below SP at the site up: Go keeps data there."""
    stack = b"".join(state.memory[page] for page in sorted(state.memory))
    return stack[STACK_SIZE // 2 - 24 :]


@pytest.mark.parametrize("argument", [0, 1])
def test_a_whole_call(argument: int) -> None:
    """With every site of the function hooked, a call returns to its caller with its registers, and each event comes."""
    plain, hooked = Process(sites=()), Process()
    values = registers(3) | {"x0": argument}
    for one in (plain, hooked):
        one.machine.load(CALLEE, words_of([0xD2800540, 0xD65F03C0]))  # mov x0, #42; ret
    expected, got = (one.machine.run(TEXT, {0x13000}, values)[0] for one in (plain, hooked))
    assert expected.differing(got, ("x16", "x17", "x27")) == {}
    assert got.registers["x0"] == (42 if argument else 0)
    assert hooked.seen()["pc"] == RETURN
    assert hooked.seen()["x0"] == got.registers["x0"]
    assert hooked.slot(HOME) == (M, 1, 0, 0)


def test_growing_the_stack_is_no_second_event() -> None:
    """The check fails, the stack grows, the function begins anew: its entry is passed once."""
    process = Process(sites=(CHECK_END,))
    values = registers(4)
    guard = process.machine
    guard.load(G + 16, struct.pack("<Q", values["sp"] + 8))
    state, trace = guard.run(TEXT, {BODY.instructions[13].target or 0, 0x13000}, values)
    assert state.pc == BODY.instructions[13].target
    assert process.seen() == {}
    guard.load(G + 16, struct.pack("<Q", STACK))
    state, trace = guard.run(TEXT + 4 * 14, {CALLEE, TEXT + 16}, state.registers)
    assert state.pc == TEXT + 16
    assert trace.count(CHECK_END) == 1
    assert process.seen()["pc"] == CHECK_END


def test_threads_find_their_own_slots() -> None:
    """A slot whose home is taken is looked for further up; a thread finds the one that it took; no slot is a loss."""
    process = Process(sites=(CHECK_END,))
    others = [M + (SLOTS.homes << SLOTS.hash_shift) * n for n in range(SLOTS.count)]  # all of one home
    room = SLOTS.count - HOME - (HOME == 0)
    for _ in range(2):
        for m in others:
            process.machine.load(G + 48, struct.pack("<Q", m))
            process.machine.run(CHECK_END, {CHECK_END + 4}, registers())
    owners = [process.slot(number)[0] for number in range(SLOTS.count)]
    assert [owner for owner in owners[1:] if owner] == others[:room]
    assert process.lost() == [2 * (SLOTS.count - room), *[0] * (SLOTS.count - 1)]


def test_a_slot_in_use_is_a_loss() -> None:
    """As in a signal handler that interrupts a hook; the slot stays as it is."""
    process = Process(sites=(CHECK_END, BRANCH))
    process.machine.run(CHECK_END, {CHECK_END + 4}, registers())
    process.machine.load(SEEN, bytes(0x2000))
    process.machine.load(SLOTS.address + HOME * SLOTS.size + SLOTS.busy, b"\1")
    before = process.machine.read(SLOTS.address + HOME * SLOTS.size + SLOTS.context, SLOTS.size - SLOTS.context)
    for address in (CHECK_END, BRANCH):
        values = registers(5)
        state, _ = process.machine.run(address, {address + 4, address + 8}, values)
        free = ("x16", "x17", "x27") if address == CHECK_END else ()
        changed = {name for name in (*NAMES, *VECTORS) if state.registers[name] != values[name]} - set(free)
        assert changed <= {"sp"}
    assert process.slot(HOME) == (M, 1, 2, 1)
    assert process.seen() == {}
    after = process.machine.read(SLOTS.address + HOME * SLOTS.size + SLOTS.context, SLOTS.size - SLOTS.context)
    assert after == before


@pytest.mark.parametrize("address", [CHECK_END, BRANCH])
def test_a_forked_child_does_nothing(address: int) -> None:
    process = Process(sites=(address,), mask=0)
    process.machine.run(address, {address + 4, address + 8}, registers())
    assert process.seen() == {}
    assert sum(process.lost()) == 0
    assert all(process.slot(number)[0] == 0 for number in range(1, SLOTS.count))


@pytest.mark.parametrize("without", ["g", "m"])
def test_without_a_thread_of_go_it_is_a_loss(without: str) -> None:
    process = Process(sites=(CHECK_END,))
    values = registers()
    if without == "g":
        values["x28"] = 0
    else:
        process.machine.load(G + 48, bytes(8))
    process.machine.run(CHECK_END, {CHECK_END + 4}, values)
    assert process.seen() == {}
    assert process.lost()[0] == 1


def test_slots_that_stubs_cannot_find() -> None:
    check(SLOTS)
    for wrong in (Slots(0, 128), Slots(0, 256, size=6000), Slots(0, 256, busy=100)):
        with pytest.raises(ValueError, match=r"slots|context"):
            check(wrong)
