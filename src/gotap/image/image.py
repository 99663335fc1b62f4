"""A Go executable's facts in one place, each read when it is first asked for."""

from __future__ import annotations

import os
from functools import cached_property

from msgspec.structs import replace

from gotap.image.containers.elf import Elf
from gotap.image.errors import ImageError
from gotap.image.facts.buildid import gnu_build_id, go_build_id
from gotap.image.facts.buildinfo import BuildInfo, read_build_info
from gotap.image.facts.goversion import GoVersion
from gotap.image.facts.model import WovenOperation
from gotap.image.facts.version import version_in_data
from gotap.image.facts.woven import woven_operations
from gotap.image.functions.moduledata import ModuleData
from gotap.image.functions.names import Names
from gotap.image.functions.pcheader import OLD_MAGICS, find_headers
from gotap.image.functions.pclntab import Function, Pclntab
from gotap.image.functions.tables import GoTables, read_tables, unknown_layout

_OLDEST = (1, 18)


class NotGo(ImageError):
    """The executable was not built by the Go compiler."""


class TooOld(ImageError):
    """Built by a Go before 1.18, whose calling convention and tables differ."""


class TooNew(ImageError):
    """Built by a Go whose runtime tables have a layout that is not known yet."""


class ForeignArchitecture(ImageError):
    """Built for another machine than amd64."""


class NoFunctionTable(ImageError):
    """A Go program whose function table was removed, altered or packed."""


class Image:
    """One Go executable. Addresses are unrelocated virtual addresses: add the load bias for a process."""

    def __init__(self, elf: Elf, tables: GoTables | None = None) -> None:
        """`tables`: those of this file, when they were found already.

        Raises ForeignArchitecture; what is read later raises NotGo, TooOld, TooNew or NoFunctionTable as well.
        """
        self.elf = elf
        self._found = tables
        if elf.arch != "amd64" or elf.bits != 64:
            raise ForeignArchitecture(
                f"{elf.name} is built for {elf.arch}; gotap observes amd64 programs", "build with GOARCH=amd64"
            )

    @classmethod
    def open(cls, path: str | os.PathLike[str], name: str = "") -> Image:
        """Opens an executable that must be Go's; `name` is for messages. Raises ImageError or this module's errors."""
        image = cls(Elf.open(path, name))
        _ = image.moduledata, image.go_version
        image.elf.check_unchanged()
        return image

    # -- Go's tables --------------------------------------------------------------------------------------------

    @cached_property
    def tables(self) -> GoTables:
        """Go's runtime tables. Raises NotGo, TooOld, TooNew or NoFunctionTable."""
        found = self._found or read_tables(self.elf)
        if found is None or found.is_obfuscated or found.header.magic in OLD_MAGICS:
            raise self._why_not()
        return found

    def _why_not(self) -> ImageError:
        name, text = self.elf.name, self.build_info.version_text if self.build_info else ""
        if unknown_layout(self.elf):
            return TooNew(
                f"{name} has Go runtime tables of an unknown layout ({text or 'no version in it'})", "update gotap"
            )
        version = GoVersion.parse(text)
        old = [OLD_MAGICS[header.magic] for header in find_headers(self.elf) if header.magic in OLD_MAGICS]
        if (version is not None and not version.at_least(*_OLDEST)) or (version is None and old):
            return _too_old(name, text or f"Go {old[0]}")
        if text or self.go_build_id:
            return NoFunctionTable(
                f"{name} is a Go program{f' ({text})' if text else ''}, but its function table was removed or altered",
                "build it without obfuscation (garble)",
            )
        if b"UPX!" in self.elf.data[:4096]:
            return NoFunctionTable(f"{name} is packed by UPX, so its code is not in the file", "run `upx -d` on it")
        if any(library.startswith("libgo.so") for library in self.elf.needed):
            return NotGo(f"{name} is built by gccgo, which has neither Go's ABI nor its tables", "build it with `go`")
        return NotGo(f"{name} is not a Go program: it has no Go function table", "name a program built with `go build`")

    @property
    def moduledata(self) -> ModuleData:
        return self.tables.module

    @property
    def pclntab(self) -> Pclntab:
        return self.tables.pclntab

    @cached_property
    def build_info(self) -> BuildInfo | None:
        """None when it was removed."""
        return read_build_info(self.elf)

    @cached_property
    def go_version(self) -> GoVersion:
        """From build info, else from the texts in the data that fit the tables, else the first of the tables' layout.

        Raises TooOld.
        """
        info, layout = self.build_info, self.moduledata.layout
        version = GoVersion.parse(info.version_text) if info else None
        if info is not None and version is not None:
            if not version.at_least(*_OLDEST):
                raise _too_old(self.elf.name, info.version_text)
            experiments = tuple(filter(None, info.settings.get("GOEXPERIMENT", "").split(",")))
            return version if version.experiments else replace(version, experiments=experiments)
        return version_in_data(self.elf, layout) or GoVersion(*layout)

    @cached_property
    def woven_operations(self) -> tuple[WovenOperation, ...]:
        """What `gotap go build` has woven in; empty for a program that is not woven."""
        return woven_operations(Names(self.pclntab.name_table))

    def code(self, function: Function) -> bytes:
        """The function's machine code, with the padding behind it."""
        return self.elf.read(function.address, function.size)

    # -- identity and what was stripped -------------------------------------------------------------------------

    @cached_property
    def go_build_id(self) -> str:
        """Go's build ID, empty when linked with -buildid= ."""
        return go_build_id(self.elf)

    @cached_property
    def gnu_build_id(self) -> str:
        """The GNU build ID in hex; empty when there is none."""
        return gnu_build_id(self.elf)

    @property
    def build_id(self) -> str:
        """What identifies these bytes best: Go's build ID, else GNU's, else empty."""
        return self.go_build_id or self.gnu_build_id

    @property
    def is_stripped(self) -> bool:
        """Without symbol table. DWARF is another matter: see `has_dwarf`."""
        return not self.elf.has_symtab

    @property
    def has_dwarf(self) -> bool:
        return self.elf.has_dwarf


def _too_old(name: str, what: str) -> TooOld:
    return TooOld(f"{name} is built by {what}; gotap reads Go 1.18 and later", "build it with a newer Go")
