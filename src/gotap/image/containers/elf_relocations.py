"""Which words of an ELF file the dynamic loader fills with something else than stands there.

RELA entries carry the value. REL and RELR entries leave it in the word itself, so only REL entries that add a symbol
need a place here. Sources: System V gABI chapter 5, RELR included; the psABI of each machine.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gotap.image.containers.elf_machines import ABSOLUTE, RELATIVE

DT_SYMTAB, DT_RELA, DT_RELASZ, DT_REL, DT_RELSZ = 6, 7, 8, 17, 18

#: Relocations by symbol; Go's plugins have some thousands.
_MAX_ABSOLUTE = 1 << 17

_Words = NDArray[np.uint64]


class _Elf(Protocol):
    bits: int
    machine: int

    @property
    def order(self) -> str: ...
    def tag(self, tag: int) -> int: ...
    def read(self, va: int, size: int) -> bytes: ...
    def word(self, va: int) -> int: ...


def relocated_words(elf: _Elf) -> tuple[_Words, _Words]:
    """(Addresses sorted, values as they are at a load bias of 0). Raises BadAddress."""
    none = np.zeros(0, np.uint64)
    if elf.machine not in RELATIVE:
        return none, none
    sites, values = _rela(elf)
    more_sites, more_values = _rel(elf)
    if len(more_sites):
        sites, values = np.concatenate([sites, more_sites]), np.concatenate([values, more_values])
    order = np.argsort(sites, kind="stable")
    return sites[order], values[order]


def _table(elf: _Elf, address: int, size: int, fields: tuple[str, ...]) -> tuple[_Words, ...]:
    """Columns: offset, type, symbol and, where asked for, addend."""
    word = elf.bits // 8
    layout = np.dtype([(name, f"{elf.order}u{word}") for name in fields])
    rows = np.frombuffer(elf.read(address, size - size % layout.itemsize), layout)
    info = rows["info"]
    shift, mask = (32, 0xFFFFFFFF) if elf.bits == 64 else (8, 0xFF)
    return rows["offset"].astype(np.uint64), info & mask, info >> shift, *(rows[name] for name in fields[2:])


def _rela(elf: _Elf) -> tuple[_Words, _Words]:
    address, size = elf.tag(DT_RELA), elf.tag(DT_RELASZ)
    if not address or not size:
        none = np.zeros(0, np.uint64)
        return none, none
    sites, types, symbols, addends = _table(elf, address, size, ("offset", "info", "addend"))
    values = addends.astype(np.uint64)
    absolute = (types == ABSOLUTE[elf.machine]) & (symbols != 0)
    for i in np.flatnonzero(absolute)[:_MAX_ABSOLUTE]:  # c-shared and plugin only, and few there
        values[i] += np.uint64(_symbol_value(elf, int(symbols[i])))
    keep = (types == RELATIVE[elf.machine]) | absolute
    return sites[keep], values[keep]


def _rel(elf: _Elf) -> tuple[_Words, _Words]:
    address, size = elf.tag(DT_REL), elf.tag(DT_RELSZ)
    none = np.zeros(0, np.uint64)
    if not address or not size:
        return none, none
    sites, types, symbols = _table(elf, address, size, ("offset", "info"))
    absolute = np.flatnonzero((types == ABSOLUTE[elf.machine]) & (symbols != 0))[:_MAX_ABSOLUTE]
    mask = (1 << elf.bits) - 1
    values = [(elf.word(int(sites[i])) + _symbol_value(elf, int(symbols[i]))) & mask for i in absolute]
    return sites[absolute], np.array(values, np.uint64)


def _symbol_value(elf: _Elf, index: int) -> int:
    table = elf.tag(DT_SYMTAB)
    size, at = (24, 8) if elf.bits == 64 else (16, 4)
    return elf.word(table + size * index + at) if table else 0
