"""Finding a function's entries by its name and address, whether one is asked for or thousands."""

from __future__ import annotations

from functools import cached_property

from gotap.image.types.dwarf.constants import Attribute, Tag
from gotap.image.types.dwarf.debuginfo import DebugInfo, Entry, Unit
from gotap.image.types.dwarf.functions import Subprogram, subprogram

#: Functions of one package that are searched by name before all entries of its unit are read.
_BY_NAME = 24


class Subprograms:
    """The functions of one binary's debug information. Raises DwarfError on damaged data."""

    def __init__(self, debug: DebugInfo) -> None:
        self._debug = debug
        self._asked: dict[str, int] = {}
        self._indexed: dict[str, dict[int, int]] = {}

    def find(self, package: str, name: str, address: int) -> Subprogram | None:
        """The function of that full name (type arguments written out) whose code begins at the unrelocated address.

        `package`: import path, where its entries are likely to be.
        """
        self._asked[package] = self._asked.get(package, 0) + 1
        if self._asked[package] > _BY_NAME:
            if package not in self._indexed:
                self._indexed[package] = {at: entry for unit in self._units(package) for at, entry in self._read(unit)}
            offset = self._indexed[package].get(address)
            if offset is not None:
                return self._at(self._debug.entry(offset))
        found = (subprogram(self._debug, entry) for entry in self._debug.named(name, (Tag.SUBPROGRAM,)))
        return next((one for one in found if one is not None and one.low_pc == address), None)

    def inlined(self, name: str) -> Entry | None:
        """What describes a function that can be inlined: its signature, without code."""
        entries = self._debug.named(name, (Tag.SUBPROGRAM,))
        return next((entry for entry in entries if Attribute.INLINE in entry.attributes), None)

    def _at(self, code: Entry) -> Subprogram:
        origin = code.reference(Attribute.ABSTRACT_ORIGIN)
        return Subprogram(self._debug.entry(origin) if origin is not None else code, code)

    @cached_property
    def _by_package(self) -> dict[str, list[Unit]]:
        units: dict[str, list[Unit]] = {}
        for unit in self._debug.units:
            units.setdefault(self._debug.entry(unit.first_entry).name, []).append(unit)
        return units

    def _units(self, package: str) -> list[Unit]:
        return self._by_package.get(package, [])

    def _read(self, unit: Unit) -> list[tuple[int, int]]:
        """(Address, offset of the entry) of every function with code in the unit."""
        return [
            (entry.number(Attribute.LOW_PC), entry.offset)
            for entry in self._debug.children(self._debug.entry(unit.first_entry))
            if entry.tag == Tag.SUBPROGRAM and Attribute.LOW_PC in entry.attributes
        ]
