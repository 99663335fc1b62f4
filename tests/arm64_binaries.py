"""Go programs for arm64: their functions as gotap reads them, and as the Go toolchain disassembles them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

from gobuild import MODES, Mode, build, go_tool
from gotap.image.code.arm64 import Arm64Function
from gotap.image.containers.elf import Elf
from gotap.image.functions.pclntab import Function, Pclntab
from gotap.image.functions.tables import read_tables

#: funcFlag of functions written in assembly (internal/abi/symtab.go, Go 1.18–1.27).
_ASSEMBLY = 1 << 2
#: PCDATA_UnsafePoint (the same file).
_UNSAFE_POINT = 0


@dataclass
class Arm64Binary:
    path: Path

    @cached_property
    def elf(self) -> Elf:
        return Elf.open(self.path)

    @cached_property
    def table(self) -> Pclntab:
        tables = read_tables(self.elf)
        assert tables is not None
        return tables.pclntab

    def code(self, function: Function) -> Arm64Function:
        start = self.elf.offset_of(function.address)
        assert start is not None
        assembly = bool(self.table.function_flags[function.index] & _ASSEMBLY)
        raw = self.elf.data[start : start + function.size]
        return Arm64Function(
            raw,
            function.address,
            assembly=assembly,
            foreign=not function.file,
            unsafe_points=self.table.pcdata(function, _UNSAFE_POINT),
        )

    def named(self, name: str) -> Arm64Function:
        found = self.table.find(name)
        assert found is not None, name
        return self.code(found)

    def functions(self) -> Iterator[tuple[Function, Arm64Function]]:
        """Those with code; the linker's marks have none."""
        return ((one, self.code(one)) for one in self.table.functions() if one.size >= 4)

    def compiled(self) -> Iterator[tuple[Function, Arm64Function]]:
        """Those that Go's compiler made."""
        return ((one, code) for one, code in self.functions() if not code.assembly and not code.foreign)

    @cached_property
    def listing(self) -> dict[int, tuple[int, str]]:
        """Word and text of every instruction by address, from `go tool objdump`."""
        rows: dict[int, tuple[int, str]] = {}
        for line in go_tool("", "tool", "objdump", str(self.path)).splitlines():
            if (row := re.match(r"\s+\S+\s+0x([0-9a-f]+)\s+([0-9a-f]{8})\s+(.*)", line)) is not None:
                rows[int(row[1], 16)] = int(row[2], 16), row[3].strip()
        return rows

    def rows(self, function: Function) -> list[tuple[int, str]]:
        """Address and text of its instructions."""
        addresses = range(function.address, function.end, 4)
        return [(address, self.listing[address][1]) for address in addresses if address in self.listing]


_CROSS = (("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu, libc6-dev-arm64-cross"),)
_CGO = (("CGO_ENABLED", "1"), ("CC", "aarch64-linux-gnu-gcc"))
#: Beside those of gobuild: builds that need a C compiler for arm64, or its C library to run.
_MODES = {
    "static_cgo": Mode(("-ldflags=-linkmode=external -extldflags=-static",), _CGO, _CROSS),
    "pie": Mode(("-buildmode=pie",), _CGO, _CROSS),
    "race": Mode(("-race",), _CGO, _CROSS),
}


@functools.cache
def arm64(program: str, go: str, *flags: str, mode: str = "plain") -> Arm64Binary:
    """The program of tests/programs for linux/arm64. Raises MissingTool, BuildFailed."""
    with patch.dict(MODES, _MODES):
        return Arm64Binary(build(program, go, mode=mode, flags=flags, goarch="arm64"))
