"""The line program (DWARF 4 and 5 §6.2): at which addresses statements of which lines begin.

The function table knows the line of every instruction. What this adds is the compiler's word on where a statement
begins, for optimised code is out of order: `is_stmt` (obj/dwarf.go, ssa/numberlines.go; Go 1.18–1.27, which writes
versions 2, 3 and 5 of the table).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from gotap.image.types.dwarf.constants import Attribute
from gotap.image.types.dwarf.debuginfo import DebugInfo, DwarfError, Unit
from gotap.image.types.dwarf.forms import sleb128, uleb128

_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE, _SET_COLUMN, _NEGATE_STMT = 1, 2, 3, 4, 5, 6
_CONST_ADD_PC, _FIXED_ADVANCE_PC = 8, 9
_END_SEQUENCE, _SET_ADDRESS = 1, 2
#: Rows of one unit; those of the largest packages known are a tenth of it.
_MOST_ROWS = 1 << 22


class _Header(Struct, frozen=True):
    program: int
    end: int
    quantum: int
    is_stmt: bool
    line_base: int
    line_range: int
    lengths: bytes  # operands of the standard opcodes, from opcode 1 on


def statements(debug: DebugInfo, unit: Unit) -> dict[int, int]:
    """Address → line of every statement's beginning in the unit. Raises DwarfError."""
    start = debug.entry(unit.first_entry).attributes.get(Attribute.STMT_LIST)
    return read_lines(debug.section(".debug_line"), start, unit.address_size) if isinstance(start, int) else {}


def read_lines(data: bytes, start: int, address_size: int) -> dict[int, int]:
    """The same of the line program at an offset of .debug_line. Raises DwarfError."""
    try:
        return dict(_rows(data, _header(data, start), address_size))
    except (IndexError, ValueError) as error:
        raise DwarfError(f"the debug information's line program at {start:#x} is cut off") from error


def _header(data: bytes, at: int) -> _Header:
    def number(size: int, signed: bool = False) -> int:
        nonlocal at
        if at + size > len(data):
            raise IndexError
        at += size
        return int.from_bytes(data[at - size : at], "little", signed=signed)

    length, offset_size = number(4), 4
    if length == 0xFFFFFFFF:
        length, offset_size = number(8), 8
    end = at + length
    version = number(2)
    if not 2 <= version <= 5 or end > len(data):
        raise DwarfError(f"the debug information has a line program of version {version}, which is not known")
    if version >= 5:
        number(2)  # sizes of addresses and segment selectors
    size = number(offset_size)
    program = at + size
    quantum = number(1)
    if version >= 4:
        number(1)  # operations per instruction, of VLIW machines
    is_stmt, line_base, line_range, base = bool(number(1)), number(1, True), number(1), number(1)
    if not line_range or not base:
        raise IndexError
    return _Header(program, end, quantum, is_stmt, line_base, line_range, data[at : at + base - 1])


def _rows(data: bytes, header: _Header, address_size: int) -> Iterator[tuple[int, int]]:
    at, address, line, is_stmt = header.program, 0, 1, header.is_stmt
    base, span = len(header.lengths) + 1, header.line_range
    for _ in range(_MOST_ROWS):
        if at >= header.end:
            return
        opcode = data[at]
        at += 1
        if opcode >= base:
            step = opcode - base
            address += step // span * header.quantum
            line += header.line_base + step % span
            if is_stmt:
                yield address, line
        elif opcode == 0:
            length, at = uleb128(data, at)
            if length and data[at] == _END_SEQUENCE:
                address, line, is_stmt = 0, 1, header.is_stmt
            elif length and data[at] == _SET_ADDRESS:
                address = int.from_bytes(data[at + 1 : at + 1 + address_size], "little")
            at += length
        elif opcode == _COPY:
            if is_stmt:
                yield address, line
        elif opcode == _ADVANCE_PC:
            step, at = uleb128(data, at)
            address += step * header.quantum
        elif opcode == _ADVANCE_LINE:
            step, at = sleb128(data, at)
            line += step
        elif opcode == _NEGATE_STMT:
            is_stmt = not is_stmt
        elif opcode == _CONST_ADD_PC:
            address += (255 - base) // span * header.quantum
        elif opcode == _FIXED_ADVANCE_PC:
            address += int.from_bytes(data[at : at + 2], "little")
            at += 2
        else:
            for _ in range(header.lengths[opcode - 1]):
                _, at = uleb128(data, at)
