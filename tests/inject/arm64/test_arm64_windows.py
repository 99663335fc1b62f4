"""Where arm64 trampolines go: each branch reaches its stub, and stubs reach back."""

from __future__ import annotations

import itertools
import random

from gotap.image.code.arm64_relocation import BRANCH_REACH, jump
from gotap.inject.arm64.windows import GRANULE, free_ranges, plan, reach
from gotap.inject.trampolines.windows import Jump, Plan, Shared
from gotap.process.proc import Mapping

MIB = 1 << 20


def mapping(start: int, size: int, path: str = "/srv/server") -> Mapping:
    return Mapping(start, start + size, "r-xp", 0, 0, path)


def fits(found: Plan, jumps: list[Jump], mappings: list[Mapping], shared: Shared) -> None:
    """What holds of any plan: in reach in both directions, nothing over anything else."""
    taken = [(one.start, one.end) for one in mappings] + [(one.address, one.end) for one in found.windows]
    taken.sort()
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(taken))
    pieces: list[tuple[int, int]] = [(one.address, one.address + shared.code) for one in found.windows]
    pieces += [(one.data, one.data + shared.data) for one in found.windows]
    for one, place in zip(jumps, found.places, strict=True):
        if place is None:
            continue
        assert abs(place.code - one.site) + 4 * MIB <= BRANCH_REACH
        jump(one.site, place.code)
        jump(place.code + one.size, one.site)
        window = found.windows[place.window]
        assert window.address <= place.code <= place.code + one.size <= window.data
        assert window.data <= place.data <= place.data + one.data <= window.private
        pieces += [(place.code, place.code + one.size), (place.data, place.data + one.data)]
    pieces.sort()
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(pieces))
    assert all(edge % GRANULE == 0 for one in found.windows for edge in (one.address, one.data, one.end))


def test_a_server() -> None:
    """A few thousand sites of an ordinary program share one window, above its data."""
    mappings = [mapping(0x10000, 20 * MIB), mapping(0x4000000000, 64 * MIB, "")]
    chance = random.Random(0)
    jumps = [Jump(0x11000 + 4 * chance.randrange(2 * MIB), 300, 16) for _ in range(3000)]
    shared = Shared(400, 64, 4096)
    found = plan(mappings, jumps, shared)
    assert (len(found.windows), found.refused, found.why) == (1, 0, "")
    assert found.windows[0].address > 20 * MIB
    fits(found, jumps, mappings, shared)


def test_large_text_needs_several_windows() -> None:
    """Text of 300 MB with free addresses on both sides, as a position independent one has."""
    start = 0xAAAAAAAA0000
    mappings = [mapping(start, 300 * MIB), mapping(0xFFFFF0000000, MIB, "[stack]")]
    jumps = [Jump(start + at * MIB, 300, 16) for at in range(0, 300, 10)]
    found = plan(mappings, jumps)
    assert found.refused > 0
    assert "128 MiB" in found.why
    assert len(found.windows) >= 2
    served = {one.site for one, place in zip(jumps, found.places, strict=True) if place is not None}
    assert served >= {one.site for one in jumps if one.site < start + 110 * MIB or one.site > start + 190 * MIB}
    fits(found, jumps, mappings, Shared())


def test_what_grows_is_left_room() -> None:
    """64 MiB above the heap and below stacks; nothing behind the last mapping, where addresses end soon."""
    mappings = [mapping(1 << 30, MIB), mapping((1 << 30) + MIB, MIB, "[heap]"), mapping(1 << 32, MIB, "[stack]")]
    assert free_ranges(mappings) == [(MIB, 1 << 30), ((1 << 30) + 66 * MIB, (1 << 32) - 64 * MIB)]


def test_no_room() -> None:
    found = plan([mapping(0x10000, 1 << 40)], [Jump(1 << 35, 100), Jump((1 << 35) + 64, 100)])
    assert found.places == (None, None)
    assert found.why.startswith("no free addresses for the trampolines of 2 sites within 128 MiB")


def test_nothing_asked_nothing_planned() -> None:
    assert plan([], []) == Plan((), ())


def test_reach() -> None:
    low, high = reach(Jump(1 << 30, 100))
    assert high - (1 << 30) == (1 << 30) - low == 124 * MIB
