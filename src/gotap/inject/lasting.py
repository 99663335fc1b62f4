"""Memory of a Go process that stays readable as long as it lives, so that it can be read without asking. Pure.

That is the executable's own, and Go's heap: arenas of 64 MB, aligned, which the runtime reserves and never unmaps
(runtime/malloc.go, sysAlloc, heapArenaBytes; sysFree is for what was never used; Go 1.18–1.27). Where the heap begins
is 0xc000000000, from Go 1.26 on anywhere. Nothing says which mappings are arenas, so they are known by their borders;
the arenas of glibc's malloc are as large and may be unmapped, but lie where mmap(2) puts what asks for no address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gotap.process.proc import Mapping

_ARENA = 64 << 20
#: mmap_base is below the top by the stack's limit, a sixth of the address space at most, and by 16 TB of randomness at
#: most (arch/x86/mm/mmap.c); with an unlimited stack what is mapped grows from a third of the address space up.
_MMAP, _LEGACY_MMAP = 0x6000 << 32, 0x2AAA << 32

_Range = tuple[int, int]


def lasting(mappings: Iterable[Mapping], executable: str, *, unlimited_stack: bool = False, heap: bool = True
            ) -> list[_Range]:  # fmt: skip
    """[low, high) each, the heap first: what is read most is to be found first.

    `executable`: its path, as the mappings have it. `unlimited_stack`: RLIMIT_STACK is.
    `heap`: it is to be among them; with GOEXPERIMENT=arenas programs make parts of it unreadable again.
    """
    found: list[_Range] = []
    own: list[_Range] = []
    group: list[Mapping] = []
    highest = _LEGACY_MMAP if unlimited_stack else _MMAP
    for one in [*mappings, None]:
        if group and (one is None or not _is_anonymous(one) or one.start != group[-1].end):
            found += _arenas(group, highest)
            group = []
        if one is None:
            break
        if _is_anonymous(one):
            group.append(one)
        elif one.inode and one.permissions.startswith("r") and one.path.removesuffix(" (deleted)") == executable:
            own.append((one.start, one.end))
    return [*(_joined(found) if heap else ()), *_joined(own)]


def _is_anonymous(mapping: Mapping) -> bool:
    """Go ≥ 1.25 may have given it a name: `[anon: Go: heap]`."""
    return not mapping.inode and (not mapping.path or mapping.path.startswith("[anon: Go"))


def _arenas(group: Sequence[Mapping], highest: int) -> list[_Range]:
    """What can be read in anonymous memory that is arenas, side by side."""
    low, high = group[0].start, group[-1].end
    if low % _ARENA or high % _ARENA or high > highest:
        return []
    return [(one.start, one.end) for one in group if one.permissions.startswith("r")]


def _joined(ranges: Iterable[_Range]) -> list[_Range]:
    found: list[_Range] = []
    for low, high in sorted(ranges):
        if found and found[-1][1] == low:
            found[-1] = found[-1][0], high
        else:
            found.append((low, high))
    return found
