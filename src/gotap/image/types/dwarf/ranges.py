"""The code that an entry is about: one range of addresses, or a list of them (DWARF 4 §2.17.3, DWARF 5 §7.25)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from gotap.image.types.dwarf.constants import Attribute, Form, RangeEntry
from gotap.image.types.dwarf.debuginfo import DebugInfo, DwarfError, Entry, Unit
from gotap.image.types.dwarf.forms import uleb128

#: [low, high), unrelocated.
Range = tuple[int, int]
#: Ranges of one entry.
_MOST = 1 << 14
_BASE_SELECTION = (1 << 64) - 1


def ranges_of(debug: DebugInfo, entry: Entry) -> tuple[Range, ...]:
    """The entry's ranges, those without any code left out. Raises DwarfError."""
    if (listed := entry.attributes.get(Attribute.RANGES)) is not None:
        if not isinstance(listed, int):
            raise DwarfError(f"the debug information's entry at {entry.offset:#x} has no range list")
        read = _rnglists if entry.unit.version >= 5 else _debug_ranges
        try:
            found = islice(read(debug, entry.unit, listed), _MOST)
            return tuple(one for one in found if one[0] < one[1])
        except IndexError as error:
            raise DwarfError(f"the debug information's range list at {listed:#x} is cut off") from error
    low, high = entry.number(Attribute.LOW_PC), entry.number(Attribute.HIGH_PC)
    if entry.forms.get(Attribute.HIGH_PC) not in (Form.ADDR, Form.ADDRX):
        high += low
    return ((low, high),) if low < high else ()


def _debug_ranges(debug: DebugInfo, unit: Unit, at: int) -> Iterator[Range]:
    data, size, base = debug.section(".debug_ranges"), unit.address_size, unit.low_pc
    while at + 2 * size <= len(data):
        low, high = (int.from_bytes(data[at + i : at + i + size], "little") for i in (0, size))
        at += 2 * size
        if low == high == 0:
            return
        if low == _BASE_SELECTION:
            base = high
        else:
            yield base + low, base + high


def _rnglists(debug: DebugInfo, unit: Unit, at: int) -> Iterator[Range]:
    """The offset form alone (DW_FORM_sec_offset), which Go's linker writes (Go 1.25–1.27)."""
    data, size, base = debug.section(".debug_rnglists"), unit.address_size, unit.low_pc

    def number() -> int:
        nonlocal at
        value, at = uleb128(data, at)
        return value

    def address() -> int:
        nonlocal at
        at += size
        return int.from_bytes(data[at - size : at], "little")

    while at < len(data):
        kind = data[at]
        at += 1
        if kind == RangeEntry.BASE_ADDRESSX:
            base = debug.address(unit, number())
        elif kind == RangeEntry.BASE_ADDRESS:
            base = address()
        elif kind == RangeEntry.STARTX_ENDX:
            yield debug.address(unit, number()), debug.address(unit, number())
        elif kind == RangeEntry.STARTX_LENGTH:
            low = debug.address(unit, number())
            yield low, low + number()
        elif kind == RangeEntry.OFFSET_PAIR:
            yield base + number(), base + number()
        elif kind == RangeEntry.START_END:
            yield address(), address()
        elif kind == RangeEntry.START_LENGTH:
            low = address()
            yield low, low + number()
        else:
            return
