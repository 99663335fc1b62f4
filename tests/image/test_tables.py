"""Go's tables of every format, machine and system, against `go tool nm` and `go tool addr2line`."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from gobuild import build
from gotap.image.containers.container import Container, open_container, read_container
from gotap.image.facts.buildinfo import versions_in_data
from gotap.image.functions.tables import GoTables, read_tables
from gotap.image.image import Image, TooOld
from oldgo import build_plain, nm

#: release → (format of its table, layout of its moduledata)
OLD = {
    "1.5.4": ("1.2", (1, 5)),
    "1.9.7": ("1.2", (1, 5)),
    "1.11.13": ("1.2", (1, 5)),
    "1.13.15": ("1.2", (1, 5)),
    "1.15.15": ("1.2", (1, 5)),
    "1.16.15": ("1.16", (1, 16)),
    "1.17.13": ("1.16", (1, 16)),
}
NEW = {"1.18.10": ("1.18", (1, 18)), "1.21.13": ("1.20", (1, 20)), "1.27.4": ("1.20", (1, 27))}
OLD_SYSTEMS = ("linux/amd64", "linux/386", "windows/amd64", "darwin/amd64")
SYSTEMS = (
    *(f"linux/{arch}" for arch in ("amd64", "386", "arm", "arm64", "ppc64le", "s390x", "riscv64", "mips", "mips64le")),
    *("linux/ppc64", "linux/loong64", "freebsd/amd64", "openbsd/amd64", "netbsd/amd64"),
    *(f"windows/{arch}" for arch in ("amd64", "386", "arm64")),
    *(f"darwin/{arch}" for arch in ("amd64", "arm64")),
)
#: What runs without --matrix: each format, word size, byte order and kind of file once.
ALWAYS = {
    ("1.15.15", "linux/amd64"), ("1.17.13", "linux/386"), ("1.27.4", "linux/s390x"), ("1.27.4", "linux/386"),
    ("1.27.4", "windows/amd64"), ("1.27.4", "darwin/arm64"), ("1.18.10", "linux/mips"),
}  # fmt: skip
NOT_IN = {("1.18.10", "linux/loong64")}


def every_build() -> list[object]:
    all = [(go, system) for go in OLD for system in OLD_SYSTEMS] + [(go, system) for go in NEW for system in SYSTEMS]
    return [
        one if one in ALWAYS else pytest.param(*one, marks=pytest.mark.matrix) for one in all if one not in NOT_IN
    ]


def tables_of(container: Container) -> GoTables:
    found = read_tables(container)
    assert found is not None
    return found


def comparable(symbol: str) -> str:
    """A symbol's name as the function table writes it: no ABI suffix, a full stop for the middle dot."""
    return re.sub(r"\.abi(0|internal)$", "", symbol).replace("·", ".")


def without_type_arguments(name: str) -> str:
    start, end = name.find("["), name.rfind("]")
    return f"{name[:start]}[...]{name[end + 1 :]}" if 0 <= start < end else name


@pytest.mark.parametrize(("go", "system"), every_build())
def test_functions_are_those_that_nm_shows(go: str, system: str) -> None:
    goos, goarch = system.split("/")
    path = build_plain(go, goos, goarch)
    container = open_container(path)
    assert (container.os, container.arch) == (goos, goarch)
    tables = tables_of(container)
    assert (tables.header.format, tables.module.layout) == {**OLD, **NEW}[go]
    assert not tables.is_obfuscated
    names = [name.replace("·", ".") for name in tables.names]
    by_address: dict[int, set[str]] = {}
    for address, name in zip(tables.pclntab.addresses.tolist(), names, strict=True):
        by_address.setdefault(address, set()).add(without_type_arguments(name))
    missing = {}
    for address, symbols in nm(path).items():
        if not tables.module.minpc <= address < tables.module.maxpc:
            continue
        wanted = {without_type_arguments(comparable(symbol)) for symbol in symbols}
        wanted |= {name.removeprefix("_") for name in wanted if goos == "darwin"}  # C's name for what has no package
        if not wanted & by_address.get(address, set()):
            missing[hex(address)] = wanted
    # The linker's own marks are no functions.
    marks = re.compile(r"runtime\.e?text(\.\d+)?|go[.:]buildid|_?main|.*\+\d+.*|.*-tramp\d*|type\.\.eqfunc.*")
    missing = {at: symbols for at, symbols in missing.items() if not all(marks.fullmatch(name) for name in symbols)}
    assert not missing
    assert len(tables) == len(names) > 1000


@pytest.mark.parametrize(("go", "system"), every_build())
def test_lines_are_those_that_addr2line_gives(go: str, system: str) -> None:
    path = build_plain(go, *system.split("/"))
    functions = tables_of(open_container(path)).pclntab
    mine = functions.find_prefix("main.")
    assert {"main.main", "main.compute"} <= {function.name for function in mine}
    pcs = [pc for function in mine for pc in range(function.address, function.end, 4)]
    asked = "".join(f"{pc:#x}\n" for pc in pcs)
    done = subprocess.run(["go", "tool", "addr2line", str(path)], input=asked, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    differing, compared = [], 0
    for pc, name, position in zip(pcs, lines[0::2], lines[1::2], strict=True):
        found, function = functions.line(pc), functions.function_at(pc)
        if name == "?" or found is None or function is None:
            continue
        file, _, line = position.rpartition(":")
        compared += 1
        if (comparable(name), file, int(line)) != (function.name, *found):
            differing.append((hex(pc), name, position, function.name, found))
    assert not differing
    assert compared > len(pcs) // 2
    compute = functions.find("main.compute")
    assert compute is not None
    assert compute.file.endswith("/programs/plainold/main.go")
    assert compute.line in (16, 17)  # before Go 1.20 that of the first instruction, which may be the first statement's


@pytest.mark.parametrize(("go", "system"), every_build())
def test_inlined_calls_are_counted_as_they_are_listed(go: str, system: str) -> None:
    tables = tables_of(open_container(build_plain(go, *system.split("/"))))
    if go in OLD:
        assert tables.inlined_calls is None
        return
    listed = sum(len(tables.pclntab.inlined_calls(function)) for function in tables.functions())
    assert tables.inlined_calls == listed > 1000
    assert any(call.name == "main.twice" for call in tables.pclntab.where_inlined("main.twice"))


@pytest.mark.parametrize("go", ["1.15.15", "1.17.13", pytest.param("1.5.4", marks=pytest.mark.matrix)])
def test_old_programs_are_told_their_version(go: str) -> None:
    path = build_plain(go, "linux", "amd64")
    with pytest.raises(TooOld, match=re.escape(go)):
        Image.open(path)
    assert versions_in_data(open_container(path))[0] == f"go{go}"


def without_sections(content: bytes) -> bytes:
    """No section table: e_shoff, e_shnum and e_shstrndx are 0."""
    cut = bytearray(content)
    wide, order = content[4] == 2, "<" if content[5] == 1 else ">"
    struct.pack_into(order + ("Q" if wide else "I"), cut, 40 if wide else 32, 0)
    struct.pack_into(order + "HH", cut, 60 if wide else 48, 0, 0)
    return bytes(cut)


@pytest.mark.parametrize(
    ("go", "system"), [("1.27.4", "linux/s390x"), ("1.27.4", "linux/386"), ("1.17.13", "linux/386")]
)
def test_no_section_is_needed(go: str, system: str) -> None:
    path = build_plain(go, *system.split("/"))
    whole = tables_of(open_container(path))
    content = path.read_bytes()
    renamed = content.replace(b".gopclntab\0", b".gobbledyg\0").replace(b".go.module\0", b".not.there\0")
    for damaged in (without_sections(content), renamed):
        tables = tables_of(read_container(damaged))
        assert tables.module == whole.module
        assert tables.names == whole.names


@pytest.mark.parametrize(
    "flags",
    [
        ["-buildmode=pie"],
        ["-buildmode=pie", "-ldflags=-s -w"],
        ["-buildmode=pie", "-ldflags=-linkmode=external -extldflags=-Wl,-z,pack-relative-relocs"],
    ],
    ids=["RELA", "stripped", "RELR"],
)
def test_relocated_pointers(flags: list[str]) -> None:
    path = build("hello", mode="external" if "external" in flags[-1] else "plain", flags=flags)
    if "external" in flags[-1]:
        assert 36 in Image.open(path).elf.dynamic  # DT_RELR
    names = tables_of(open_container(path)).names
    assert "main.compute" in names
    assert "runtime.main" in names


def scrambled(path: Path) -> bytes:
    """With a magic that no Go writes, as garble does it."""
    container = open_container(path)
    offset = container.offset_of(tables_of(container).header.address)
    assert offset is not None
    content = bytearray(path.read_bytes())
    content[offset : offset + 4] = b"\x13\x57\x9b\xdf"
    return bytes(content)


@pytest.mark.parametrize("system", ["linux/amd64", "linux/s390x", "windows/amd64", "darwin/arm64"])
def test_a_scrambled_magic_is_seen(system: str) -> None:
    tables = tables_of(read_container(scrambled(build_plain("1.27.4", *system.split("/")))))
    assert tables.is_obfuscated
    assert len(tables) > 1000


def test_what_is_not_go() -> None:
    assert read_tables(open_container("/bin/sh")) is None
    content = build_plain("1.27.4", "linux", "amd64").read_bytes()
    tables = tables_of(read_container(content))
    at = tables.container.offset_of(tables.module.address)
    assert at is not None
    without_owner = content[:at] + bytes(8) + content[at + 8 :]
    assert read_tables(read_container(without_owner)) is None
