"""Which memory of a Go process is taken to stay readable, by the shapes that /proc/PID/maps has."""

from __future__ import annotations

from gotap.inject.lasting import lasting
from gotap.process.proc import Mapping

ARENA = 64 << 20
EXE = "/srv/server"


def own(start: int, end: int, permissions: str = "r--p", path: str = EXE) -> Mapping:
    return Mapping(start, end, permissions, 0, 7, path)


def anonymous(start: int, end: int, permissions: str = "rw-p", path: str = "") -> Mapping:
    return Mapping(start, end, permissions, 0, 0, path)


PROGRAM = [own(0x400000, 0x4A2000, "r-xp"), own(0x4A2000, 0x57E000), own(0x57E000, 0x589000, "rw-p"),
           anonymous(0x589000, 0x5BF000)]  # fmt: skip
OWN = (0x400000, 0x589000)


def test_the_heap_of_go_up_to_1_25() -> None:
    low = 0xC0 << 32
    maps = [*PROGRAM, anonymous(low, low + (4 << 20)), anonymous(low + (4 << 20), low + ARENA, "---p")]
    assert lasting(maps, EXE) == [(low, low + (4 << 20)), OWN]


def test_a_heap_that_begins_anywhere_and_in_the_middle_of_an_arena() -> None:
    low = 0x163E0C000000
    maps = [anonymous(low, low + (4 << 20), "---p"), anonymous(low + (4 << 20), low + (12 << 20)),
            anonymous(low + (12 << 20), low + ARENA, "---p", "[anon: Go: heap reservation]")]  # fmt: skip
    assert lasting([*PROGRAM, *maps], EXE) == [(low + (4 << 20), low + (12 << 20)), OWN]
    assert lasting([*PROGRAM, *maps], EXE, heap=False) == [OWN]


def test_what_is_no_arena() -> None:
    malloc = 0x7F8000000000  # of glibc: as large, and given back
    assert lasting([*PROGRAM, anonymous(malloc, malloc + ARENA)], EXE) == [OWN]
    low = 0xC0 << 32
    assert lasting([*PROGRAM, anonymous(low + 4096, low + ARENA)], EXE) == [OWN]
    assert lasting([*PROGRAM, anonymous(low, low + ARENA - 4096)], EXE) == [OWN]


def test_with_an_unlimited_stack_mmap_goes_up_from_where_heaps_may_be() -> None:
    low = 0x2AAAC0000000
    maps = [*PROGRAM, anonymous(low, low + ARENA)]
    assert lasting(maps, EXE) == [(low, low + ARENA), OWN]
    assert lasting(maps, EXE, unlimited_stack=True) == [OWN]


def test_a_deleted_executable_is_still_the_executable_and_others_are_not() -> None:
    deleted = [own(0x400000, 0x500000, "r-xp", f"{EXE} (deleted)"), own(0x600000, 0x700000, "r-xp", "/lib/libc.so")]
    assert lasting(deleted, EXE) == [(0x400000, 0x500000)]


def test_what_cannot_be_read_is_left_out() -> None:
    assert lasting([own(0x400000, 0x500000, "--xp"), own(0x500000, 0x600000)], EXE) == [(0x500000, 0x600000)]
