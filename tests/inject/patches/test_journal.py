"""The journal of patches: what is written is read; what makes no sense is refused before anything is done."""

from __future__ import annotations

import random

import pytest

from gotap.inject.patches import journal
from gotap.inject.patches.errors import DamagedJournal, NewerJournal
from gotap.inject.patches.journal import Area, BusyBytes, Journal, Mechanism, Owner
from gotap.inject.patches.patch import Patch
from gotap.inject.trampolines.windows import PAGE


def sample(patches: int = 3, areas: int = 2) -> Journal:
    return Journal(
        Mechanism.HOOK,
        Owner(4711, 123456789, 0xEFFFFFFC),
        1 << 20,
        tuple(Area(0x5D400000 + number * 0x100000, 0x4000) for number in range(areas)),
        tuple(Patch(0x401000 + 64 * n, b"\x48\x83\xc4\x10\x5d\xc3", b"\xe9\x01\x02\x03") for n in range(patches)),
        BusyBytes(0x7F0000001000, 256, 8192),
    )


@pytest.mark.parametrize("patches", [0, 1, 63, 64, 65, 5000])
def test_what_is_written_is_read(patches: int) -> None:
    written = sample(patches)
    content = journal.write(written)
    assert len(content) % PAGE == 0
    assert journal.is_journal(content)
    assert journal.needed(1, content[:PAGE]) == len(content)
    assert journal.read(1, content) == written


def test_as_many_areas_as_there_is_room_for() -> None:
    assert journal.read(1, journal.write(sample(1, 240))) == sample(1, 240)
    with pytest.raises(ValueError, match="has room for 240"):
        journal.write(sample(1, 241))


def test_a_newer_version_is_left_to_its_own_gotap() -> None:
    content = bytearray(journal.write(sample()))
    content[8] = journal.VERSION + 1
    with pytest.raises(NewerJournal, match="newer gotap") as caught:
        journal.read(77, bytes(content))
    assert "newer" in caught.value.remedy


def test_what_is_no_journal() -> None:
    assert not journal.is_journal(bytes(PAGE))
    with pytest.raises(DamagedJournal):
        journal.read(1, bytes(PAGE))
    with pytest.raises(DamagedJournal):
        journal.read(1, journal.write(sample())[:PAGE])


@pytest.mark.parametrize("seed", range(300))
def test_overwritten_by_the_process(seed: int) -> None:
    """Whatever is there: a journal whose numbers can be used, or one kind of error."""
    rng = random.Random(seed)
    content = bytearray(journal.write(sample(rng.randrange(200), rng.randrange(240))))
    for _ in range(rng.choice((1, 3, 50))):
        at = rng.randrange(rng.choice((80, PAGE, len(content))))
        content[at] = rng.choice((0, 0xFF, rng.randrange(256)))
    try:
        found = journal.read(1, bytes(content))
    except (DamagedJournal, NewerJournal):
        return
    assert all(0 < area.address < area.end <= 1 << 47 and area.size % PAGE == 0 for area in found.areas)
    assert all(0 < patch.size <= 8 and patch.moved_end <= 1 << 47 for patch in found.patches)
