"""Every Go image among the mappings of a process: its executable, plugins, libraries in a foreign host, JIT code."""

from __future__ import annotations

import os

from msgspec import Struct
from msgspec.structs import replace

from gotap.errors import GotapError
from gotap.image.containers.elf import Elf
from gotap.image.facts.buildinfo import read_build_info
from gotap.image.facts.reading import read_facts
from gotap.image.facts.version import read_version
from gotap.image.functions.pcheader import find_headers
from gotap.image.functions.tables import GoTables, read_tables
from gotap.process.errors import NotPermitted
from gotap.process.mapped_files import MappedFile, mapped_files, open_mapped
from gotap.process.memory import Memory
from gotap.process.modules import LoadedModule, walk_modules
from gotap.process.proc import Mapping, Process
from gotap.process.surroundings import MappedImage

#: By build mode. A program that is not /proc/PID/exe is run by a loader in its stead.
_ROLES = {"plugin": "plugin", "c-shared": "c-shared", "shared": "shared"}


class GoImages(Struct, frozen=True):
    """`plugin`: one is loaded, None when that could not be told; `evidence` for it."""

    images: tuple[MappedImage, ...]
    plugin: bool | None
    evidence: str


class _Found(Struct, frozen=True):
    """A Go file, what is shown of it, and its tables."""

    file: MappedFile
    shown: MappedImage
    tables: GoTables


def read_go_images(process: Process, root: int | None, mappings: list[Mapping], exe: tuple[int, int]) -> GoImages:
    """`exe`: device and inode of /proc/PID/exe, as stat(2) tells them."""
    found = [image for file in mapped_files(mappings) if (image := _look(process, root, file, exe)) is not None]
    images = _with_versions([one.shown for one in found])
    if not found:
        return GoImages((), False, "no Go image is mapped")
    try:
        modules = _modules(process, found)
    except NotPermitted as error:
        modules, denied = {}, str(error)
    else:
        denied = ""
    images += [_unopened(mappings, module) for module in modules.values() if not _holder(found, module)]
    jit = [image for image in images if image.role == "jit"]
    plugins = [image.path for image in images if image.role == "plugin"]
    if plugins:
        return GoImages(tuple(images), True, f"mapped: {', '.join(plugins)}")
    if not modules:
        return GoImages(tuple(images), None, denied or "no moduledata of it could be read")
    more = f", of which {len(jit)} in memory without a Go file" if jit else ""
    return GoImages(tuple(images), False, f"the chain of moduledata has {len(modules)}{more}; none is a plugin's")


def _with_versions(images: list[MappedImage]) -> list[MappedImage]:
    """Plugins of Go ≤ 1.20 do not name their version, but only load into a program of the very same."""
    version = next((image.version for image in images if image.role == "exe"), None)
    return [
        replace(image, version=version) if image.version is None and image.role in ("plugin", "shared") else image
        for image in images
    ]


def _look(process: Process, root: int | None, file: MappedFile, exe: tuple[int, int]) -> _Found | None:
    """None: not a Go image, or a file that cannot be opened. Scrambled tables are looked for in the executable alone:
    without their magic it takes too long to search all libraries of a process.
    """
    try:
        descriptor = open_mapped(process, root, file)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        is_exe = (status.st_dev, status.st_ino) == exe
        elf = Elf.open(f"/proc/self/fd/{descriptor}", file.path)
        if not is_exe and next(find_headers(elf), None) is None:
            return None
        tables = read_tables(elf)
        if tables is None:
            return None
        bias = file.bias((segment.offset, segment.vaddr, segment.filesz) for segment in elf.loads)
        role, version = _role_and_version(elf, tables, is_exe)
        return _Found(file, MappedImage(file.path, role, bias, version), tables)
    except GotapError:
        return None
    finally:
        os.close(descriptor)


def _role_and_version(elf: Elf, tables: GoTables, is_exe: bool) -> tuple[str, str | None]:
    """By the rules of the facts of files; no version where only the tables' form bounds it."""
    if is_exe:
        version = read_version(elf, read_build_info(elf), tables.module.layout)
        return "exe", version.number if version.source != "tables" else None
    go = read_facts(elf).go
    if go is None:
        return "exe", None
    return _ROLES.get(go.build_mode or "", "exe"), go.version if go.version_source != "tables" else None


def _modules(process: Process, found: list[_Found]) -> dict[int, LoadedModule]:
    """By address, of the chains of all images: libraries in a foreign host have a runtime and a chain each."""
    modules: dict[int, LoadedModule] = {}
    with Memory(process) as memory:
        for one in found:
            data, word = one.tables.module, one.tables.container.word_size
            address = data.address + (one.shown.bias or 0)
            if address not in modules:
                chain = walk_modules(memory, address, data.layout, word)
                modules.update((module.address, module) for module in chain)
    return modules


def _holder(found: list[_Found], module: LoadedModule) -> _Found | None:
    """The Go image whose mapped code the module's text is in."""
    return next((one for one in found if any(m.start <= module.text < m.end for m in one.file.code)), None)


def _unopened(mappings: list[Mapping], module: LoadedModule) -> MappedImage:
    """A module in no file that was read: a plugin whose file cannot be opened any more, or code made at run time."""
    mapping = next((mapping for mapping in mappings if mapping.start <= module.text < mapping.end), None)
    if mapping is not None and mapping.inode:
        return MappedImage(mapping.path, "plugin")
    return MappedImage(mapping.path if mapping is not None else "", "jit")
