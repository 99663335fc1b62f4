"""Displaced instructions do elsewhere what they did in their place: an emulated processor compares."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator

import pytest
from iced_x86 import Decoder

from gobuild import NEWEST, OLDEST, build
from gotap.image.code.jumps import Displaced, JumpSite, JumpSites, JumpTooFar, jump
from patched_programs import GoCode
from x86_emulation import REGISTERS, Impossible, Ran, run

_HERE, _STACK = 0x4010F0, 0x7000_0000
#: Near and far below, near and far above.
_ELSEWHERE = (0x10_0000, 0x402000, 0x5D40_1234, 0x7FFF_0000)
_PIE = 0x5555_5555_4000


def registers(seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    values = {name: chance.randrange(0x1000_0000, 0x4000_0000) & -8 for name in REGISTERS}
    flags = chance.choice((0, 1, 4, 0x10, 0x40, 0x80, 0x800, 0x8D5)) | 2
    return {**values, "RSP": _STACK, "EFLAGS": flags}


def compare(address: int, code: bytes, elsewhere: int, bias: int = 0, seed: int = 0) -> Ran:
    """Runs the code in its place and as displaced; returns what both did."""
    start = address + bias
    moved = Displaced(address, code).encode(elsewhere, bias)
    there = elsewhere + bias
    image = {start: code}
    first = run(image, start, range(start, start + len(code)), registers(seed))
    # Where it has gone through, the trampoline's own jump back would follow.
    second = run({**image, there: moved}, there, range(there, there + len(moved)), registers(seed))
    behind = {there + len(moved): start + len(code)}
    assert behind.get(second.at, second.at) == first.at
    assert second.registers == first.registers
    # Below SP a displaced call may leave something.
    low = min(first.registers["RSP"], _STACK)
    kept = {at: value for at, value in second.stores.items() if at in first.stores or not low - 16 <= at < low}
    assert kept == first.stores
    return first


_SHAPES = {
    "stack check": "493b6610 7640",
    "stack check, far": "493b6610 0f8640010000",
    "larger stack check": "4c8d6424e0 4d3b6610 0f8600010000",
    "frame": "55 4889e5 4883ec20",
    "epilogue": "4883c410 5d c3",
    "large epilogue": "4881c488000000 5d 90 c3",
    "older epilogue": "488b6c2410 4883c418 c3",
    "load relative to RIP": "488b0510203000",
    "compare with memory relative to RIP": "833d1020300000",
    "compare word with memory relative to RIP": "66813d102030003412",
    "store of a long constant relative to RIP": "48c705102030007fffffff",
    "SSE relative to RIP": "0f100510203000",
    "address relative to RIP, below": "4c8d0d10ffffff",
    "call": "e81b020000",
    "call backwards": "e81bfdffff",
    "call through a register": "ffd1",
    "call through an extended register": "41ffd4",
    "call through memory": "ff5118",
    "call through memory relative to RIP": "ff1510203000",
    "move, call": "4889c3 e81b020000",
    "jump": "eb40",
    "far jump": "e940020000",
    "jump through a register": "ffe2",
    "jump through a table": "ff24c2",
    "jump backwards": "4883c001 ebd0",
    "constant": "48b8efcdab8967452301",
    "exchange": "f04887 03",
    "thread's own": "644c8b3425f8ffffff",
    "return with room": "c20800",
    "byte": "0fb60510203000",
    "test, set": "4885c0 0f94c0",
}


@pytest.mark.parametrize("elsewhere", _ELSEWHERE)
@pytest.mark.parametrize("bias", [0, _PIE])
@pytest.mark.parametrize("shape", _SHAPES)
def test_shapes(shape: str, bias: int, elsewhere: int) -> None:
    compare(_HERE, bytes.fromhex(_SHAPES[shape]), elsewhere, bias)


@pytest.mark.parametrize("condition", range(16))
@pytest.mark.parametrize("far", [False, True])
def test_conditional_jumps(condition: int, far: bool) -> None:
    short, near = bytes((0x70 | condition, 0x20)), bytes((0x0F, 0x80 | condition)) + (0x120).to_bytes(4, "little")
    went = {compare(_HERE, near if far else short, _ELSEWHERE[2], seed=seed).at for seed in range(60)}
    assert len(went) == 2  # both ways were tried


def test_a_call_pushes_the_address_behind_it_in_the_function() -> None:
    """Where Go's unwinder looks for it."""
    for bias in (0, _PIE):
        ran = compare(_HERE, bytes.fromhex("e81b020000"), _ELSEWHERE[2], bias)
        pushed = bytes(ran.stores[_STACK - 8 + i] for i in range(8))
        assert int.from_bytes(pushed, "little") == _HERE + 5 + bias
        assert ran.registers["RSP"] == _STACK - 8


def test_too_far() -> None:
    load = Displaced(_HERE, bytes.fromhex("488b0510203000"))
    assert load.encode(_HERE + (1 << 31) - 1)
    with pytest.raises(JumpTooFar, match="2 GB apart"):
        load.encode(_HERE + (1 << 32))
    with pytest.raises(JumpTooFar):
        jump(0x400000, 0x400000 + (1 << 31) + 5)
    assert jump(0x400000, 0x400000 + (1 << 31) + 4)


# -- what really stands in programs -----------------------------------------------------------------------------------


@functools.cache
def sites(version: str) -> list[JumpSite]:
    """Sites at instructions all through a program."""

    def found() -> Iterator[JumpSite]:
        for function, code, unsafe in GoCode(build("faults", version)).functions():
            here = JumpSites(code, unsafe)
            for one in code.graph.instructions[function.index % 11 :: 11]:
                if isinstance(site := here.at(one.ip), JumpSite):
                    yield site

    return list(found())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_real_sites(version: str) -> None:
    """From the jump to where the function goes on, with the event in between."""
    chosen = random.Random(version).sample(sites(version), 500)
    judged = 0
    for seed, site in enumerate(chosen):
        code = site.before.code + site.after.code
        at = site.start + 0x5D00_0000
        moved = site.before.encode(at)
        moved += site.after.encode(at + len(moved))
        assert moved == Displaced(site.start, code).encode(at)
        try:
            compare(site.start, code, at, seed=seed)
        except Impossible:  # AVX, mostly
            continue
        judged += 1
    assert judged > 0.97 * len(chosen)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_sites_are_of_whole_instructions(version: str) -> None:
    for site in sites(version):
        boundaries = {one.ip for one in Decoder(64, site.before.code + site.after.code, ip=site.start)}
        behind = site.start + len(site.before.code + site.after.code)
        assert site.start == site.before.address <= site.before.end == site.address == site.after.address
        assert site.end in boundaries | {behind} or site.end > behind  # padding of the function's end
        assert site.length >= 5 or (site.length == 4 and site.pun is not None)
        assert site.resume in (None, behind)
        assert site.live == (not site.reason_not_live)
