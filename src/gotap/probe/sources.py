"""Where a binary's types come from: its runtime type metadata, DWARF, declarations; the cheapest first.

Where two of them know a type they agree (tests/probe/test_sources.py), so the order is one of cost: metadata is found
by an index, DWARF must be decompressed and searched, which takes a large program's start most of a second.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gotap.image.errors import ImageError
from gotap.image.image import Image
from gotap.image.types.declared import DeclaredTypes
from gotap.image.types.gotypes import LayeredTypes, Type, TypeSource
from gotap.image.types.rtype import RuntimeTypes
from gotap.probe.catalogue import Runtime
from gotap.probe.typing import Types

if TYPE_CHECKING:
    from gotap.image.types.dwarf import DwarfTypes


class _Dwarf:
    """An image's DWARF, neither loaded nor read before it is asked."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def lookup(self, name: str) -> Type | None:
        try:
            return self._types.lookup(name)
        except ImageError:  # compressed in an unknown way, cut off, or more than is read: as if there were none
            return None

    @cached_property
    def _types(self) -> DwarfTypes:
        from gotap.image.types.dwarf import DwarfTypes

        return DwarfTypes(self._image.elf, self._image.moduledata.types)


def types_of(image: Image, runtime: Runtime) -> Types:
    """The types of one binary; stripped binaries do without DWARF, and need no database of offsets."""
    runtime_types = RuntimeTypes(image.elf, image.moduledata, image.go_version)
    sources: list[TypeSource] = [runtime_types, *([_Dwarf(image)] if image.has_dwarf else [])]
    sources.append(DeclaredTypes(runtime.declarations, image.go_version, LayeredTypes(list(sources))))
    return Types(LayeredTypes(sources), runtime_types)
