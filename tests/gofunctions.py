"""Functions of real Go binaries for the tests of machine code: the symbol table by `nm`, bytes by pyelftools."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

from gotap.image.code import Callees, FunctionCode


@dataclass
class GoBinary:
    path: Path
    _functions: dict[str, FunctionCode] = field(default_factory=dict)

    @cached_property
    def symbols(self) -> dict[str, tuple[int, int]]:
        """Address and size by name, of the functions in the symbol table."""
        listing = subprocess.run(["nm", "-S", str(self.path)], check=True, capture_output=True, text=True).stdout
        symbols: dict[str, tuple[int, int]] = {}
        for line in listing.splitlines():
            words = line.split(maxsplit=3)
            if len(words) == 4 and words[2] in "tT":
                symbols[words[3]] = (int(words[0], 16), int(words[1], 16))
        return symbols

    @cached_property
    def _segments(self) -> list[tuple[int, bytes]]:
        with self.path.open("rb") as file:
            elf = ELFFile(file)
            return [(part["p_vaddr"], part.data()) for part in elf.iter_segments() if part["p_type"] == "PT_LOAD"]

    @cached_property
    def _relocations(self) -> dict[int, int]:
        """Addends of relative relocations by address: the content of words in PIE files."""
        with self.path.open("rb") as file:
            tables = [part for part in ELFFile(file).iter_sections() if isinstance(part, RelocationSection)]
            return {r["r_offset"]: r["r_addend"] for part in tables for r in part.iter_relocations() if part.is_RELA()}

    def read(self, address: int, size: int) -> bytes | None:
        if size == 8 and address in self._relocations:
            return self._relocations[address].to_bytes(8, "little")
        for start, data in self._segments:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        return None

    @cached_property
    def callees(self) -> Callees:
        return Callees.of((name, address) for name, (address, _) in self.symbols.items())

    def function(self, name: str) -> FunctionCode:
        if name not in self._functions:
            address, size = self.symbols[name]
            code = self.read(address, size)
            assert code is not None
            self._functions[name] = FunctionCode(code, address, callees=self.callees, read=self.read)
        return self._functions[name]

    def address(self, name: str) -> int:
        return self.symbols[name][0]
