"""Landing pads: where a jump leads if of the program's bytes only the first is changed. Pure.

The distance of a jump is the four bytes behind its first. Left as they are, they lead to an address of their own: for a
stack check, `cmp 0x10(%r14),%rsp` and a short `jbe`, 49 3b 66 10 76, it is 0x7610663b bytes on; for an epilogue,
`add $x,%rsp; pop %rbp`, 48 83 c4 xx 5d, 0x5dxxc483. If that address is free, a jump to the stub is put there. So

- a patch is one byte, which can be neither half written nor in two pages, and no thread can stand within;
- whoever puts a uprobe there afterwards does no harm. The kernel runs the instruction that the file has there, and goes
  on behind it, where all is as before; and when the uprobe goes, the kernel writes that instruction's first byte, which
  makes the function whole again (set_swbp and set_orig_insn, kernel/events/uprobes.c, Linux 5.15–6.18). With any
  other jump its remaining bytes would be left behind it, and end the program.

All functions of one form have their pads at one distance, so pads lie as the functions do: windows of pads are as large
as the text, and hardly a page in them is used.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise

JUMP = 5

#: Pads that are farther apart are in two windows; more windows than these are not made.
_GAP = 32 << 20
_MOST_WINDOWS = 8


def pad_address(site: int, original: bytes) -> int | None:
    """Where a jump at `site` leads whose last four bytes are `original`'s, the five bytes there. None: nowhere."""
    if len(original) < JUMP:
        return None
    address = site + JUMP + int.from_bytes(original[1:JUMP], "little", signed=True)
    return address if address > 0 else None


class _Group:
    """Pads of one window, by ascending address."""

    def __init__(self, within: int, first: int, jump: int) -> None:
        self.within, self.first, self.end, self.jumps = within, first, first + JUMP, [jump]


def spread(
    wanted: Mapping[int, int], free: Sequence[tuple[int, int]], page: int
) -> list[tuple[int, int, list[int]]]:
    """Windows for pads, (low, high) of whole pages, with the jumps whose pads are in each.

    `wanted`: addresses of pads by jump; `free`: ranges of whole pages, ascending. What finds no place is left out, as
    is what would overlap.
    """
    order = sorted(wanted, key=lambda jump: wanted[jump])
    overlapping = {later for first, later in pairwise(order) if wanted[later] - wanted[first] < JUMP}
    highs = [high for _, high in free]
    groups: list[_Group] = []
    for jump in order:
        address = wanted[jump]
        number = bisect_left(highs, address + JUMP)
        if jump in overlapping or number == len(free) or address < free[number][0]:
            continue
        last = groups[-1] if groups else None
        if last is not None and last.within == number and address - last.end <= _GAP:
            last.end = address + JUMP
            last.jumps.append(jump)
        else:
            groups.append(_Group(number, address, jump))
    largest = sorted(groups, key=lambda group: -len(group.jumps))[:_MOST_WINDOWS]
    return [(group.first // page * page, -(-group.end // page) * page, group.jumps) for group in largest]
