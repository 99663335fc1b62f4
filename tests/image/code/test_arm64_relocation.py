"""Moved instructions, judged by an emulated processor: what they do elsewhere is what they did in their place."""

from __future__ import annotations

import random
import struct

import pytest

from arm64_machine import NAMES, STACK, STACK_SIZE, VECTORS, Machine, State
from gotap.image.code.arm64_function import literal_size
from gotap.image.code.arm64_instructions import CONDITIONAL, Kind, decode
from gotap.image.code.arm64_relocation import Displaced, OutOfReach, address_of, jump, nearby, words_of

AT = 0x412348
DATA = 0x500000
#: Trampolines: behind the text, before it, and as far as a branch reaches.
PLACES = (0x900000, 0x200010, AT + (1 << 27) - 0x1000)

WORDS = {
    "mov x0, x1": 0xAA0103E0,
    "str x30, [sp, #-32]!": 0xF81E0FFE,
    "ldr x30, [sp], #32": 0xF84207FE,
    "sub x29, sp, #8": 0xD10023FD,
    "ldp x29, x30, [sp, #-8]": 0xA97FFBFD,
    "ldr x16, [x28, #16]": 0xF9400B90,
    "subs x3, x1, x2": 0xEB020023,
    "fadd d0, d1, d2": 0x1E622820,
    "csel x0, x1, x2, eq": 0x9A820020,
    "mrs x3, tpidr_el0": 0xD53BD043,
    "dmb ish": 0xD5033BBF,
    "nop": 0xD503201F,
    "adr x5, .+0x1234": 0x10000005 | (0x1234 >> 2) << 5,
    "adr x5, .-0x7f": 0x10000005 | 1 << 29 | (-0x80 >> 2 & 0x7FFFF) << 5,
    "adr xzr, .": 0x1000001F,
    "adrp x27, .+0x2000": 0xD000001B,
    "adrp x0, .-0x100000": 0x90000000 | (-0x100 & 3) << 29 | (-0x100 >> 2 & 0x7FFFF) << 5,
    "ldr x3, .+0x20": 0x58000103,
    "ldr w3, .+0x20": 0x18000103,
    "ldrsw x3, .+0x20": 0x98000103,
    "ldr xzr, .+0x20": 0x5800011F,
    "ldr s3, .+0x24": 0x1C000123,
    "ldr d3, .+0x24": 0x5C000123,
    "ldr q3, .+0x24": 0x9C000123,
    "b .+0x40": 0x14000010,
    "b .-0x40": 0x17FFFFF0,
    "bl .+0x40": 0x94000010,
    "bl .-0x340": 0x97FFFF30,
    "blr x1": 0xD63F0020,
    "blr x16": 0xD63F0200,
    "blr x30": 0xD63F03C0,
    "br x17": 0xD61F0220,
    "ret": 0xD65F03C0,
    "ret x2": 0xD65F0040,
    **{f"b.{condition:x} .+0x24": 0x54000120 | condition for condition in range(14)},
    "cbz x0, .+0x40": 0xB4000200,
    "cbnz w4, .-0x40": 0x35FFFE04,
    "tbz x4, #63, .+0x40": 0xB6F80204,
    "tbnz w4, #0, .-0x40": 0x3707FE04,
}


#: Where registers of the tests lead, beside the constant targets.
ELSEWHERE = {"x1": 0x413000, "x2": 0x413010, "x16": 0x413020, "x17": 0x413030, "x30": 0x413040}


def page_with(word: int) -> bytes:
    """The page of AT: the instruction, and random constants around it."""
    noise, offset = random.Random(1).randbytes(0x1000), AT & 0xFFF
    return noise[:offset] + struct.pack("<I", word) + noise[offset + 4 :]


def displaced(word: int) -> Displaced:
    one, literals = decode(word, AT), ()
    if one.kind is Kind.LITERAL:
        assert one.target is not None
        literals = ((AT, page_with(word)[one.target & 0xFFF :][: literal_size(word)]),)
    return Displaced((one,), literals)


def registers(seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    values = {name: chance.choice((chance.getrandbits(64), 0, chance.getrandbits(8))) for name in NAMES}
    values |= {name: chance.getrandbits(128) for name in VECTORS} | ELSEWHERE
    return values | {"sp": STACK + STACK_SIZE // 2, "x28": DATA + 0x100, "nzcv": (seed & 15) << 28}


def outcome(word: int, seed: int, place: int | None) -> State:
    """What the instruction does, in its place or from a trampoline at `place`."""
    machine = Machine()
    machine.load(AT & ~0xFFF, page_with(word))
    machine.load(DATA, random.Random(2).randbytes(0x1000))
    start = AT
    if place is not None:
        code = displaced(word).encode(place)
        machine.load(place, code + words_of(jump(place + len(code), AT + 4)))
        machine.load(AT, words_of(jump(AT, place)))
    target = decode(word, AT).target
    stops = {AT + 4, *ELSEWHERE.values(), *(() if target is None else (target,))}
    for stop in stops - {AT + 4}:
        if stop >> 12 != AT >> 12:
            machine.load(stop, b"")
    return machine.run(start, stops, registers(seed))[0]


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("place", PLACES, ids=hex)
def test_does_the_same(text: str, place: int) -> None:
    """Registers, flags, vector registers, memory and the way on are the same."""
    word = WORDS[text]
    ignore = ("x16",) if text == "blr x30" else ()  # free at calls
    ways = set()
    for seed in range(16):
        expected, got = outcome(word, seed, None), outcome(word, seed, place)
        assert expected.differing(got, ignore) == {}
        assert (got.pc, got.memory) == (expected.pc, expected.memory)
        ways.add(got.pc)
    conditional = decode(word, AT).kind in CONDITIONAL
    assert len(ways) == 1 + conditional  # both directions were seen


@pytest.mark.parametrize("text", [text for text in WORDS if text.startswith("bl")])
def test_calls_keep_the_original_return_address(text: str) -> None:
    assert outcome(WORDS[text], 0, PLACES[0]).registers["x30"] == AT + 4


def test_reach() -> None:
    """A branch reaches 128 MiB less an instruction forward, 128 MiB back, and nothing beyond."""
    reach = 1 << 27
    assert jump(AT, AT + reach - 4) == [0x15FFFFFF]
    assert jump(AT, AT - reach) == [0x16000000]
    for target in (AT + reach, AT - reach - 4):
        with pytest.raises(OutOfReach, match=r"128 MiB") as told:
            jump(AT, target)
        assert told.value.remedy
        assert not nearby(AT, target)
    with pytest.raises(OutOfReach):
        address_of(AT + (1 << 32) + 0x1000, AT, 0)


def test_far_pages() -> None:
    """ADRP and ADD reach 4 GiB in both directions."""
    for target in (AT + (1 << 32) - 0x2000 + 0xABC, AT - (1 << 32) + 0x1FFF):
        machine = Machine()
        code = words_of(address_of(target, AT, 7))
        machine.load(AT, code)
        state, _ = machine.run(AT, {AT + len(code)}, {})
        assert state.registers["x7"] == target & (1 << 64) - 1
