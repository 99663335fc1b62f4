"""Programs that were changed after the compiler: obfuscated, packed, linked against shared Go libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gobuild import OLDEST, build, go_tool
from gotap.image.containers.container import open_container, read_container
from gotap.image.facts.buildinfo import read_build_info
from gotap.image.facts.reading import read_facts
from gotap.image.functions.tables import read_tables
from packers import garbled, upx_for_windows, upx_packed


def test_garble() -> None:
    path = garbled()
    facts = read_facts(path)
    assert facts.go is not None
    go = facts.go
    assert facts.language == "go"
    assert go.obfuscated
    assert "garble" in facts.evidence["go.obfuscated"]
    release = go_tool("", "env", "GOVERSION").strip().removeprefix("go").rsplit(".", 1)[0]
    assert (go.version_source, go.version_text, go.module) == ("tables", None, None)
    assert go.version is not None
    assert tuple(map(int, go.version.split("."))) <= tuple(map(int, release.split(".")))
    # What needs no names is told, what needs them is not guessed.
    assert (go.build_mode, go.linker, go.linkage, go.symtab) == ("exe", "internal", "static", False)
    assert (go.cgo, go.trimpath, go.plugin_capable, go.race) == (None, None, None, None)
    assert "scrambled" in facts.evidence["go.race"]


@pytest.mark.parametrize("mode", ["plain", "external"])
def test_a_scrambled_table_leaves_the_linker_to_the_entry_s_code(mode: str) -> None:
    """As garble does it, on a program that C's linker may have linked."""
    path = build("hello", mode=mode)
    facts = read_facts(path)
    assert facts.go is not None
    assert facts.go.pclntab is not None
    container = read_container(path.read_bytes())
    at = container.offset_of(facts.go.pclntab.address)
    assert at is not None
    content = bytearray(path.read_bytes())
    content[at : at + 4] = b"\x12\x34\x56\x78"
    found = read_facts(read_container(bytes(content))).go
    assert found is not None
    assert found.obfuscated
    assert found.linker == facts.go.linker


@pytest.mark.parametrize(("go", "mode"), [("", "stripped"), (OLDEST, "plain"), ("", "external")])
def test_upx(go: str, mode: str, tmp_path: Path) -> None:
    packed = upx_packed(build("hello", go, mode=mode), tmp_path / "packed")
    facts = read_facts(packed)
    assert facts.packed == "upx"
    assert facts.language == "go"
    assert facts.go is not None
    assert facts.go.packed == "upx"
    assert (facts.go.version, facts.go.linker, facts.go.functions, facts.go.cgo) == (None, None, None, None)
    assert "packed by upx" in facts.evidence["go.version"]


def test_upx_on_what_is_not_go(tmp_path: Path) -> None:
    shell = shutil.which("bash")
    assert shell is not None
    for path in (upx_packed(Path(shell).resolve(), tmp_path / "shell"), upx_for_windows()):
        facts = read_facts(path)
        assert (facts.packed, facts.language, facts.go) == ("upx", "generic", None)


def test_a_program_that_names_upx_is_not_packed(tmp_path: Path) -> None:
    """Unpackers hold the mark as a constant, behind the first page and with a section table."""
    content = build("hello").read_bytes() + b"UPX!"
    assert read_facts(read_container(content)).packed is None


@pytest.mark.matrix
def test_linkshared(tmp_path: Path) -> None:
    """The runtime in a shared library of its own; Go 1.21 without modules still builds that."""
    original = Path(go_tool("1.21.13", "env", "GOROOT").strip())
    root = Path(shutil.copytree(original, tmp_path / "go", copy_function=_link, ignore=_not_needed))
    for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
        directory.chmod(0o755)
    (tmp_path / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    environment = {**os.environ, "GOROOT": str(root), "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    for command in (["install", "-buildmode=shared", "runtime", "sync/atomic"], ["build", "-linkshared", "main.go"]):
        subprocess.run([root / "bin/go", *command], cwd=tmp_path, env=environment, check=True, capture_output=True)
    program = read_facts(tmp_path / "main")
    assert program.go is not None
    assert (program.go.linkshared, program.go.version) == (True, "1.21.13")
    assert any(name.startswith("libruntime") for name in program.needed)
    (library,) = root.glob("pkg/*_dynlink/libruntime*.so")
    shared = read_facts(library).go
    assert shared is not None
    assert (shared.build_mode, shared.linkshared) == ("shared", False)
    # Nothing is left out of it, so a function's name alone shows nothing.
    assert not any((shared.race, shared.msan, shared.asan, shared.cover, shared.plugin_capable))


def _link(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except OSError:
        shutil.copy2(source, to)


def _not_needed(directory: str, names: list[str]) -> set[str]:
    return {name for name in names if name in ("test", "testdata", "doc", "api", "misc")}


def test_a_moduledata_of_a_layout_not_known_yet() -> None:
    """One more word in its middle, as a later release may have."""
    path = build("hello")
    container = read_container(path.read_bytes())
    tables = read_tables(container)
    assert tables is not None
    at = container.offset_of(tables.module.address)
    assert at is not None
    content = bytearray(path.read_bytes())
    content[at + 24 * 8 : at + 52 * 8] = content[at + 25 * 8 : at + 53 * 8]
    facts = read_facts(read_container(bytes(content)))
    assert facts.language == "go"
    assert facts.go is not None
    assert (facts.go.pclntab, facts.go.functions) == (None, None)
    assert "layout that is not known yet" in facts.evidence["go.pclntab"]
    assert facts.go.version_source == "buildinfo"


def test_a_build_info_alone_is_no_go_program(tmp_path: Path) -> None:
    """Tools carry its magic, and some carry a whole one."""
    blob = b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\x08go1.26.8\0"
    numbers = ", ".join(map(str, blob))
    (tmp_path / "main.c").write_text(
        f"const unsigned char info[64] __attribute__((aligned(16))) = {{{numbers}}};\n"
        "const unsigned char *volatile used = info;\nint main(void) { return 0; }\n"
    )
    subprocess.run(["gcc", "-o", "app", "main.c"], cwd=tmp_path, check=True)
    container = open_container(tmp_path / "app")
    assert read_build_info(container) is not None
    facts = read_facts(container)
    assert (facts.go, facts.language) == (None, "c/c++")
