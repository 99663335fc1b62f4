"""Attribute forms (DWARF 5 §7.5.6): from bytes to numbers, texts and blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gotap.image.types.dwarf.constants import Form

#: Bits of a number; without a bound, megabytes of bytes ≥ 0x80 would be one number that takes minutes.
_LONGEST_NUMBER = 128
#: Bytes of a name; instances of generic functions have had some thousands.
_LONGEST_TEXT = 1 << 16
#: What an attribute may hold: a number (addresses and references too), or the bytes of a text or a block.
Value = int | bytes


class UnitLayout(Protocol):
    """What a form needs to know of the unit it stands in."""

    offset: int
    offset_size: int
    address_size: int
    addr_base: int


class Source(Protocol):
    """What a form may refer to beside .debug_info."""

    @property
    def info(self) -> bytes: ...

    def section(self, name: str) -> bytes: ...

    def address(self, unit: UnitLayout, index: int) -> int: ...


def uleb128(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the offset behind it. Raises IndexError, ValueError."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value = byte & 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > _LONGEST_NUMBER:
            raise ValueError


def sleb128(data: bytes, at: int) -> tuple[int, int]:
    """A signed LEB128 number and the offset behind it."""
    start = at
    value, at = uleb128(data, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if value >> (bits - 1) & 1 else value), at


#: Reads an attribute at an offset of .debug_info: its value and the offset behind it.
Reader = Callable[[Source, UnitLayout, int], tuple[Value, int]]


def _fixed(size: int) -> Reader:
    def read(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
        return int.from_bytes(debug.info[at : at + size], "little"), at + size

    return read


def _address(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
    return int.from_bytes(debug.info[at : at + unit.address_size], "little"), at + unit.address_size


def _offset(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
    return int.from_bytes(debug.info[at : at + unit.offset_size], "little"), at + unit.offset_size


def _string(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
    end = debug.info.index(b"\0", at, at + _LONGEST_TEXT)
    return debug.info[at:end], end + 1


def _string_from(section: str) -> Reader:
    def read(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
        offset, at = _offset(debug, unit, at)
        assert isinstance(offset, int)
        strings = debug.section(section)
        end = strings.find(b"\0", offset)
        return (strings[offset:end] if end != -1 else b""), at

    return read


def _unsigned(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
    return uleb128(debug.info, at)


def _signed(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
    return sleb128(debug.info, at)


def _block(size: int) -> Reader:
    """A block behind a length of `size` bytes, 0 for a ULEB128 length."""

    def read(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
        info = debug.info
        length, at = (int.from_bytes(info[at : at + size], "little"), at + size) if size else uleb128(info, at)
        return info[at : at + length], at + length

    return read


def _present(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
    return 1, at


def _unit_reference(size: int) -> Reader:
    """A reference relative to the unit's start, made a section offset."""

    def read(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
        info = debug.info
        value, at = (int.from_bytes(info[at : at + size], "little"), at + size) if size else uleb128(info, at)
        return unit.offset + value, at

    return read


def _indexed_address(size: int) -> Reader:
    def read(debug: Source, unit: UnitLayout, at: int) -> tuple[Value, int]:
        info = debug.info
        index, at = (int.from_bytes(info[at : at + size], "little"), at + size) if size else uleb128(info, at)
        return debug.address(unit, index), at

    return read


READERS: dict[int, Reader] = {
    Form.ADDR: _address,
    Form.BLOCK1: _block(1),
    Form.BLOCK2: _block(2),
    Form.BLOCK4: _block(4),
    Form.BLOCK: _block(0),
    Form.EXPRLOC: _block(0),
    Form.DATA1: _fixed(1),
    Form.DATA2: _fixed(2),
    Form.DATA4: _fixed(4),
    Form.DATA8: _fixed(8),
    Form.DATA16: _fixed(16),
    Form.REF_SIG8: _fixed(8),
    Form.FLAG: _fixed(1),
    Form.FLAG_PRESENT: _present,
    Form.STRING: _string,
    Form.STRP: _string_from(".debug_str"),
    Form.LINE_STRP: _string_from(".debug_line_str"),
    Form.SDATA: _signed,
    Form.UDATA: _unsigned,
    Form.STRX: _unsigned,
    Form.STRX1: _fixed(1),
    Form.STRX2: _fixed(2),
    Form.STRX4: _fixed(4),
    Form.LOCLISTX: _unsigned,
    Form.RNGLISTX: _unsigned,
    Form.REF_ADDR: _offset,
    Form.SEC_OFFSET: _offset,
    Form.REF1: _unit_reference(1),
    Form.REF2: _unit_reference(2),
    Form.REF4: _unit_reference(4),
    Form.REF8: _unit_reference(8),
    Form.REF_UDATA: _unit_reference(0),
    Form.ADDRX: _indexed_address(0),
    Form.ADDRX1: _indexed_address(1),
    Form.ADDRX2: _indexed_address(2),
    Form.ADDRX4: _indexed_address(4),
}
