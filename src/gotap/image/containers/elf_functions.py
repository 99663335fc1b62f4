"""Functions that ELF symbol tables name, with their versions: what a C program or library lets itself be probed at.

Sources: System V gABI chapters 4 and 5; symbol versions: Linux Standard Base, "Symbol Versioning" (.gnu.version,
.gnu.version_d); STT_GNU_IFUNC: GNU's extension of the gABI.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.image.containers.elf import Elf
from gotap.image.containers.elf_sections import MAX_SYMBOLS

_SYMBOL = np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"),
                    ("size", "<u8")])  # fmt: skip
_NOTYPE, _FUNC, _GNU_IFUNC = 0, 2, 10
_UNDEFINED, _FIRST_RESERVED = 0, 0xFF00
#: Version numbers 0 (local) and 1 (global) have no name; the top bit hides a version that is not the default.
_FIRST_NAMED, _HIDDEN = 2, 0x8000
_MAX_VERSIONS = 1 << 12
_MAX_NAME = 1 << 12


class CFunction(Struct, frozen=True):
    """`address` is unrelocated; 0 where the file only refers to the function (`defined` False).

    `version` is empty where symbols have none; `default`: what programs that are linked now get by the bare name.
    `indirect`: at `address` is the code that chooses an implementation when the file is loaded, not the function.
    """

    name: str
    version: str
    default: bool
    address: int
    size: int
    defined: bool
    indirect: bool


def c_functions(elf: Elf) -> list[CFunction]:
    """Those of the dynamic symbol table, then of the other one; little-endian 64-bit files only, none of the others.

    Raises TruncatedFile, MalformedFile.
    """
    if elf.bits != 64 or elf.big_endian:
        return []
    versions = _version_names(elf)
    return [*_functions(elf, ".dynsym", ".dynstr", _versions_of(elf), versions), *_functions(elf, ".symtab", ".strtab")]


def _functions(
    elf: Elf,
    table: str,
    strings: str,
    numbers: NDArray[np.uint16] | None = None,
    versions: dict[int, str] | None = None,
) -> Iterator[CFunction]:
    content, names = elf.section_data(table), elf.section_data(strings)
    if content is None or names is None:
        return
    rows = np.frombuffer(content[: len(content) // _SYMBOL.itemsize * _SYMBOL.itemsize], _SYMBOL)[:MAX_SYMBOLS]
    kinds = rows["info"] & 15
    sections = rows["section"]
    wanted = (kinds == _FUNC) | (kinds == _GNU_IFUNC) | ((kinds == _NOTYPE) & (rows["value"] != 0))
    wanted &= (rows["name"] != 0) & (sections < _FIRST_RESERVED)
    left = 8 * len(names) + (1 << 16)  # names may share their ends, which a hostile table could unfold to gigabytes
    for index in np.flatnonzero(wanted).tolist():
        row = rows[index]
        at = int(row["name"])
        end = names.find(b"\0", at, at + _MAX_NAME)
        if end <= at:
            continue
        left -= end - at
        if left < 0:
            return
        name, _, version = names[at:end].decode("utf-8", "replace").partition("@")  # linkers write them into .symtab
        default = not version or version.startswith("@")
        if numbers is not None and index < len(numbers) and versions is not None:
            number = int(numbers[index])
            version, default = versions.get(number & ~_HIDDEN, ""), not number & _HIDDEN
        defined = int(row["section"]) != _UNDEFINED
        address = int(row["value"]) if defined else 0
        indirect = int(kinds[index]) == _GNU_IFUNC
        yield CFunction(name, version.lstrip("@"), default, address, int(row["size"]), defined, indirect)


def _versions_of(elf: Elf) -> NDArray[np.uint16] | None:
    """The version's number of each dynamic symbol."""
    content = elf.section_data(".gnu.version")
    return None if content is None else np.frombuffer(content[: len(content) // 2 * 2], "<u2")


def _version_names(elf: Elf) -> dict[int, str]:
    """Number → name of the versions that the file defines (Elf64_Verdef, its first Elf64_Verdaux)."""
    content, strings = elf.section_data(".gnu.version_d"), elf.section_data(".dynstr")
    if content is None or strings is None:
        return {}
    found: dict[int, str] = {}
    at = 0
    for _ in range(_MAX_VERSIONS):
        if at + 20 > len(content):
            break
        _, _, number, count, _, names_at, following = struct.unpack_from("<HHHHIII", content, at)
        if count and at + names_at + 4 <= len(content) and number >= _FIRST_NAMED:
            (name_at,) = struct.unpack_from("<I", content, at + names_at)
            end = strings.find(b"\0", name_at, name_at + _MAX_NAME)
            found[number] = strings[name_at : max(end, name_at)].decode("utf-8", "replace")
        if not following:
            break
        at += following
    return found
