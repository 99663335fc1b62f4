"""Symbols of a C library with versions and an indirect function; `nm` and pyelftools are the oracles."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import gobuild
from gotap.image.containers.elf import Elf
from gotap.image.containers.elf_functions import c_functions
from gotap.process.proc import Process
from gotap.process.symbols import (
    IndirectFunction,
    NoSuchFile,
    NoSuchFunction,
    NotInFunction,
    ReturnOfGo,
    find_symbol,
)

LIBRARY = r"""
#include <stdlib.h>
__asm__(".symver old_add, add@V_1");
__asm__(".symver new_add, add@@V_2");
int old_add(int a, int b) { return a + b; }
int new_add(int a, int b) { return a + b + 1; }
int plain(int a) { return abs(a) + rand(); }
int __chosen_fast(void) { return 1; }
int __chosen_slow(void) { return 2; }
static void *choose(void) { return __chosen_fast; }
int chosen(void) __attribute__((ifunc("choose")));
"""
VERSIONS = "V_1 { global: add; }; V_2 { global: add; plain; chosen; __chosen_*; local: *; } V_1;"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("library")
    (directory / "library.c").write_text(LIBRARY)
    (directory / "versions").write_text(VERSIONS)
    made = directory / "libsample.so.1"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-s", f"-Wl,--version-script={directory}/versions", "-o", made,
                    directory / "library.c"], check=True)  # fmt: skip
    return made


def test_functions_are_those_that_nm_lists(library: Path) -> None:
    listed = subprocess.run(["nm", "-D", library], capture_output=True, text=True, check=True).stdout
    expected = set()
    for line in listed.splitlines():
        *address, kind, name = line.split()
        if kind in "TtiUw" and not name.startswith("_"):
            bare, _, version = name.partition("@")
            expected.add((bare, version.lstrip("@") if address else "", int(address[0], 16) if address else 0))
    found = {(one.name, one.version, one.address) for one in c_functions(Elf.open(library)) if one.name[0] != "_"}
    assert found == expected


def test_versions(library: Path) -> None:
    functions = {(one.version, one.default): one.address for one in c_functions(Elf.open(library)) if one.name == "add"}
    assert set(functions) == {("V_1", False), ("V_2", True)}
    assert find_symbol(str(library), "add").address == functions["V_2", True]
    assert find_symbol(str(library), "add@V_1").address == functions["V_1", False]
    assert find_symbol(str(library), "add@@V_2").address == functions["V_2", True]
    with pytest.raises(NoSuchFunction, match="not in version V_3") as told:
        find_symbol(str(library), "add@V_3")
    assert told.value.remedy == "it has V_1, V_2"


def test_the_file_offset_is_where_the_address_lies_in_the_file(library: Path) -> None:
    found = find_symbol(str(library), "plain", offset=1)
    assert found.address == find_symbol(str(library), "plain").address + 1
    with library.open("rb") as file:
        (offset,) = ELFFile(file).address_offsets(found.address)
    assert found.file_offset == offset
    with pytest.raises(NotInFunction, match="not in plain"):
        find_symbol(str(library), "plain", offset=1 << 20)


def test_what_has_no_single_place(library: Path) -> None:
    with pytest.raises(IndirectFunction, match="IFUNC") as told:
        find_symbol(str(library), "chosen")
    assert "__chosen_fast, __chosen_slow" in told.value.remedy
    with pytest.raises(NoSuchFunction, match="only calls rand"):
        find_symbol(str(library), "rand")
    with pytest.raises(NoSuchFunction) as missing:
        find_symbol(str(library), "plane")
    assert missing.value.similar == ("plain",)
    with pytest.raises(NoSuchFile):
        find_symbol(str(library) + ".2", "plain")


def test_links_are_followed_and_names_are_looked_for(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = library.parent / "link"
    link.symlink_to("libsample.so.1")
    assert find_symbol(str(link), "plain").path == str(library.resolve())
    monkeypatch.chdir(library.parent)
    assert find_symbol("./link", "plain").path == str(library.resolve())
    with Process(os.getpid()) as me:
        assert find_symbol("c", "getpid", process=me) == find_symbol("libc.so.6", "getpid", process=me)
    assert find_symbol("libc", "getaddrinfo").name == "getaddrinfo"


@pytest.mark.root
def test_a_path_is_the_process_own(library: Path, tmp_path: Path) -> None:
    """In a root directory with an absolute link that would lead to the host's file."""
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    (root / "lib/real.so").write_bytes(library.read_bytes())
    (root / "libsample.so").symlink_to("/lib/real.so")
    waiting = "import os; os.chroot('.'); print(1, flush=True); input()"
    started = subprocess.Popen(["python3", "-c", waiting], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline()
    try:
        with Process(started.pid) as process:
            found = find_symbol("/libsample.so", "plain", process=process)
            assert found.path == f"/proc/{started.pid}/root/lib/real.so"
            with pytest.raises(NoSuchFile, match="root directory of process"):
                find_symbol("/bin/bash", "main", process=process)
    finally:
        started.communicate(b"\n")


@pytest.mark.parametrize("mode", ["plain", "stripped"])
def test_returns_of_a_go_program_are_refused(mode: str) -> None:
    program = str(gobuild.build("hello", mode=mode))
    with pytest.raises(ReturnOfGo, match="unexpected return pc") as told:
        find_symbol(program, "main.main", returns=True)
    assert "main.main:return" in told.value.remedy
    if mode == "plain":
        assert find_symbol(program, "main.main").file_offset
    else:
        with pytest.raises(NoSuchFunction, match="stripped"):
            find_symbol(program, "main.main")
