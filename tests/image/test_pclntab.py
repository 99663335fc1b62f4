"""The function table against `nm`, `go tool addr2line` and DWARF."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from gobuild import NEWEST, OLDEST, build, every_mode, every_version, go_tool
from gotap.errors import GotapError
from gotap.image.containers.elf import Elf
from gotap.image.functions.pcheader import find_headers
from gotap.image.functions.pclntab import Pclntab
from gotap.image.image import Image


def table(path: Path) -> Pclntab:
    return Image.open(path).pclntab


def text_symbols(path: Path) -> Iterator[tuple[str, int]]:
    """Functions of the symbol table, as pyelftools reads it."""
    with path.open("rb") as file:
        symtab = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(symtab, SymbolTableSection)
        for symbol in symtab.iter_symbols():
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF":
                yield symbol.name, symbol["st_value"]


def as_in_the_table(symbol: str, go: str) -> str:
    """The table's name for a symbol: no ABI suffix, and up to Go 1.20 `[...]` for what is in brackets."""
    name = re.sub(r"\.abi(0|internal)$", "", symbol)
    start, end = name.find("["), name.rfind("]")
    shortened = 0 <= start < end and int(go.split(".")[1]) <= 20
    return f"{name[:start]}[...]{name[end + 1 :]}" if shortened else name


@pytest.mark.parametrize("go", every_version())
@pytest.mark.parametrize("mode", ["plain", "pie"])
def test_functions_are_those_of_the_symbol_table(go: str, mode: str) -> None:
    path = build("hello", go, mode=mode)
    functions = table(path)
    # cmd/link/internal/ld/symtab.go: ELF symbols have a full stop for the middle dot in the names of local types.
    names = [name.replace("·", ".") for name in functions.names]
    by_address = dict(zip(functions.addresses.tolist(), names, strict=True))
    go_symbols = {
        address: as_in_the_table(name, go)
        for name, address in text_symbols(path)
        if name not in ("runtime.text", "runtime.etext", "go:buildid", "go.buildid")
    }
    differing = {hex(at): (by_address.get(at), name) for at, name in go_symbols.items() if by_address.get(at) != name}
    assert not differing
    assert len(functions) >= len(go_symbols) > 1000


@pytest.mark.parametrize("go", every_version())
def test_stripping_changes_nothing(go: str) -> None:
    plain, stripped = (table(build("hello", go, mode=mode)) for mode in ("plain", "stripped"))
    assert plain.names == stripped.names
    assert np.array_equal(plain.addresses, stripped.addresses)


@pytest.mark.parametrize("mode", every_mode())
@pytest.mark.parametrize("go", every_version())
def test_every_mode_has_main(go: str, mode: str) -> None:
    path = build("vendored" if mode == "vendored" else "hello", go, mode=mode)
    image = Image.open(path)
    main = image.pclntab.find("main.main")
    assert main is not None
    assert image.pclntab.function_at(main.address + 1) == main
    assert main.file.endswith("main.go")
    if image.elf.has_symtab:
        assert image.elf.symbols()["main.main"][0] == main.address


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_lines_as_addr2line_gives_them(go: str) -> None:
    path = build("hello", go)
    functions = table(path)
    chance = random.Random(7)
    pcs = [f.address + offset for f in functions.find_prefix("main.") for offset in range(0, f.size, 3)]
    pcs += [chance.randrange(int(functions.addresses[0]), int(functions.addresses[-1])) for _ in range(300)]
    answers = go_tool(go, "tool", "addr2line", str(path), stdin="".join(f"{pc:#x}\n" for pc in pcs)).splitlines()
    compared = 0
    for pc, name, position in zip(pcs, answers[0::2], answers[1::2], strict=True):
        file, _, line = position.rpartition(":")
        found = functions.line(pc)
        if name == "?" or found is None:
            continue
        function = functions.function_at(pc)
        assert function is not None
        assert (function.name, *found) == (as_in_the_table(name, go), file, int(line)), hex(pc)
        compared += 1
    assert compared > len(pcs) // 2


@pytest.mark.parametrize("go", every_version())
def test_where_functions_begin(go: str) -> None:
    source = (Path(__file__).parents[1] / "programs/hello/main.go").read_text().splitlines()
    functions = table(build("hello", go))
    for name, declaration in (("main.compute", "func compute("), ("main.descend", "func descend(")):
        function = functions.find(name)
        assert function is not None
        declared = next(i for i, text in enumerate(source, 1) if text.startswith(declaration))
        # Before 1.20 only the first instruction's line is known: of the first statement where there is no stack check.
        assert function.line - declared in ((0, 1) if int(go.split(".")[1]) < 20 else (0,))
        assert function.file.endswith("/programs/hello/main.go")


@pytest.mark.parametrize("go", every_version())
def test_one_name_of_several_functions(go: str) -> None:
    path = build("hello", go)
    functions = table(path)
    instances = [address for name, address in text_symbols(path) if name.startswith("main.apply[")]
    found = functions.find_all("main.apply[...]")
    assert [f.address for f in found] == sorted(instances)
    assert len(found) == 2
    assert functions.find("main.apply[...]") == found[0]
    assert len(functions.find_all("main.(*stack[...]).push")) == 2
    assert functions.find("main.apply") is None
    assert functions.find_all("main.") == []
    assert functions.find_prefix("main.app") == functions.find_prefix("main.apply[...]") == found
    assert functions.find_all("main.appl[...]") == functions.find_all("main.apply[...]x") == []


def test_bodies_come_before_abi_wrappers() -> None:
    functions = table(build("hello"))
    both = [f for f in functions.functions() if f.name == "runtime.memequal"]
    (found,) = functions.find_all("runtime.memequal")
    assert found.file.endswith(".s")
    assert found in both
    assert not found.is_autogenerated
    assert all(function.is_autogenerated for function in functions.find_prefix("type:.eq."))


@pytest.mark.parametrize("go", every_version())
def test_stack_depths_follow_the_frame(go: str) -> None:
    """At the entry SP has not moved; after `sub $N,%rsp` the table says N plus the saved frame pointer."""
    path = build("hello", go)
    image = Image.open(path)
    descend = image.pclntab.find("main.descend")
    assert descend is not None
    depths = image.pclntab.stack_depths(descend)
    assert depths[0][2] == 0
    code = image.code(descend)
    subtraction = re.search(rb"\x48\x81\xec(....)", code, re.DOTALL)  # sub $imm32,%rsp
    assert subtraction is not None
    (frame,) = struct.unpack("<I", subtraction[1])
    assert max(value for _, _, value in depths) in (frame, frame + 8)


def test_function_at_the_edges() -> None:
    functions = table(build("hello"))
    first, last = int(functions.addresses[0]), functions.function(len(functions) - 1)
    assert functions.function_at(first - 1) is None
    assert functions.function_at(0) is None
    assert functions.function_at(last.end - 1) == last
    assert functions.function_at(last.end) is None
    assert functions.function_at(1 << 63) is None


def test_constants_that_look_like_a_header_are_passed_over() -> None:
    """The linker and debuggers hold the magics as constants."""
    path = Path(go_tool("", "env", "GOTOOLDIR").strip()) / "link"
    if not path.exists():
        pytest.skip("this Go has no link tool as a file")
    assert len([h for h in find_headers(Elf.open(path)) if h.nfunc]) == 1


def test_damaged_tables_raise_our_errors_only() -> None:
    path = build("hello", mode="stripped")
    image = Image.open(path)
    elf, header = image.elf, image.pclntab.header
    start = elf.offset_of(header.address)
    assert start is not None
    content, chance = path.read_bytes(), random.Random(3)
    for _ in range(60):
        damaged = bytearray(content)
        part = start + chance.choice((0, header.cu, header.filetab, header.pctab, header.pcln))
        for _ in range(200):
            damaged[part + chance.randrange(20_000)] = chance.randrange(256)
        try:
            broken = Image(Elf(bytes(damaged))).pclntab
            _ = broken.names, broken.find("main.main"), broken.where_inlined("main.doubled")
            for index in range(0, len(broken), 50):
                function = broken.function(index)
                _ = broken.line(function.address), broken.inlined_calls(function), broken.stack_depths(function)
        except GotapError:
            pass
