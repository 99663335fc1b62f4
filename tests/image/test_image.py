"""Image: what a Go executable says about itself, mode by mode, and what it says when it is not one."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from gobuild import OLDEST, MissingTool, build, every_version, go_tool
from gotap.image.containers.elf import Elf
from gotap.image.errors import NotExecutable, TruncatedFile
from gotap.image.image import ForeignArchitecture, Image, NoFunctionTable, NotGo, TooNew, TooOld


@pytest.mark.parametrize("go", every_version())
def test_version(go: str) -> None:
    assert Image.open(build("hello", go)).go_version.text == f"go{go}"


@pytest.mark.parametrize(("mode", "stripped"), [("plain", False), ("stripped", True), ("pie_stripped", True)])
def test_what_was_stripped(mode: str, stripped: bool) -> None:
    image = Image.open(build("hello", mode=mode))
    assert (image.is_stripped, image.has_dwarf) == (stripped, not stripped)
    assert Image.open(build("hello", flags=["-ldflags=-w"])).has_dwarf is False
    assert Image.open(build("hello", flags=["-ldflags=-w"])).is_stripped is False


def test_build_ids() -> None:
    image = Image.open(build("hello"))
    assert image.build_id == image.go_build_id == go_tool("", "tool", "buildid", str(build("hello"))).strip()
    notes = subprocess.run(["readelf", "-n", str(build("hello", mode="external"))], capture_output=True, text=True)
    gnu = re.search(r"Build ID: ([0-9a-f]+)", notes.stdout)
    assert Image.open(build("hello", mode="external")).gnu_build_id == (gnu[1] if gnu else "")


def test_code_is_what_objdump_shows() -> None:
    path = build("hello")
    image = Image.open(path)
    compute = image.pclntab.find("main.compute")
    assert compute is not None
    listing = go_tool("", "tool", "objdump", "-s", r"^main\.compute$", str(path))
    code = b"".join(
        bytes.fromhex(found) for found in re.findall(r"^\s+\S+:\d+\s+0x[0-9a-f]+\s+([0-9a-f]+)", listing, re.M)
    )
    assert len(code) > 50
    assert image.code(compute).startswith(code)
    assert set(image.code(compute)[len(code) :]) <= {0xCC}


@pytest.mark.parametrize("go", every_version())
def test_version_without_build_info(go: str, tmp_path: Path) -> None:
    content = build("hello", go, mode="stripped").read_bytes()
    at = content.index(b"\xff Go buildinf:")
    anonymous = content[:at] + bytes(64) + content[at + 64 :]
    assert str(Image(Elf(anonymous)).go_version) == f"go{go}"
    nameless = anonymous.replace(f"go{go}".encode(), b"?" * len(f"go{go}"))
    version = Image(Elf(nameless)).go_version
    assert (version.major, version.minor) == Image(Elf(nameless)).moduledata.layout


def test_experiments_come_from_the_settings_too() -> None:
    image = Image.open(build("hello", "1.24.13", experiment="noswissmap"))
    assert image.go_version.experiments == ("noswissmap",)


# -- what cannot be read ------------------------------------------------------------------------------------------


def damaged(path: Path, offset: int, content: bytes) -> Elf:
    original = path.read_bytes()
    return Elf(original[:offset] + content + original[offset + len(content) :], str(path))


def table_offset(path: Path) -> int:
    image = Image.open(path)
    offset = image.elf.offset_of(image.pclntab.header.address)
    assert offset is not None
    return offset


def test_not_go(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    with pytest.raises(NotGo, match="is not a Go program") as caught:
        Image.open(shell)
    assert "go build" in caught.value.remedy
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(NotExecutable):
        Image.open(tmp_path / "script")


def test_too_old() -> None:
    path = build("hello", OLDEST)
    offset = table_offset(path)
    original = path.read_bytes()
    words = struct.unpack_from("<8Q", original, offset + 8)
    header = struct.pack("<IHBB7Q", 0xFFFFFFFA, 0, 1, 8, words[0], words[1], *words[3:])
    content = original[:offset] + header + original[offset + len(header) :]
    blob = content.index(b"\xff Go buildinf:")
    with pytest.raises(TooOld, match=r"1\.16 or 1\.17"):
        _ = Image(Elf(content[:blob] + bytes(64) + content[blob + 64 :])).moduledata
    named = content.replace(b"go1.18.10", b"go1.17.13")
    with pytest.raises(TooOld, match=r"go1\.17\.13.*Go 1\.18") as caught:
        _ = Image(Elf(named)).moduledata
    assert caught.value.remedy


def test_unknown_layout() -> None:
    path = build("hello")
    image = Image.open(path)
    offset = image.elf.offset_of(image.moduledata.address)
    assert offset is not None
    words = path.read_bytes()[offset + 25 * 8 : offset + 53 * 8]
    with pytest.raises(TooNew, match="unknown layout"):
        _ = Image(damaged(path, offset + 24 * 8, words)).moduledata


def test_function_table_with_a_foreign_magic() -> None:
    """garble writes a random magic."""
    path = build("hello")
    with pytest.raises(NoFunctionTable, match="removed or altered"):
        _ = Image(damaged(path, table_offset(path), b"\x12\x34\x56\x78")).moduledata


@pytest.mark.parametrize("goarch", ["386", "arm64"])
def test_foreign_architecture(goarch: str, tmp_path: Path) -> None:
    """A program of another architecture, built by the Go at hand."""
    path = build("hello", mode="cgo0", goarch=goarch)
    with pytest.raises(ForeignArchitecture, match=f"built for {goarch}") as caught:
        Image.open(path)
    assert "GOARCH=amd64" in caught.value.remedy


def test_truncated() -> None:
    content = build("hello").read_bytes()
    with pytest.raises(TruncatedFile):
        Image(Elf(content[: len(content) // 3]))


def test_gccgo_is_named(tmp_path: Path) -> None:
    """What links libgo is gccgo's work; the library here is empty."""
    if shutil.which("gcc") is None:
        raise MissingTool("gcc is not installed")
    for command in (
        ["gcc", "-shared", "-Wl,-soname,libgo.so.21", "-x", "c", "/dev/null", "-o", "libgo.so"],
        ["gcc", "-x", "c", "main.c", "-x", "none", "-Wl,--no-as-needed", "-L.", "-lgo", "-o", "program"],
    ):
        (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
        subprocess.run(command, cwd=tmp_path, check=True)
    with pytest.raises(NotGo, match="gccgo"):
        Image.open(tmp_path / "program")
