"""Elf against pyelftools on real files, and against files that are not what they claim."""

from __future__ import annotations

import mmap
import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import InterpSegment

from gobuild import OLDEST, MissingTool, build
from gotap.errors import GotapError
from gotap.image.containers.elf import Elf, NotElf
from gotap.image.containers.memory import PT_LOAD
from gotap.image.errors import BadAddress, MalformedFile, NotExecutable, TruncatedFile, UnreadableFile


@pytest.fixture(scope="module", params=["plain", "pie", "external", "pie_stripped"])
def executable(request: pytest.FixtureRequest) -> Path:
    return build("hello", mode=request.param)


def compile_c(source: str, output: Path, *flags: str) -> Path:
    try:
        done = subprocess.run(
            ["gcc", "-x", "c", "-", "-o", str(output), *flags], input=source, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise MissingTool("gcc is not installed") from None
    if done.returncode:
        pytest.skip(f"gcc cannot link with {' '.join(flags)}: {done.stderr[:200]}")
    return output


def test_headers_as_pyelftools_reads_them(executable: Path) -> None:
    elf = Elf.open(executable)
    with executable.open("rb") as file:
        oracle = ELFFile(file)
        assert (elf.arch, elf.machine, elf.entry) == ("amd64", 62, oracle["e_entry"])
        headers = [segment.header for segment in oracle.iter_segments()]
        assert [(s.flags, s.offset, s.vaddr, s.filesz, s.memsz) for s in elf.segments] == [
            (h["p_flags"], h["p_offset"], h["p_vaddr"], h["p_filesz"], h["p_memsz"]) for h in headers
        ]
        sections = {s.name: (s["sh_addr"], s["sh_offset"], s["sh_size"]) for s in oracle.iter_sections() if s.name}
        assert {s.name: (s.vaddr, s.offset, s.size) for s in elf.sections.values()} == sections
        interpreter = next((s.get_interp_name() for s in oracle.iter_segments() if isinstance(s, InterpSegment)), None)
        assert elf.interpreter == interpreter
        dynamic = oracle.get_section_by_name(".dynamic")
        tags = dynamic.iter_tags("DT_NEEDED") if isinstance(dynamic, DynamicSection) else []
        needed = [tag.needed for tag in tags]  # type: ignore[attr-defined]
        assert list(elf.needed) == needed


def test_section_data_is_decompressed(executable: Path) -> None:
    elf = Elf.open(executable)
    with executable.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if section.name and section["sh_type"] != "SHT_NOBITS" and section["sh_type"] != "SHT_NULL":
                assert elf.section_data(section.name) == section.data(), section.name
    assert elf.section_data(".bss") is None
    assert elf.section_data(".no_such_section") is None


def test_symbols_as_pyelftools_reads_them() -> None:
    path = build("hello")
    found = Elf.open(path).symbols()
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        expected: dict[str, tuple[int, int]] = {}
        for symbol in table.iter_symbols():
            if symbol.name and symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["type"] != "STT_FILE":
                expected.setdefault(symbol.name, (symbol["st_value"], symbol["st_size"]))
    assert found == expected
    assert "main.compute" in found
    assert Elf.open(build("hello", mode="stripped")).symbols() == {}


def test_pointers_have_relocations_applied() -> None:
    path = build("hello", mode="pie")
    elf = Elf.open(path)
    with path.open("rb") as file:
        relocations = [
            r
            for section in ELFFile(file).iter_sections()
            if isinstance(section, RelocationSection)
            for r in section.iter_relocations()
            if r["r_info_type"] == 8
        ]
    assert len(relocations) > 1000
    for relocation in relocations[::97]:
        assert elf.pointer(relocation["r_offset"]) == relocation["r_addend"]
    first = relocations[0]
    assert int(elf.pointers(first["r_offset"], 1)[0]) == first["r_addend"]
    assert first["r_offset"] in list(elf.words_pointing_at(first["r_addend"]))


def test_pointers_of_relr_stand_in_the_words(tmp_path: Path) -> None:
    source = "int x; int *table[4] = {&x, &x, &x, &x}; int main(void) { return *table[0]; }"
    path = compile_c(source, tmp_path / "relr", "-pie", "-fPIE", "-Wl,-z,pack-relative-relocs")
    elf = Elf.open(path)
    symbols = elf.symbols()
    assert 36 in elf.dynamic  # DT_RELR
    assert [int(word) for word in elf.pointers(symbols["table"][0], 4)] == [symbols["x"][0]] * 4


def test_reads_end_where_the_segment_ends() -> None:
    elf = Elf.open(build("hello"))
    bss = elf.sections[".bss"]
    assert elf.read(bss.vaddr + bss.size // 2, 16) == bytes(16)
    assert elf.offset_of(bss.vaddr + bss.size - 8) is None
    text = elf.sections[".text"]
    assert elf.offset_of(text.vaddr) == text.offset
    assert elf.address_of(text.offset) == text.vaddr
    for address, size in ((0, 8), (1 << 63, 8), (text.vaddr, 1 << 40), (text.vaddr, -1), (-8, 8)):
        with pytest.raises(BadAddress):
            elf.read(address, size)


def test_load_base_is_the_lowest_page(executable: Path) -> None:
    with executable.open("rb") as file:
        lowest = min(s["p_vaddr"] for s in ELFFile(file).iter_segments("PT_LOAD"))
    assert Elf.open(executable).load_base() == lowest // 4096 * 4096


def test_pie_and_shared_library_are_told_apart(tmp_path: Path) -> None:
    library = compile_c("int f(void) { return 1; }", tmp_path / "f.so", "-shared", "-fPIC")
    static_pie = compile_c("int main(void) { return 0; }", tmp_path / "static", "-static-pie")
    assert not Elf.open(library).is_pie
    assert Elf.open(static_pie).is_pie
    assert Elf.open(build("hello", mode="pie")).is_pie
    assert not Elf.open(build("hello")).is_pie


def test_foreign_machines_are_named() -> None:
    elf = bytearray(build("hello").read_bytes()[:64])
    for machine, name in ((183, "arm64"), (243, "riscv64"), (21, "ppc64le"), (999, "machine 999")):
        struct.pack_into("<HH", elf, 16, 2, machine)
        struct.pack_into("<H", elf, 56, 0)  # no program headers
        assert Elf(elf).arch == name
    header = struct.pack(">16sHHIIIIIHHHHHH", b"\x7fELF\1\2\1", 2, 8, 1, 0x1000, 52, 0, 0, 52, 32, 0, 40, 0, 0)
    assert (Elf(header).arch, Elf(header).entry, Elf(header).segments) == ("mips", 0x1000, ())


def test_no_section_table_leaves_all_but_sections() -> None:
    content = bytearray(build("hello").read_bytes())
    struct.pack_into("<Q", content, 40, 0)
    struct.pack_into("<HHH", content, 58, 0, 0, 0)
    elf = Elf(content)
    assert elf.sections == {}
    assert elf.section_data(".text") is None
    assert elf.symbols() == {}
    assert elf.read(elf.entry, 4)


@pytest.mark.parametrize("bad", [b"", b"\x7fEL", b"#!/bin/sh\n", b"MZ" + bytes(200)])
def test_not_elf(bad: bytes, tmp_path: Path) -> None:
    with pytest.raises(NotElf) as caught:
        Elf(bad)
    assert caught.value.remedy
    (tmp_path / "file").write_bytes(bad)
    with pytest.raises(NotExecutable):
        Elf.open(tmp_path / "file")


def test_unreadable_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(UnreadableFile) as caught:
            Elf.open(path)
        assert str(path) in str(caught.value)


def test_every_truncation_is_told_or_survived() -> None:
    content = build("hello").read_bytes()
    loaded = max(s.offset + s.filesz for s in Elf(content).segments if s.type == PT_LOAD)
    for size in (17, 63, 64, 100, 0x1000, loaded // 2, loaded - 1):
        with pytest.raises(TruncatedFile, match="cut off"):
            Elf(content[:size])
    # What lies behind the segments may be missing, names of sections included.
    assert Elf(content[: loaded + 16]).symbols() == {}


def test_flipped_bytes_never_raise_anything_else() -> None:
    content = build("hello", mode="pie").read_bytes()
    section_table = struct.unpack_from("<Q", content, 40)[0]
    chance = random.Random(1)
    for _ in range(150):
        damaged = bytearray(content)
        start = chance.choice((0, 64, section_table))
        for _ in range(chance.randint(1, 12)):
            damaged[start + chance.randrange(16 if start == 0 else 0, 600)] = chance.randrange(256)
        try:
            elf = Elf(bytes(damaged))
            _ = elf.interpreter, elf.needed, elf.is_pie, elf.sections, elf.symbols(), list(elf.notes()), elf.load_base()
            _ = elf.pointer(elf.entry), elf.section_data(".debug_info"), elf.cstring(elf.entry)
        except GotapError:
            pass


def with_section(content: bytes, size: int) -> Elf:
    """An ELF file with a compressed section .debug_info that claims to have `size` bytes."""
    names = b"\0.debug_info\0.names\0"
    body = 64 + len(names) + len(content)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0, 0, body, 0, 64, 56, 0, 64, 3, 2)
    table = bytes(64)
    table += struct.pack("<IIQQQQIIQQ", 1, 1, 0x800, 0, 64 + len(names), size, 0, 0, 1, 0)
    table += struct.pack("<IIQQQQIIQQ", 13, 3, 0, 0, 64, len(names), 0, 0, 1, 0)
    return Elf(header + names + content + table)


def test_compression_claims_are_checked() -> None:
    packed = zlib.compress(b"x" * 1000)
    good = struct.pack("<IIQQ", 1, 0, 1000, 1) + packed
    assert with_section(good, len(good)).section_data(".debug_info") == b"x" * 1000
    for size in (10, 1 << 20, 1 << 63):
        with pytest.raises(TruncatedFile):
            with_section(good, size).section_data(".debug_info")
    bad = {
        "too short a claim": struct.pack("<IIQQ", 1, 0, 999999, 1) + packed,
        "a memory bomb": struct.pack("<IIQQ", 1, 0, 1 << 60, 1) + packed,
        "zstd": struct.pack("<IIQQ", 2, 0, 1000, 1) + packed,
        "garbage": struct.pack("<IIQQ", 1, 0, 1000, 1) + b"garbage",
    }
    for content in bad.values():
        with pytest.raises(MalformedFile):
            with_section(content, len(content)).section_data(".debug_info")


def test_old_compressed_sections(tmp_path: Path) -> None:
    """Go ≤ 1.18 writes .zdebug_*: recompress one of today's with objcopy and compare."""
    path, old = build("hello", OLDEST), tmp_path / "old"
    done = subprocess.run(["objcopy", "--compress-debug-sections=zlib-gnu", path, old], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"objcopy: {done.stderr}")
    assert ".zdebug_info" in Elf.open(old).sections or ".debug_info" in Elf.open(old).sections
    assert Elf.open(old).section_data(".debug_info") == Elf.open(path).section_data(".debug_info")


def test_any_buffer_serves() -> None:
    path = build("hello")
    content = path.read_bytes()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for buffer in (content, bytearray(content), memoryview(content), mapped):
            assert Elf(buffer).read(Elf(buffer).entry, 8) == Elf.open(path).read(Elf.open(path).entry, 8)
