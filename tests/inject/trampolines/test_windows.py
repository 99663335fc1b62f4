"""Places of trampolines: free, within reach, with the top byte that puns want, no two of them at the same address."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from gotap.inject.trampolines.windows import ALIGNMENT, NOTHING, PAGE, Jump, Plan, Range, Shared, free_ranges, plan
from gotap.process.proc import Mapping, parse_maps

STATIC = b"""\
00400000-00562000 r-xp 00000000 08:01 7                                  /srv/server
00562000-00690000 r--p 00162000 08:01 7                                  /srv/server
00690000-006d0000 rw-p 00290000 08:01 7                                  /srv/server
01b25000-01b46000 rw-p 00000000 00:00 0                                  [heap]
c000000000-c000400000 rw-p 00000000 00:00 0
7fffc2b3e000-7fffc2b5f000 rw-p 00000000 00:00 0                          [stack]
7fffc2be3000-7fffc2be5000 r-xp 00000000 00:00 0                          [vdso]
"""
IMAGE = Range(0x400000, 0x6D0000)
POP_RBP = 0x5D


def mapping(start: int, end: int, path: str = "") -> Mapping:
    return Mapping(start, end, "rw-p", 0, 0, path)


def check(mappings: list[Mapping], image: Range, jumps: list[Jump], made: Plan, shared: Shared = NOTHING) -> None:
    """Everything that a plan promises."""
    areas = sorted((window.address, window.end) for window in made.windows)
    taken = [(one.start, one.end) for one in mappings]
    assert all(low < high and low % PAGE == high % PAGE == 0 for low, high in areas)
    assert all(high <= low for (_, high), (low, _) in pairwise(sorted(areas + taken)))
    used = []
    for jump, place in zip(jumps, made.places, strict=True):
        if place is None:
            continue
        window = made.windows[place.window]
        assert window.address + shared.code <= place.code
        assert place.code + jump.size <= window.data
        assert window.data + shared.data <= place.data
        assert place.data + jump.data <= window.private
        assert place.code % ALIGNMENT == 0
        distance = place.code - (jump.site + 5)
        assert -(1 << 31) <= distance < 1 << 31
        if jump.pun is not None:
            assert distance.to_bytes(4, "little", signed=True)[3] == jump.pun
        else:
            assert max(abs(place.code - image.high), abs(place.code + jump.size - image.low)) < 1 << 31
        used += [(place.code, place.code + jump.size), (place.data, place.data + jump.data)]
    assert all(high <= low for (_, high), (low, _) in pairwise(sorted(used)) if high > low)
    assert (made.refused == 0) == (made.why == "")


def test_one_window_serves_a_program_of_usual_size() -> None:
    mappings = list(parse_maps(STATIC))
    jumps = [Jump(0x401000 + 64 * i, 150, 32, POP_RBP if i % 2 else None) for i in range(5000)]
    made = plan(mappings, IMAGE, jumps, Shared(200, 64, 4))
    check(mappings, IMAGE, jumps, made, Shared(200, 64, 4))
    assert len(made.windows) == 1
    assert made.windows[0].private_size == PAGE


def test_a_large_text_takes_as_many_windows_as_puns_need() -> None:
    image = Range(0x400000, 0x400000 + (100 << 20))
    mappings = [mapping(*image)]
    jumps = [Jump(0x401000 + 4096 * i, 150, 0, POP_RBP) for i in range(25_000)]
    made = plan(mappings, image, jumps)
    check(mappings, image, jumps, made)
    assert made.refused == 0
    assert 6 <= len(made.windows) <= 20, "16 MB of reach each, less what the stubs take"


def test_puns_that_lead_to_the_end_of_what_jumps_reach() -> None:
    """`cmp 0x10(%r14), %rsp; jbe` at function entries, in a text of 200 MB."""
    image = Range(0x400000, 0x400000 + (200 << 20))
    mappings = [mapping(*image)]
    jumps = [Jump(0x401000 + 40_000 * i, 150, 160, 0x76) for i in range(5000)]
    made = plan(mappings, image, jumps, Shared(200, 64, 4))
    check(mappings, image, jumps, made, Shared(200, 64, 4))
    assert made.refused == 0


def test_puns_of_several_bytes_get_windows_of_their_own() -> None:
    jumps = [Jump(0x401000 + 64 * i, 100, 0, pun) for i, pun in enumerate((POP_RBP, 0x41, 0x5B, POP_RBP))]
    made = plan(list(parse_maps(STATIC)), IMAGE, jumps)
    check(list(parse_maps(STATIC)), IMAGE, jumps, made)
    assert len(made.windows) == 3


def test_where_a_pun_leads_may_be_taken() -> None:
    low = 0x401000 + 5 + (POP_RBP << 24)
    taken = [*parse_maps(STATIC), mapping(low & -PAGE, (low & -PAGE) + (32 << 20))]
    jumps = [Jump(0x401000, 100, 0, POP_RBP), Jump(0x401100, 100), Jump(0x401200, 100, 0, POP_RBP)]
    made = plan(taken, IMAGE, jumps)
    check(taken, IMAGE, jumps, made)
    assert [place is None for place in made.places] == [True, False, True]
    assert "2 sites in the 16 MB" in made.why


def test_a_hole_in_what_a_pun_reaches_is_found() -> None:
    start = 0x401005 + (POP_RBP << 24)
    hole = (start + (9 << 20)) & -PAGE
    taken = [*parse_maps(STATIC), mapping(start & -PAGE, hole), mapping(hole + PAGE, hole + (32 << 20))]
    jumps = [Jump(0x401000, 100, 0, POP_RBP)]
    made = plan(taken, IMAGE, jumps)
    check(taken, IMAGE, jumps, made)
    assert made.windows[0].address == hole


def test_nothing_is_free_within_reach() -> None:
    taken = [mapping(PAGE, 0x400000), *list(parse_maps(STATIC))[:3], mapping(0x6D0000, 0xA0000000)]
    made = plan(taken, IMAGE, [Jump(0x401000, 100)])
    assert made.windows == ()
    assert made.why == "no free addresses for the trampolines of 1 site within 2 GB of the program's text"


def test_stacks_and_the_heap_keep_room_to_grow() -> None:
    free = free_ranges(parse_maps(STATIC))
    assert all(not (0x1B46000 <= low < 0x1B46000 + (64 << 20)) for low, _ in free)
    assert all(high <= 0x7FFFC2B3E000 - (64 << 20) or low >= 0x7FFFC2B5F000 for low, high in free)


@pytest.mark.parametrize("seed", range(30))
def test_any_process(seed: int) -> None:
    rng = random.Random(seed)
    base = rng.choice((0x400000, 0x555555554000, 0x7F0000000000)) + PAGE * rng.randrange(1000)
    image = Range(base, base + rng.choice((1 << 20, 40 << 20, 300 << 20)))
    mappings, at = [mapping(*image)], image.high
    for _ in range(rng.randrange(200)):
        at += PAGE * int(rng.expovariate(1 / rng.choice((1, 100, 20_000))))
        size = PAGE * (1 + int(rng.expovariate(1 / rng.choice((1, 300, 8000)))))
        mappings.append(mapping(at, at + size))
        at += size
    jumps = [
        Jump(rng.randrange(*image), rng.randrange(20, 400), rng.choice((0, 16, 120)), rng.choice((None, POP_RBP, 0x76)))
        for _ in range(rng.choice((1, 50, 1500)))
    ]
    shared = Shared(rng.randrange(500), rng.randrange(100), rng.choice((0, 4)))
    made = plan(mappings, image, jumps, shared)
    check(mappings, image, jumps, made, shared)
