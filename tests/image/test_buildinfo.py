"""Build info against `go version -m`."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gobuild import OLDEST, build, every_mode, every_version, go_tool
from gotap.image.containers.elf import Elf
from gotap.image.facts.buildinfo import BuildInfo, Module, read_build_info, versions_in_data


def listed(info: BuildInfo) -> list[str]:
    """Build info as lines of `go version -m`; settings that it quotes are compared unquoted."""

    def module(kind: str, one: Module) -> list[str]:
        lines = ["\t".join(("", kind, one.path, one.version, one.sum)).rstrip("\t")]
        return lines + (module("=>", one.replace) if one.replace else [])

    lines = ["\tpath\t" + info.path, *(module("mod", info.main) if info.main else [])]
    for dependency in info.deps:
        lines += module("dep", dependency)
    return lines + [f"\tbuild\t{key}={value}" for key, value in info.settings.items()]


def oracle(path: Path, go: str = "") -> tuple[str, list[str]]:
    first, *lines = go_tool(go, "version", "-m", str(path)).splitlines()
    return first.removeprefix(f"{path}: "), [line.rstrip("\t").replace('"', "") for line in lines if line.strip()]


@pytest.mark.parametrize("go", every_version())
def test_as_go_version_shows_it(go: str) -> None:
    path = build("hello", go)
    info = read_build_info(Elf.open(path))
    assert info is not None
    assert (info.version_text, listed(info)) == oracle(path)


@pytest.mark.parametrize("mode", every_mode())
def test_as_go_version_shows_it_in_every_mode(mode: str) -> None:
    path = build("vendored" if mode == "vendored" else "hello", mode=mode)
    info = read_build_info(Elf.open(path))
    assert info is not None
    assert (info.version_text, listed(info)) == oracle(path)


def test_dependencies_with_sums_and_replacements(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "dep").mkdir()
    (tmp_path / "app/go.mod").write_text(
        "module app\n\ngo 1.18\n\nrequire example.com/dep v1.0.0\n\nreplace example.com/dep => ../dep\n"
    )
    (tmp_path / "app/main.go").write_text('package main\n\nimport "example.com/dep"\n\nfunc main() { dep.F() }\n')
    (tmp_path / "dep/go.mod").write_text("module example.com/dep\n\ngo 1.18\n")
    (tmp_path / "dep/dep.go").write_text('package dep\n\nfunc F() { println("dep") }\n')
    path = build(tmp_path / "app", flags=["-ldflags=-X 'main.unused=a b=c'"])
    info = read_build_info(Elf.open(path))
    assert info is not None
    assert (info.version_text, listed(info)) == oracle(path)
    assert info.deps == (Module("example.com/dep", "v1.0.0", "", Module("../dep", "(devel)")),)
    assert info.settings["-ldflags"] == "-X 'main.unused=a b=c'"


def test_found_without_section_table() -> None:
    content = bytearray(build("hello", mode="pie_stripped").read_bytes())
    struct.pack_into("<Q", content, 40, 0)
    struct.pack_into("<HHH", content, 58, 0, 0, 0)
    expected = read_build_info(Elf.open(build("hello", mode="pie_stripped")))
    assert read_build_info(Elf(content)) == expected is not None


@pytest.mark.parametrize("go", every_version())
def test_without_the_blob_the_version_stands_in_the_data(go: str) -> None:
    content = build("hello", go, mode="stripped").read_bytes()
    at = content.index(b"\xff Go buildinf:")
    elf = Elf(content[:at] + bytes(64) + content[at + 64 :])
    assert read_build_info(elf) is None
    assert versions_in_data(elf)[0] == f"go{go}"


def test_damaged_blobs_are_as_if_they_were_not_there() -> None:
    content = build("hello", OLDEST).read_bytes()
    at = content.index(b"\xff Go buildinf:")
    for replacement in (b"\xff" * 8, b"\x00\x00", b"\x04abcd"):
        damaged = bytearray(content)
        damaged[at + 32 : at + 32 + len(replacement)] = replacement
        assert read_build_info(Elf(damaged)) is None
    by_pointers = bytearray(content)
    by_pointers[at + 15] = 0  # the form before 1.18, with pointers to nowhere
    by_pointers[at + 16 : at + 32] = b"\xff" * 16
    assert read_build_info(Elf(by_pointers)) is None


def test_pointer_form_of_old_releases() -> None:
    """Go ≤ 1.17: the header points at two string headers; made by hand, as no such toolchain is at hand."""
    texts = b"go1.17.13", b"w" * 15 + b"\n" + b"path\told\nmod\told\tv1.0.0\n" + b"w" * 16
    base = 0x400000
    strings = base + 0x200
    body = bytearray(0x400)
    body[:16] = b"\x7fELF\2\1\1" + bytes(9)
    struct.pack_into("<HHIQQQIHHHHHH", body, 16, 2, 62, 1, base, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    struct.pack_into("<IIQQQQQQ", body, 64, 1, 4, 0, base, base, len(body), len(body), 0x1000)
    body[0x100:0x110] = b"\xff Go buildinf:" + bytes((8, 0))
    struct.pack_into("<QQ", body, 0x110, base + 0x140, base + 0x150)
    struct.pack_into("<QQQQ", body, 0x140, strings, len(texts[0]), strings + len(texts[0]), len(texts[1]))
    body[0x200 : 0x200 + len(texts[0]) + len(texts[1])] = texts[0] + texts[1]
    info = read_build_info(Elf(body))
    assert info == BuildInfo("go1.17.13", "old", Module("old", "v1.0.0"))
