"""Which container a file is, and what a file is that is none."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from gobuild import build
from gotap.image.containers.container import open_container, read_container
from gotap.image.containers.pe import Pe
from gotap.image.errors import ImageError, MalformedFile, NotExecutable, TruncatedFile, UnreadableFile
from gotap.image.facts.buildinfo import read_build_info
from gotap.image.functions.tables import read_tables
from oldgo import build_plain


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", "b")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


#: content → (kind, words of the message)
OTHERS = {
    "script": (b"#!/bin/sh -e\necho\n", "script", "/bin/sh"),
    "env": (b"#!/usr/bin/env python3\n", "script", "python3"),
    "env -S": (b"#! /usr/bin/env -S deno run\n", "script", "deno"),
    "ar": (b"!<arch>\nfile.o/    ", "archive", "ar archive"),
    "wasm": (b"\0asm\1\0\0\0", "wasm", "WebAssembly"),
    "java": (b"\xca\xfe\xba\xbe\0\0\0\x3d" + bytes(90), "java class", "Java class"),
    "zip": (zipped(), "zip", "zip archive"),
    "gzip": (gzip.compress(b"x"), "gzip", "gzip"),
    "tar": (tarred(), "tar", "tar archive"),
    "text": ("Grüße\n".encode(), "text", "a text"),
    "dos": (b"MZ" + bytes(200), "dos", "DOS program"),
    "data": (bytes(range(1, 256)), "data", "no ELF, PE or Mach-O"),
    "coff": (b"\x64\x86\2\0" + bytes(60), "data", "no ELF, PE or Mach-O"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_named(name: str, tmp_path: Path) -> None:
    content, kind, words = OTHERS[name]
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotExecutable, match=words) as caught:
        open_container(path, "my file")
    assert str(caught.value).startswith("my file is")
    assert caught.value.kind == kind
    assert caught.value.remedy
    assert (caught.value.interpreter == words) == (kind == "script")


def test_what_cannot_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(NotExecutable, match="it is empty"):
        open_container(tmp_path / "empty")
    os.mkfifo(tmp_path / "fifo")
    for path, words in (
        (tmp_path / "fifo", "a FIFO"),
        (tmp_path, "a directory"),
        (Path("/dev/zero"), "a device"),
        (tmp_path / "missing", "No such file"),
        ("a\0b", "null"),
    ):
        with pytest.raises(UnreadableFile, match=words) as caught:
            open_container(path)
        assert caught.value.remedy


def test_a_huge_sparse_file_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.write_bytes(build_plain("1.27.4", "linux", "386").read_bytes())
    os.truncate(path, 100 << 30)
    tables = read_tables(open_container(path))
    assert tables is not None
    assert len(tables) > 1000


def test_segments_with_a_huge_hole_are_searched_in_part(tmp_path: Path) -> None:
    content = bytearray(build("hello").read_bytes())
    (offset,) = struct.unpack_from("<Q", content, 32)
    struct.pack_into("<QQ", content, offset + 56 + 32, 90 << 30, 90 << 30)  # the first PT_LOAD's sizes
    path = tmp_path / "sparse"
    path.write_bytes(content)
    os.truncate(path, 100 << 30)
    read_build_info(open_container(path))  # ends


PE_MACHINES = {"amd64": 64, "386": 32, "arm64": 64}


@pytest.mark.parametrize("arch", [pytest.param(arch, marks=() if arch == "amd64" else pytest.mark.matrix)
                                  for arch in PE_MACHINES])  # fmt: skip
def test_windows_programs(arch: str) -> None:
    path = build_plain("1.27.4", "windows", arch)
    container = open_container(path)
    assert isinstance(container, Pe)
    assert (container.format, container.os, container.arch) == ("pe", "windows", arch)
    assert (container.bits, container.big_endian) == (PE_MACHINES[arch], False)
    assert container.needed == ("kernel32.dll",)
    assert not container.is_library
    assert not container.is_managed
    symbols = container.symbols()
    shown = subprocess.run(["go", "tool", "nm", str(path)], capture_output=True, text=True, check=True).stdout
    places = {name: int(address, 16) for address, kind, name in
              (line.split(None, 2) for line in shown.splitlines()) if kind in "TtDdRr"}  # fmt: skip
    assert "main.main" in symbols
    assert {name: symbols[name][0] for name in places} == places
    assert container.has_symtab
    assert container.has_dwarf
    stripped = open_container(build_plain("1.27.4", "windows", arch, "-ldflags=-s"))
    assert not stripped.has_symtab
    assert not stripped.has_dwarf
    assert stripped.symbols() == {}
    start = read_tables(container)
    assert start is not None
    entry = start.pclntab.function_at(container.entry)
    assert entry is not None
    assert entry.name == f"_rt0_{arch}_windows"


@pytest.mark.parametrize("system", ["linux/386", "linux/s390x", "windows/amd64", "darwin/arm64"])
def test_flipped_bytes_and_cuts_raise_our_errors_only(system: str) -> None:
    content = build_plain("1.27.4", *system.split("/")).read_bytes()
    chance = random.Random(system)
    for number in range(120):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 20)):
            damaged[chance.randrange(600 if number % 2 else len(damaged))] = chance.randrange(256)
        if number % 3 == 0:
            del damaged[chance.randrange(len(damaged)) :]
        try:
            container = read_container(bytes(damaged))
            _ = container.sections, container.needed, container.symbols(), list(container.notes()), container.arch
            _ = container.os, container.has_dwarf, container.interpreter, container.is_library
            read_build_info(container)
            tables = read_tables(container)
            if tables is not None:
                _ = tables.names, tables.inlined_calls, list(tables.pclntab.functions())[:50]
        except ImageError:
            pass


def test_counts_that_would_cost_are_refused() -> None:
    content = bytearray(build("hello").read_bytes())
    struct.pack_into("<H", content, 56, 0xFFFF)
    with pytest.raises(MalformedFile, match="65535 program headers"):
        read_container(bytes(content))
    image = bytearray(build_plain("1.27.4", "windows", "amd64").read_bytes())
    (at,) = struct.unpack_from("<I", image, 0x3C)
    struct.pack_into("<H", image, at + 6, 0xFFFF)
    with pytest.raises(MalformedFile, match="65535 sections"):
        read_container(bytes(image))
    macho = bytearray(build_plain("1.27.4", "darwin", "arm64").read_bytes())
    struct.pack_into("<I", macho, 16, 0xFFFFFFFF)
    with pytest.raises(MalformedFile, match="4294967295 load commands"):
        read_container(bytes(macho))
    with pytest.raises(TruncatedFile):
        read_container(bytes(macho[:20]))
