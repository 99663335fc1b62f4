"""Units, abbreviations and entries (DIEs) of .debug_info; each entry is decoded when it is asked for.

Only units of language Go are read beyond their first entry: cgo programs carry C units too. Go's linker writes names
inline (DW_FORM_string, Go 1.18–1.27), so an entry is found by searching the section's bytes for its name.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Protocol

from msgspec import Struct

from gotap.errors import GotapError
from gotap.image.types.dwarf.constants import LANGUAGE_GO, Attribute, Form, Tag, UnitType
from gotap.image.types.dwarf.forms import READERS, UnitLayout, Value, sleb128, uleb128

_BLANK = 0x20

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class DwarfError(GotapError):
    """Debug information that contradicts itself or uses a form this reader does not know."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "rebuild the program, or strip its debug information (-ldflags=-w)")


class Sections(Protocol):
    """Where sections come from: `gotap.image.containers.elf.Elf`."""

    def section_data(self, name: str) -> bytes | None:
        """The section's decompressed bytes, None when there is no such section."""
        ...


class Abbreviation(Struct, frozen=True):
    tag: int
    has_children: bool
    attributes: tuple[tuple[int, int, int], ...]  # attribute, form, implicit constant


class Unit(Struct):
    """One unit's header; offsets are into .debug_info."""

    offset: int
    first_entry: int
    end: int
    version: int
    offset_size: int  # 4, or 8 in 64-bit DWARF
    address_size: int
    abbreviations: dict[int, Abbreviation]
    language: int = 0
    low_pc: int = 0
    addr_base: int = 0


class Entry(Struct, frozen=True):
    """A debugging information entry (DIE). References are section offsets, `addrx` addresses are resolved."""

    offset: int
    end: int  # of its attributes: its first child's offset, or its next sibling's
    unit: Unit
    tag: int
    has_children: bool
    attributes: dict[int, Value]
    forms: dict[int, int]

    @property
    def name(self) -> str:
        return self.text(Attribute.NAME)

    def text(self, attribute: int) -> str:
        value = self.attributes.get(attribute, b"")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""

    def number(self, attribute: int, default: int = 0) -> int:
        value = self.attributes.get(attribute, default)
        return value if isinstance(value, int) else default

    def reference(self, attribute: int) -> int | None:
        """The section offset of the entry that the attribute refers to; Go writes 0 for none."""
        value = self.attributes.get(attribute)
        return value if isinstance(value, int) and value else None


class DebugInfo:
    """Access to the entries of one binary. Reading the sections is deferred to the first question."""

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._bytes: dict[str, bytes] = {}

    def section(self, name: str) -> bytes:
        """The bytes of a debug section, decompressed once; empty when the binary has none."""
        if name not in self._bytes:
            self._bytes[name] = self._sections.section_data(name) or b""
        return self._bytes[name]

    @cached_property
    def info(self) -> bytes:
        return self.section(".debug_info")

    @cached_property
    def units(self) -> list[Unit]:
        """The units of language Go, by offset."""
        return [unit for unit in self._all_units() if unit.language == LANGUAGE_GO]

    @cached_property
    def _unit_offsets(self) -> list[int]:
        return [unit.offset for unit in self.units]

    def unit_at(self, offset: int) -> Unit | None:
        """The Go unit whose entries include that offset."""
        index = bisect_right(self._unit_offsets, offset) - 1
        if index < 0:
            return None
        unit = self.units[index]
        return unit if unit.first_entry <= offset < unit.end else None

    def entry(self, offset: int) -> Entry:
        """The entry at an offset that another entry refers to. Raises DwarfError when there is none."""
        unit = self.unit_at(offset)
        entry = self._decode(unit, offset) if unit is not None else None
        if entry is None:
            raise DwarfError(f"the debug information refers to an entry at {offset:#x} where none is")
        return entry

    def children(self, parent: Entry) -> Iterator[Entry]:
        """The direct children of an entry."""
        if not parent.has_children:
            return
        offset = parent.end
        depth = 0
        while offset < parent.unit.end:
            entry = self._decode(parent.unit, offset)
            if entry is None:  # a null entry closes the innermost open list
                if depth == 0:
                    return
                depth -= 1
                offset += 1
                continue
            if depth == 0:
                yield entry
            depth += entry.has_children
            offset = entry.end

    def descendants(self, parent: Entry) -> Iterator[tuple[int, Entry]]:
        """All entries below one, in order, with their depth: 1 for its children."""
        offset, depth = parent.end, int(parent.has_children)
        while depth and offset < parent.unit.end:
            entry = self._decode(parent.unit, offset)
            if entry is None:
                depth -= 1
                offset += 1
                continue
            yield depth, entry
            depth += entry.has_children
            offset = entry.end

    def named(self, name: str, tags: Collection[int]) -> Iterator[Entry]:
        """The entries of those tags whose DW_AT_name is `name`, in file order.

        A match may by chance lie inside other data; the caller checks what it needs of the entry.
        """
        if not name:
            return
        needle = name.encode() + b"\0"
        at = self.info.find(needle, 1)
        while at != -1:
            # The abbreviation code before the name takes one byte: Go uses fewer than 64.
            entry = self._candidate(at - 1, tags) if not self._inside_text(at - 1) else None
            if entry is not None and entry.attributes.get(Attribute.NAME) == needle[:-1]:
                yield entry
            at = self.info.find(needle, at + 1)

    def _inside_text(self, offset: int) -> bool:
        """Whether what may be an abbreviation code is more likely a character of a longer name.

        Code 32 is a blank: `func() bool` ends like the entry of `bool`. The entry before a type ends with a NUL, a
        flag, or the high byte of an address or a reference, and no text has a character below the blank.
        """
        return offset > 0 and self.info[offset] >= _BLANK and self.info[offset - 1] >= _BLANK

    def with_origin(self, origin: Entry, tags: Collection[int]) -> Iterator[Entry]:
        """The entries of those tags whose DW_AT_abstract_origin is `origin`."""
        needle = origin.offset.to_bytes(origin.unit.offset_size, "little")
        at = self.info.find(needle, 1)
        while at != -1:
            entry = self._candidate(at - 1, tags)
            if entry is not None and entry.reference(Attribute.ABSTRACT_ORIGIN) == origin.offset:
                yield entry
            at = self.info.find(needle, at + 1)

    def address(self, unit: UnitLayout, index: int) -> int:
        """Entry `index` of the unit's part of .debug_addr."""
        at = unit.addr_base + index * unit.address_size
        return int.from_bytes(self.section(".debug_addr")[at : at + unit.address_size], "little")

    def _candidate(self, offset: int, tags: Collection[int]) -> Entry | None:
        unit = self.unit_at(offset)
        if unit is None:
            return None
        abbreviation = unit.abbreviations.get(self.info[offset])
        if abbreviation is None or abbreviation.tag not in tags:
            return None
        try:
            return self._decode(unit, offset)
        except DwarfError:
            return None  # the bytes were not an entry

    def _decode(self, unit: Unit, offset: int) -> Entry | None:
        """The entry at an offset, None for a null entry. Raises DwarfError for bytes that are no entry."""
        try:
            entry = self._decode_unchecked(unit, offset)
        except (IndexError, ValueError) as error:  # behind the section's end, a text without end
            raise DwarfError(f"the debug information is cut off in the entry at {offset:#x}") from error
        if entry is not None and entry.end > unit.end:
            raise DwarfError(f"the debug information's entry at {offset:#x} is longer than its unit")
        return entry

    def _decode_unchecked(self, unit: Unit, offset: int) -> Entry | None:
        code, at = uleb128(self.info, offset)
        if code == 0:
            return None
        abbreviation = unit.abbreviations.get(code)
        if abbreviation is None:
            raise DwarfError(f"the debug information has an entry at {offset:#x} without an abbreviation")
        attributes: dict[int, Value] = {}
        forms: dict[int, int] = {}
        for attribute, form, implicit in abbreviation.attributes:
            forms[attribute] = form
            if form == Form.IMPLICIT_CONST:
                attributes[attribute] = implicit
                continue
            read = READERS.get(form)
            if read is None:
                raise DwarfError(f"the debug information uses form {form:#x}, which is unknown")
            attributes[attribute], at = read(self, unit, at)
        return Entry(offset, at, unit, abbreviation.tag, abbreviation.has_children, attributes, forms)

    def _all_units(self) -> Iterator[Unit]:
        info, tables = self.info, self.section(".debug_abbrev")
        cache: dict[int, dict[int, Abbreviation]] = {}
        offset, left = 0, 2 * len(tables)
        while offset + 11 < len(info):
            try:
                unit, abbreviation_offset = _unit_header(info, offset)
                if abbreviation_offset not in cache:
                    cache[abbreviation_offset], end = _abbreviations(tables, abbreviation_offset)
                    left -= end - abbreviation_offset
                    if left < 0:  # tables side by side need half of it; overlapping ones would take hours
                        raise DwarfError("the debug information's abbreviations overlap")
                unit.abbreviations = cache[abbreviation_offset]
                self._read_unit_entry(unit)
            except (struct.error, IndexError, ValueError) as error:  # ValueError: a text without end
                raise DwarfError(f"the debug information is cut off in the unit at {offset:#x}") from error
            yield unit
            offset = unit.end

    def _read_unit_entry(self, unit: Unit) -> None:
        code, at = uleb128(self.info, unit.first_entry)
        abbreviation = unit.abbreviations.get(code)
        if abbreviation is None or abbreviation.tag != Tag.COMPILE_UNIT:
            return
        low_pc: tuple[int, int] | None = None
        for attribute, form, implicit in abbreviation.attributes:
            value: Value = implicit
            if form != Form.IMPLICIT_CONST:
                if form == Form.ADDRX and attribute == Attribute.LOW_PC:
                    low_pc = uleb128(self.info, at)
                    at = low_pc[1]
                    continue
                read = READERS.get(form)
                if read is None:
                    return
                value, at = read(self, unit, at)
            if isinstance(value, int):
                if attribute == Attribute.LANGUAGE:
                    unit.language = value
                elif attribute == Attribute.LOW_PC:
                    unit.low_pc = value
                elif attribute == Attribute.ADDR_BASE:
                    unit.addr_base = value
        if low_pc is not None and unit.addr_base:  # an index needs the base, which may stand behind it
            unit.low_pc = self.address(unit, low_pc[0])


def _unit_header(info: bytes, offset: int) -> tuple[Unit, int]:
    """DWARF 5 §7.5.1: the header of 32-bit and 64-bit DWARF, versions 2 to 5, and the unit's abbreviation offset."""
    length = _U32.unpack_from(info, offset)[0]
    at, offset_size, pack = offset + 4, 4, _U32
    if length == 0xFFFFFFFF:
        length = _U64.unpack_from(info, at)[0]
        at, offset_size, pack = at + 8, 8, _U64
    end = at + length
    if end > len(info):
        raise IndexError
    version = _U16.unpack_from(info, at)[0]
    at += 2
    if version >= 5:
        unit_type, address_size = info[at], info[at + 1]
        abbreviation_offset = pack.unpack_from(info, at + 2)[0]
        at += 2 + offset_size
        if unit_type in (UnitType.SKELETON, UnitType.SPLIT_COMPILE):
            at += 8
        elif unit_type in (UnitType.TYPE, UnitType.SPLIT_TYPE):
            at += 8 + offset_size
    else:
        abbreviation_offset = pack.unpack_from(info, at)[0]
        address_size = info[at + offset_size]
        at += offset_size + 1
    return Unit(offset, at, end, version, offset_size, address_size, {}), abbreviation_offset


def _abbreviations(table: bytes, at: int) -> tuple[dict[int, Abbreviation], int]:
    """A table by code, and the offset behind it."""
    abbreviations: dict[int, Abbreviation] = {}
    while True:
        code, at = uleb128(table, at)
        if code == 0:
            return abbreviations, at
        tag, at = uleb128(table, at)
        has_children = table[at] != 0
        at += 1
        attributes = []
        while True:
            attribute, at = uleb128(table, at)
            form, at = uleb128(table, at)
            implicit = 0
            if form == Form.IMPLICIT_CONST:
                implicit, at = sleb128(table, at)
            if attribute == 0 and form == 0:
                break
            attributes.append((attribute, form, implicit))
        abbreviations[code] = Abbreviation(tag, has_children, tuple(attributes))
