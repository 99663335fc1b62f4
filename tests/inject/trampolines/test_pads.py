"""Landing pads: where the bytes of the program themselves lead."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from iced_x86 import Decoder

from gotap.inject.patches.patch import jump_patch
from gotap.inject.trampolines.pads import JUMP, pad_address, spread
from gotap.inject.trampolines.windows import PAGE, Jump, Range, Shared, plan
from gotap.process.proc import Mapping

CHECK = bytes.fromhex("493b661076")  # cmp 0x10(%r14),%rsp; jbe …
EPILOGUE = bytes.fromhex("4883c4105d")  # add $0x10,%rsp; pop %rbp
IMAGE = Range(0x400000, 0x2400000)
MAPPINGS = [Mapping(IMAGE.low, IMAGE.high, "r-xp", 0, 7, "/srv/server")]


@pytest.mark.parametrize(("original", "distance"), [
    (CHECK, 0x7610663B), (EPILOGUE, 0x5D10C483), (bytes.fromhex("493b66100f"), 0x0F10663B),
    (bytes.fromhex("4c8d642480"), 0x8024648D - (1 << 32)),
])  # fmt: skip
def test_distances(original: bytes, distance: int) -> None:
    site = 0x90001000
    address = pad_address(site, original)
    assert address == site + JUMP + distance
    (jump,) = Decoder(64, b"\xe9" + original[1:], ip=site)
    assert jump.near_branch_target == address


def test_no_address() -> None:
    assert pad_address(0x401000, bytes.fromhex("4c8d642480")) is None, "it would be below zero"
    assert pad_address(0x401000, CHECK[:4]) is None


def test_a_patch_is_one_byte_and_leads_to_the_stub() -> None:
    jumps = [Jump(0x401000 + 64 * i, 150, 160, 0x76, CHECK) for i in range(3000)]
    jumps += [Jump(0x401030 + 64 * i, 150, 160, 0x5D, EPILOGUE) for i in range(3000)]
    made = plan(MAPPINGS, IMAGE, jumps, Shared(200, 64, 4))
    assert (len(made.windows), len(made.pads), made.refused) == (1, 2, 0)
    areas = sorted((one.address, one.end) for one in (*made.all_windows, *[_as_window(one) for one in MAPPINGS]))
    assert all(high <= low for (_, high), (low, _) in pairwise(areas))
    for jump, place in zip(jumps, made.places, strict=True):
        assert place is not None
        patch = jump_patch(jump.site, jump.original, place.target, jump.pun)
        assert patch.new == b"\xe9"
        (pad,) = Decoder(64, made.jumps[place.target], ip=place.target)
        assert pad.near_branch_target == place.code
        assert -(1 << 31) <= jump.site - place.code < 1 << 31, "the way back"


class _Area:
    def __init__(self, address: int, end: int) -> None:
        self.address, self.end = address, end


def _as_window(mapping: Mapping) -> _Area:
    return _Area(mapping.start, mapping.end)


def test_where_the_bytes_lead_may_be_taken() -> None:
    taken = pad_address(0x401000, CHECK)
    assert taken is not None
    mappings = [*MAPPINGS, Mapping(taken & -PAGE, (taken & -PAGE) + PAGE, "rw-p", 0, 0, "")]
    jumps = [Jump(0x401000, 150, 0, 0x76, CHECK), Jump(0x501000, 150, 0, 0x76, CHECK)]
    made = plan(mappings, IMAGE, jumps)
    first, second = made.places
    assert first is not None
    assert second is not None
    assert first.target == first.code
    assert (first.code - 0x401005) >> 24 == 0x76, "a pun still"
    assert second.target == pad_address(0x501000, CHECK)


def test_pads_that_overlap() -> None:
    wanted = {0: 0x10000000, 1: 0x10000004, 2: 0x10000008, 3: 0x1000000D}
    ((low, high, jumps),) = spread(wanted, [(1 << 20, 1 << 40)], PAGE)
    assert (low, high) == (0x10000000, 0x10001000)
    chosen = [wanted[jump] for jump in jumps]
    assert all(later - first >= JUMP for first, later in pairwise(chosen))
    assert 0 in jumps


@pytest.mark.parametrize("seed", range(20))
def test_spread(seed: int) -> None:
    rng = random.Random(seed)
    free, at = [], 1 << 20
    for _ in range(rng.randrange(1, 40)):
        at += PAGE * rng.randrange(1, 5000)
        low, at = at, at + PAGE * rng.randrange(1, 5000)
        free.append((low, at))
    wanted = {jump: rng.randrange(1 << 20, at + (1 << 20)) for jump in range(rng.randrange(300))}
    used: list[tuple[int, int]] = []
    for low, high, jumps in spread(wanted, free, PAGE):
        assert low % PAGE == high % PAGE == 0
        assert any(start <= low < high <= end for start, end in free)
        used.append((low, high))
        pads = sorted(wanted[jump] for jump in jumps)
        assert low <= pads[0]
        assert pads[-1] + JUMP <= high
        assert all(later - first >= JUMP for first, later in pairwise(pads))
    used.sort()
    assert len(used) <= 8
    assert all(high <= low for (_, high), (low, _) in pairwise(used))
