"""Where trampolines go on arm64: free ranges that the branches of all their sites reach. Pure.

A site becomes `B`, which reaches 128 MiB, and the stub's own branches lead back to the site's function: so a window
lies within that distance of all its sites, and large executables need several. Between a program's text and the nearest
free addresses lie its constants, its data, and the room that `brk` is left; where these exceed 128 MiB, the sites
furthest from them are refused.

A window is code pages, then data pages, then private ones, as on x86-64 (`inject.trampolines.windows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gotap.image.code.arm64_relocation import BRANCH_REACH
from gotap.inject.trampolines.windows import NOTHING, Jump, Place, Plan, Range, Shared, Window
from gotap.process.proc import Mapping

#: Stubs begin at cache lines' quarters.
_ALIGNMENT = 16
#: Kernels may have pages of 4, 16 or 64 KiB; windows fit all of them.
GRANULE = 1 << 16
#: vm.mmap_min_addr is 64 KB nearly everywhere, up to 1 MB on some.
_LOWEST = 1 << 20
#: Stacks grow down by themselves (stack_guard_gap is 1 MB) and `brk` up: this much is left free around both.
_GROWTH = 64 << 20
#: A function's own jumps lead from its stubs to anywhere in it: so much less far may a stub be from its site.
_LONGEST_FUNCTION = 4 << 20
REACH = BRANCH_REACH - _LONGEST_FUNCTION


def free_ranges(mappings: Iterable[Mapping]) -> list[Range]:
    """What is mapped nowhere, and no stack or heap grows into; ascending. Where addresses end depends on the kernel;
    nothing is behind the last mapping, which is the kernel's own or the stack."""
    found = []
    low = _LOWEST
    for mapping in sorted(mappings, key=lambda one: one.start):
        high = mapping.start - _GROWTH if mapping.path.startswith("[stack") else mapping.start
        if low < high:
            found.append(Range(low, high))
        low = max(low, mapping.end + (_GROWTH if mapping.path == "[heap]" else 0))
    return found


def reach(jump: Jump) -> Range:
    """Where the stub of this jump may begin."""
    return Range(jump.site - REACH, jump.site + REACH)


def plan(mappings: Sequence[Mapping], jumps: Sequence[Jump], shared: Shared = NOTHING) -> Plan:
    """Places for the stubs of `jumps`; each window begins with what is `shared`.

    Sites are taken by ascending address, as many as one window can serve, so the windows are few.
    """
    order = sorted(range(len(jumps)), key=lambda index: jumps[index].site)
    free = free_ranges(mappings)
    windows: list[Window] = []
    places: list[Place | None] = [None] * len(jumps)
    pending = [order] if order else []
    while pending:
        group = pending.pop()
        window = _window(free, [jumps[index] for index in group], shared)
        if window is not None:
            for index, (code, data) in zip(group, _offsets([jumps[i] for i in group], shared), strict=True):
                at = window.address + code
                places[index] = Place(len(windows), at, window.data + data, at)
            windows.append(window)
        elif len(group) > 1:
            middle = len(group) // 2
            pending += [group[middle:], group[:middle]]
    return Plan(tuple(windows), tuple(places), _why(places.count(None)))


def _why(missing: int) -> str:
    if not missing:
        return ""
    sites = f"{missing} site{'s' if missing > 1 else ''}"
    return f"no free addresses for the trampolines of {sites} within 128 MiB, as far as an arm64 branch reaches"


def _offsets(jumps: Sequence[Jump], shared: Shared) -> Iterator[tuple[int, int]]:
    """Where in code and data each stub begins; at last where they end."""
    code, data = _rounded(shared.code, _ALIGNMENT), _rounded(shared.data, _ALIGNMENT)
    for jump in jumps:
        yield code, data
        code += _rounded(jump.size, _ALIGNMENT)
        data += _rounded(jump.data, _ALIGNMENT)


def _window(free: list[Range], jumps: Sequence[Jump], shared: Shared) -> Window | None:
    """Takes from `free` what these stubs need, near to all of them; None: there is no such place."""
    code = _rounded(shared.code, _ALIGNMENT) + sum(_rounded(jump.size, _ALIGNMENT) for jump in jumps)
    data = _rounded(shared.data, _ALIGNMENT) + sum(_rounded(jump.data, _ALIGNMENT) for jump in jumps)
    code, data, private = (_rounded(size, GRANULE) for size in (code, data, shared.private))
    size = code + data + private
    allowed = Range(reach(jumps[-1]).low, reach(jumps[0]).high)
    best: tuple[int, int, int] | None = None
    for position, one in enumerate(free):
        common = one.within(allowed)
        middle = (jumps[0].site + jumps[-1].site) // 2
        lowest, highest = _rounded(common.low, GRANULE), (common.high - size) // GRANULE * GRANULE
        if lowest <= highest:
            address = min(max(middle // GRANULE * GRANULE, lowest), highest)
            best = min(best or (abs(address - middle), address, position), (abs(address - middle), address, position))
    if best is None:
        return None
    _, address, position = best
    one = free[position]
    free[position : position + 1] = [Range(one.low, address), Range(address + size, one.high)]
    return Window(address, code, data, private)


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
