"""moduledata against the linker's own symbols, which the unstripped builds of the same sources still have."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from gobuild import OLDEST, build, every_mode, every_version
from gotap.image.containers.elf import Elf
from gotap.image.functions.moduledata import ModuleData, find_moduledata, points_at_table
from gotap.image.functions.pcheader import find_headers


def symbols(path: Path) -> dict[str, int]:
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        return {symbol.name: symbol["st_value"] for symbol in table.iter_symbols() if symbol.name}


def read(elf: Elf) -> ModuleData:
    modules = [find_moduledata(elf, header) for header in find_headers(elf)]
    found = [module for module in modules if module is not None]
    assert len(found) == 1
    return found[0]


def check(module: ModuleData, names: dict[str, int]) -> None:
    assert module.address == names["runtime.firstmoduledata"]
    assert (module.text, module.etext) == (names["runtime.text"], names["runtime.etext"])
    assert (module.types, module.etypes) == (names["runtime.types"], names["runtime.etypes"])
    assert module.rodata == names["runtime.rodata"]
    assert module.gofunc == (names.get("go:func.*") or names["go.func.*"])
    assert module.epclntab == (names["runtime.epclntab"] if module.layout >= (1, 26) else 0)
    if "runtime.typelink" in names:
        assert (module.typelinks[0], module.itablinks[0]) == (names["runtime.typelink"], names["runtime.itablink"])


def check_links(module: ModuleData, path: Path) -> None:
    """typelinks and itablinks fill sections of their own."""
    with path.open("rb") as file:
        sizes = {s.name.removeprefix(".data.rel.ro"): s["sh_size"] for s in ELFFile(file).iter_sections()}
    assert module.typelinks[1] == sizes.get(".typelink", 0) // 4
    assert module.itablinks[1] == sizes.get(".itablink", 0) // 8


def check_itabs(elf: Elf, module: ModuleData) -> None:
    """Go 1.27: itabs end the types; the first two words of each are descriptors (internal/abi/iface.go, ITab)."""
    assert module.types + module.itaboffset + module.itabsize == module.etypes
    first = module.types + module.itaboffset
    for word in elf.pointers(first, 2).tolist():
        assert module.types <= word < first


@pytest.mark.parametrize("go", every_version())
def test_fields_are_where_the_linker_put_them(go: str) -> None:
    path = build("hello", go)
    names = symbols(path)
    module = read(Elf.open(path))
    check(module, names)
    minor = int(go.split(".")[1])
    assert module.layout == ((1, 18) if minor < 20 else (1, 20) if minor < 26 else (1, minor))
    if minor >= 27:
        check_itabs(Elf.open(path), module)
    else:
        check_links(module, path)


@pytest.mark.parametrize("mode", every_mode())
@pytest.mark.parametrize("go", every_version())
def test_in_every_mode(go: str, mode: str) -> None:
    program = "vendored" if mode == "vendored" else "hello"
    elf = Elf.open(build(program, go, mode=mode))
    module = read(elf)
    if elf.has_symtab:
        check(module, symbols(build(program, go, mode=mode)))


@pytest.mark.parametrize("go", every_version())
def test_found_without_section_table_in_a_stripped_pie(go: str) -> None:
    path = build("hello", go, mode="pie_stripped")
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, 40, 0)
    struct.pack_into("<HHH", content, 58, 0, 0, 0)
    assert read(Elf(content)) == read(Elf.open(path))


def test_an_unknown_layout_is_seen_as_such() -> None:
    path = build("hello", OLDEST)
    elf = Elf.open(path)
    module = read(elf)
    offset = elf.offset_of(module.address)
    assert offset is not None
    content = bytearray(path.read_bytes())
    content[offset + 24 * 8 : offset + 52 * 8] = content[offset + 25 * 8 : offset + 53 * 8]  # a field less
    damaged = Elf(content)
    (header,) = find_headers(damaged)
    assert find_moduledata(damaged, header) is None
    assert points_at_table(damaged, header)
