"""Every Go image among the mappings of a process: its executable, plugins, libraries in a foreign host, JIT code."""

from __future__ import annotations

import os

from msgspec import Struct

from gotap.errors import GotapError
from gotap.image.elf import Elf
from gotap.image.goversion import GoVersion, Stage
from gotap.image.image import Image
from gotap.image.pclntab import find_headers
from gotap.process.errors import NotPermitted
from gotap.process.mapped_files import MappedFile, mapped_files, open_mapped
from gotap.process.memory import Memory
from gotap.process.modules import LoadedModule, walk_modules
from gotap.process.proc import Mapping, Process
from gotap.process.surroundings import MappedImage

#: ELF_NOTE_GOPKGLIST_TAG, cmd/link/internal/ld/elf.go: the packages in a library of `-buildmode=shared`.
_NT_GO_PACKAGES = 1


class GoImages(Struct, frozen=True):
    """`plugin`: one is loaded, None when that could not be told; `evidence` for it."""

    images: tuple[MappedImage, ...]
    plugin: bool | None
    evidence: str


class _Found(Struct, frozen=True):
    """`image` None: a Go image that cannot be read further (obfuscated, too old, of a foreign machine)."""

    file: MappedFile
    shown: MappedImage
    image: Image | None


def read_go_images(process: Process, root: int | None, mappings: list[Mapping], exe: tuple[int, int]) -> GoImages:
    """`exe`: device and inode of /proc/PID/exe, as stat(2) tells them."""
    found = [image for file in mapped_files(mappings) if (image := _look(process, root, file, exe)) is not None]
    images = [one.shown for one in found]
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


def _look(process: Process, root: int | None, file: MappedFile, exe: tuple[int, int]) -> _Found | None:
    """None: not a Go image, or a file that cannot be opened."""
    try:
        descriptor = open_mapped(process, root, file)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        elf = Elf.open(f"/proc/self/fd/{descriptor}", file.path)
        if next(find_headers(elf), None) is None:
            return None
        bias = file.bias((segment.offset, segment.vaddr, segment.filesz) for segment in elf.loads)
        image, version = _image(elf)
        role = "exe" if (status.st_dev, status.st_ino) == exe else _role(elf, image)
        return _Found(file, MappedImage(file.path, role, bias, version), image)
    except GotapError:
        return None
    finally:
        os.close(descriptor)


def _image(elf: Elf) -> tuple[Image | None, str | None]:
    try:
        image = Image(elf)
        _ = image.moduledata
        return image, _number(image.go_version)
    except GotapError:
        return None, None


def _number(version: GoVersion) -> str:
    """The release number alone, as GoFacts.version has it; without a patch for those of which only that is known."""
    patch = {Stage.BETA: f"beta{version.patch}", Stage.RC: f"rc{version.patch}", Stage.DEVEL: "-devel"}
    plain = f".{version.patch}" if version.patch else ""
    return f"{version.major}.{version.minor}{patch.get(version.stage, plain)}"


def _role(elf: Elf, image: Image | None) -> str:
    """What a Go file is that is not /proc/PID/exe: a program that a loader runs in its stead is "exe" too."""
    if elf.interpreter is not None or elf.is_pie or elf.entry:
        return "exe"
    if any((note.owner, note.type) == (b"Go", _NT_GO_PACKAGES) for note in elf.notes()):
        return "shared"
    if image is not None and not any(f.name.endswith("_lib") for f in image.pclntab.find_prefix("_rt0_")):
        return "plugin"
    return "c-shared"


def _modules(process: Process, found: list[_Found]) -> dict[int, LoadedModule]:
    """By address, of the chains of all images: libraries in a foreign host have a runtime and a chain each."""
    modules: dict[int, LoadedModule] = {}
    with Memory(process) as memory:
        for one in found:
            if one.image is None or one.shown.bias is None:
                continue
            data = one.image.moduledata
            address = data.address + one.shown.bias
            if address not in modules:
                modules.update((module.address, module) for module in walk_modules(memory, address, data.layout))
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
