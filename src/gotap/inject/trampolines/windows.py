"""Where trampolines go: free ranges of a process' addresses that the jumps of all their sites reach. Pure.

A site becomes `jmp rel32`, so its stub lies within ±2 GB; so must everything that displaced instructions refer to,
which may be anywhere in the image. A *punned* site has only 4 bytes of its own: its jump's last byte is the instruction
behind it (0x5d, `pop %rbp`), so its stub lies within the 16 MB whose distance has that top byte, about 1.45 GB above.
One window serves as much text as those 16 MB leave room for; large executables need several.

A window is code pages, then data pages (sites' records): code and what is written while it runs share no cache line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from gotap.inject.trampolines import pads
from gotap.process.proc import Mapping

PAGE = 4096

#: Stubs begin at cache lines' quarters: a jump into the middle of a 16-byte fetch block costs a cycle.
ALIGNMENT = 16

#: vm.mmap_min_addr is 64 KB nearly everywhere, up to 1 MB on some; nothing of ours goes below.
_LOWEST = 1 << 20

#: TASK_SIZE of 4-level paging; addresses above are given only to who asks for them.
_HIGHEST = (1 << 47) - PAGE

#: Stacks grow down by themselves (stack_guard_gap is 1 MB) and `brk` up: this much is left free around both.
_GROWTH = 64 << 20

_REACH = (1 << 31) - PAGE
_JUMP = 5


class Jump(NamedTuple):
    """A jump that wants a stub: `site` is its address, `size` and `data` what the stub needs at most, in bytes.

    `pun`: the top byte that the distance must have, for jumps of which only 4 bytes may be written. `original`: the
    five bytes there, for a landing pad.
    """

    site: int
    size: int
    data: int = 0
    pun: int | None = None
    original: bytes = b""


class Place(NamedTuple):
    """Where a jump's stub and its data are: window by index, addresses in the process. `target`: where the jump leads,
    to the stub or to its pad.
    """

    window: int
    code: int
    data: int
    target: int


class Window(Struct, frozen=True):
    """[address, data) for code, [data, private) for data, [private, end) for what is no part of the file; whole pages.

    Code and data begin with what the caller asked to be shared by the window's stubs.
    """

    address: int
    code_size: int
    data_size: int
    private_size: int = 0

    @property
    def size(self) -> int:
        """Of what is mapped from the file."""
        return self.code_size + self.data_size

    @property
    def data(self) -> int:
        return self.address + self.code_size

    @property
    def private(self) -> int:
        return self.address + self.size

    @property
    def end(self) -> int:
        return self.private + self.private_size


class Shared(NamedTuple):
    """What each window has besides its stubs, in bytes: code, data, private memory."""

    code: int = 0
    data: int = 0
    private: int = 0


class Plan(Struct, frozen=True):
    """`places` as the jumps were given; None where there is no room, and `why` says for all of them why.

    `pads`: windows of landing pads, which are to be mapped with the others. `jumps`: their content, by address.
    """

    windows: tuple[Window, ...]
    places: tuple[Place | None, ...]
    why: str = ""
    pads: tuple[Window, ...] = ()

    @property
    def all_windows(self) -> tuple[Window, ...]:
        return (*self.windows, *self.pads)

    @property
    def jumps(self) -> dict[int, bytes]:
        return {
            place.target: b"\xe9" + (place.code - place.target - pads.JUMP).to_bytes(4, "little", signed=True)
            for place in self.places
            if place is not None and place.target != place.code
        }

    @property
    def refused(self) -> int:
        return self.places.count(None)


class Range(NamedTuple):
    """Addresses [low, high)."""

    low: int
    high: int

    def within(self, other: Range) -> Range:
        return Range(max(self.low, other.low), min(self.high, other.high))

    @property
    def size(self) -> int:
        return max(0, self.high - self.low)


_EVERYWHERE = Range(_LOWEST, _HIGHEST)


def free_ranges(mappings: Iterable[Mapping]) -> list[Range]:
    """What is mapped nowhere, and no stack or heap grows into; ascending, whole pages."""
    found = []
    low = _LOWEST
    for mapping in sorted(mappings, key=lambda one: one.start):
        high = mapping.start - _GROWTH if mapping.path.startswith("[stack") else mapping.start
        if high - low >= PAGE:
            found.append(Range(low, min(high, _HIGHEST)))
        low = max(low, mapping.end + (_GROWTH if mapping.path == "[heap]" else 0))
    if _HIGHEST - low >= PAGE:
        found.append(Range(low, _HIGHEST))
    return found


def reach(jump: Jump) -> Range:
    """Where the stub of this jump may begin."""
    behind = jump.site + _JUMP
    if jump.pun is None:
        return Range(behind - _REACH, behind + _REACH)
    distance = jump.pun << 24
    if jump.pun & 0x80:
        distance -= 1 << 32
    return Range(behind + distance, behind + distance + (1 << 24))


NOTHING = Shared()


def plan(mappings: Sequence[Mapping], image: Range, jumps: Sequence[Jump], shared: Shared = NOTHING) -> Plan:
    """Places for the stubs of `jumps`; `image`: all addresses of the executable or library that they are in.

    As few windows as a greedy choice finds; jumps that are not punned go where punned ones went, if they reach it.
    """
    planner = _Planner(free_ranges(mappings), _around(image), jumps, shared)
    planner.place_pads()
    for part in _by_pun([jump._replace(pun=planner.pun(index)) for index, jump in enumerate(jumps)]):
        planner.place(part)
    places = tuple(planner.places.get(index) for index in range(len(jumps)))
    missing = [jump for jump, where in zip(jumps, places, strict=True) if where is None]
    return Plan(tuple(planner.windows), places, _why(missing), tuple(planner.pad_windows))


def _by_pun(jumps: Sequence[Jump]) -> list[list[int]]:
    """Jumps of one pun each, by ascending site; those without go with the most frequent one."""
    puns = Counter(jump.pun for jump in jumps if jump.pun is not None)
    most = max(puns, key=lambda pun: puns[pun], default=None)
    parts: dict[int | None, list[int]] = {most: []}
    for index in sorted(range(len(jumps)), key=lambda index: jumps[index].site):
        pun = jumps[index].pun
        parts.setdefault(most if pun is None else pun, []).append(index)
    return [part for part in parts.values() if part]


def _around(image: Range) -> Range:
    """What reaches all of the image, and all of the image reaches.

    A pun leaves no such choice: what its stub does not reach is found out when the stub is made.
    """
    return Range(max(image.high - _REACH, _LOWEST), min(image.low + _REACH, _HIGHEST))


def _why(missing: Sequence[Jump]) -> str:
    if not missing:
        return ""
    count = f"{len(missing)} site{'s' if len(missing) > 1 else ''}"
    if all(jump.pun is not None for jump in missing):
        return f"no free addresses for the trampolines of {count} in the 16 MB that their jumps can reach"
    return f"no free addresses for the trampolines of {count} within 2 GB of the program's text"


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


class _Planner:
    def __init__(self, free: list[Range], around: Range, jumps: Sequence[Jump], shared: Shared) -> None:
        self._free = free
        self._around = around
        self._jumps = jumps
        self._shared = Shared(_rounded(shared.code, ALIGNMENT), _rounded(shared.data, ALIGNMENT),
                              _rounded(shared.private, PAGE))  # fmt: skip
        self.windows: list[Window] = []
        self.pad_windows: list[Window] = []
        self.places: dict[int, Place] = {}
        self._pads: dict[int, int] = {}

    def place_pads(self) -> None:
        """Before anything else: they can be nowhere else. A stub must be reached from its pad, and reach its site."""
        wanted = {}
        for index, jump in enumerate(self._jumps):
            address = pads.pad_address(jump.site, jump.original)
            if address is not None and reach(Jump(address, 0)).within(self._around).size > 0:
                wanted[index] = address
        for low, high, group in pads.spread(wanted, self._free, PAGE):
            self._take(low, high)
            self.pad_windows.append(Window(low, high - low, 0))
            self._pads |= {index: wanted[index] for index in group}

    def place(self, indexes: list[int]) -> None:
        """Jumps by ascending site. A group for which there is no room is halved; one jump without room stays without.

        What is not punned never splits a group: it goes elsewhere.
        """
        elsewhere: list[int] = []
        pending = self._groups(indexes)[::-1]
        while pending:
            group = pending.pop()
            if self._one_window(group):
                continue
            punned = [index for index in group if self.pun(index) is not None]
            if punned and len(punned) < len(group):
                elsewhere += [index for index in group if self.pun(index) is None]
                pending.append(punned)
            elif len(group) > 1:
                middle = len(group) // 2
                pending += [group[middle:], group[:middle]]
        if elsewhere:
            self.place(elsewhere)

    def _groups(self, indexes: list[int]) -> list[list[int]]:
        """Split where what the stubs reach in common becomes too small for them."""
        groups: list[list[int]] = []
        common, size = _EVERYWHERE, 0
        for index in indexes:
            jump = self._jumps[index]
            more = _rounded(jump.size, ALIGNMENT) + _rounded(jump.data, ALIGNMENT)
            own = self._allowed(index)
            narrower = common.within(own)
            if groups and narrower.size >= sum(self._shared) + size + more + 3 * PAGE:
                groups[-1].append(index)
                common, size = narrower, size + more
            else:
                groups.append([index])
                common, size = own, more
        return groups

    def _one_window(self, group: list[int]) -> bool:
        code, data, private = self._shared
        offsets = []
        allowed = _EVERYWHERE
        for index in group:
            jump = self._jumps[index]
            offsets.append((code, data))
            code += _rounded(jump.size, ALIGNMENT)
            data += _rounded(jump.data, ALIGNMENT)
            allowed = allowed.within(self._allowed(index))
        code_size, data_size = _rounded(code, PAGE), _rounded(data, PAGE)
        address = self._room(allowed, code_size + data_size + private)
        if address is None:
            return False
        number = len(self.windows)
        self.windows.append(Window(address, code_size, data_size, private))
        for index, (at, data_at) in zip(group, offsets, strict=True):
            code_at = address + at
            target = self._pads.get(index, code_at)
            self.places[index] = Place(number, code_at, address + code_size + data_at, target)
        return True

    def pun(self, index: int) -> int | None:
        """None also where a pad makes it good."""
        return None if index in self._pads else self._jumps[index].pun

    def _allowed(self, index: int) -> Range:
        jump = self._jumps[index]
        if index in self._pads:
            return reach(jump._replace(pun=None)).within(reach(Jump(self._pads[index], 0))).within(self._around)
        return reach(jump) if jump.pun is not None else reach(jump).within(self._around)

    def _room(self, allowed: Range, size: int) -> int | None:
        """The lowest free address, which is then no longer free.

        Low rather than high: where Go's heap and the memory of C libraries are is far above.
        """
        for free in self._free:
            common = free.within(allowed)
            address = _rounded(common.low, PAGE)
            if address + size <= common.high:
                self._take(address, address + size)
                return address
        return None

    def _take(self, low: int, high: int) -> None:
        """Of a free range; it is not free any more."""
        position = next(at for at, free in enumerate(self._free) if free.low <= low and high <= free.high)
        free = self._free[position]
        rest = (Range(free.low, low), Range(high, free.high))
        self._free[position : position + 1] = [part for part in rest if part.size >= PAGE]
