"""Mach-O: thin, fat, and with chained fixups, which Go's own linker does not write and Apple's does."""

from __future__ import annotations

import struct
import subprocess

import pytest

from gotap.image.containers.container import read_container
from gotap.image.containers.macho import MachO
from gotap.image.containers.memory import Segment
from gotap.image.errors import MalformedFile, TruncatedFile
from gotap.image.functions.tables import GoTables, read_tables
from oldgo import build_plain

_PAGE = 0x4000
_PTR_64, _PTR_64_OFFSET, _ARM64E_USERLAND24 = 2, 6, 12


def darwin(arch: str, *flags: str) -> bytes:
    return build_plain("1.27.4", "darwin", arch, *flags).read_bytes()


def macho(content: bytes) -> MachO:
    found = read_container(content)
    assert isinstance(found, MachO)
    return found


def tables_of(container: MachO) -> GoTables:
    found = read_tables(container)
    assert found is not None
    return found


@pytest.mark.parametrize("arch", ["arm64", pytest.param("amd64", marks=pytest.mark.matrix)])
def test_headers(arch: str) -> None:
    file = macho(darwin(arch))
    assert (file.format, file.os, file.arch, file.bits, file.big_endian) == ("macho", "darwin", arch, 64, False)
    assert file.interpreter == "/usr/lib/dyld"
    assert "/usr/lib/libSystem.B.dylib" in file.needed
    assert not file.is_library
    assert file.slices == ()
    assert file.segment_of(0) is None  # __PAGEZERO holds nothing
    entry = tables_of(file).pclntab.function_at(file.entry)
    assert entry is not None
    assert (entry.name, entry.address) == (f"_rt0_{arch}_darwin", file.entry)
    assert file.has_symtab
    assert file.has_dwarf


def test_symbols_as_nm_shows_them() -> None:
    path = build_plain("1.27.4", "darwin", "arm64")
    shown = subprocess.run(["go", "tool", "nm", str(path)], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in shown.splitlines() if line[:1] != " "]
    expected = {name: int(address, 16) for address, kind, name in rows if kind in "TtDd"}
    symbols = macho(path.read_bytes()).symbols()
    assert len(expected) > 1000
    # nm takes C's underscore away where it thinks that it is one.
    assert {name: symbols[name if name in symbols else f"_{name}"][0] for name in expected} == expected


def test_stripped() -> None:
    file = macho(darwin("arm64", "-ldflags=-s"))
    assert not file.has_symtab
    assert not file.has_dwarf
    assert tables_of(file).pclntab.find("main.compute") is not None


def fat(slices: list[tuple[int, bytes]], wide: bool) -> bytes:
    """A fat file of (cputype, thin file)."""
    entry = struct.Struct(">IIQQII" if wide else ">IIIII")
    content, table = b"", b""
    start = _PAGE
    for cputype, thin in slices:
        fields = (cputype, 0, start, len(thin), 14)
        table += entry.pack(*fields, 0) if wide else entry.pack(*fields)
        padded = thin + bytes(-len(thin) % _PAGE)
        content += padded
        start += len(padded)
    head = struct.pack(">II", 0xCAFEBABF if wide else 0xCAFEBABE, len(slices)) + table
    return head.ljust(_PAGE, b"\0") + content


@pytest.mark.parametrize("wide", [False, True])
def test_fat_files(wide: bool) -> None:
    arm64, amd64 = darwin("arm64"), darwin("amd64")
    both = macho(fat([(0x0100000C, arm64), (0x01000007, amd64)], wide))
    assert (both.arch, both.slices) == ("amd64", ("arm64", "amd64"))
    alone = macho(amd64)
    assert both.symbols() == alone.symbols()
    assert both.entry == alone.entry
    assert tables_of(both).names == tables_of(alone).names
    assert tables_of(both).module == tables_of(alone).module
    other = macho(fat([(0x0100000C, arm64)], wide))
    assert (other.arch, other.slices) == ("arm64", ("arm64",))
    assert tables_of(other).names == tables_of(macho(arm64)).names
    with pytest.raises(TruncatedFile):
        macho(fat([(0x0100000C, arm64)], wide)[: _PAGE * 2])
    with pytest.raises(MalformedFile, match="without a slice"):
        macho(fat([], wide))


def chained(content: bytes, format: int) -> bytes:
    """The same program as Apple's linker would write the pointers of its moduledata: in chains, page by page."""
    file = macho(content)
    module = tables_of(file).module.address
    segment = file.segment_of(module)
    assert segment is not None
    stride = 8
    pages: dict[int, list[int]] = {}
    for at in range(module - segment.vaddr, module - segment.vaddr + 52 * stride, stride):
        if file.segment_of(file.word(segment.vaddr + at)) is not None:
            pages.setdefault(at // _PAGE, []).append(at)
    changed = bytearray(content)
    unit = 8 if format == _ARM64E_USERLAND24 else 4
    for places in pages.values():
        for at, following in zip(places, [*places[1:], places[-1]], strict=True):
            target = file.word(segment.vaddr + at) - (0 if format == _PTR_64 else file.header_address)
            word = target | (following - at) // unit << 51
            struct.pack_into("<Q", changed, segment.offset + at, word)
    first = {page: places[0] % _PAGE for page, places in pages.items()}
    return with_fixups(bytes(changed), file, segment, first, format)


def with_fixups(content: bytes, file: MachO, segment: Segment, first: dict[int, int], format: int) -> bytes:
    """Behind the file, the chains' table; in front, the load command that points at it."""
    count = max(first) + 1
    starts = [first.get(page, 0xFFFF) for page in range(count)]
    offset = segment.vaddr - file.header_address
    own = struct.pack("<IHHQIH", 22 + 2 * count, _PAGE, format, offset, 0, count) + struct.pack(f"<{count}H", *starts)
    number = len(file.segments)
    places = [4 + 4 * number if one == segment else 0 for one in file.segments]
    image = struct.pack(f"<{number + 1}I", number, *places) + own
    table = struct.pack("<7I", 0, 28, 0, 0, 0, 1, 0) + image
    changed = bytearray(content)
    commands, size = struct.unpack_from("<II", changed, 16)
    struct.pack_into("<IIII", changed, 32 + size, 0x80000034, 16, len(content), len(table))
    struct.pack_into("<II", changed, 16, commands + 1, size + 16)
    return bytes(changed) + table


@pytest.mark.parametrize("format", [_PTR_64, _PTR_64_OFFSET, _ARM64E_USERLAND24])
def test_chained_fixups(format: int) -> None:
    plain = darwin("arm64")
    content = chained(plain, format)
    file, before = macho(content), tables_of(macho(plain))
    assert file.word(before.module.address) != before.header.address
    assert file.pointer(before.module.address) == before.header.address
    assert next(file.words_pointing_at(before.header.address)) == before.module.address
    after = tables_of(file)
    assert after.module == before.module
    assert after.names == before.names


def test_damaged_chains_are_survived() -> None:
    content = bytearray(chained(darwin("arm64"), _PTR_64_OFFSET))
    table = content.rindex(struct.pack("<7I", 0, 28, 0, 0, 0, 1, 0))
    for at in range(table, len(content) - 4, 14):
        damaged = bytearray(content)
        damaged[at : at + 2] = b"\xf0\xff"
        file = macho(bytes(damaged))
        _ = read_tables(file)
