"""Where a binary's types come from: DWARF, its runtime type metadata, declarations; best first."""

from __future__ import annotations

from gotap.image.declared import DeclaredTypes
from gotap.image.dwarf import DwarfTypes
from gotap.image.gotypes import LayeredTypes, TypeSource
from gotap.image.image import Image
from gotap.image.rtype import RuntimeTypes
from gotap.probe.catalogue import Runtime
from gotap.probe.typing import Types


def types_of(image: Image, runtime: Runtime) -> Types:
    """The types of one binary; stripped binaries do without the first source, and need no database of offsets."""
    runtime_types = RuntimeTypes(image.elf, image.moduledata, image.go_version)
    sources: list[TypeSource] = [DwarfTypes(image.elf, image.moduledata.types)] if image.has_dwarf else []
    sources.append(runtime_types)
    sources.append(DeclaredTypes(runtime.declarations, image.go_version, LayeredTypes(list(sources))))
    return Types(LayeredTypes(sources), runtime_types)
