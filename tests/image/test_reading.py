"""Facts of Go programs: how they were put together, mode by mode, and what each fact rests on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from gobuild import NEWEST, OLDEST, build, every_version, go_tool
from gotap.image.containers.container import read_container
from gotap.image.errors import NotExecutable
from gotap.image.facts.model import Facts, GoFacts, ModuleFacts
from gotap.image.facts.reading import read_facts

# mode → (build_mode, linkage, linker, libc, libc_inside)
LINKING = {
    "plain": ("exe", "static", "internal", None, False),
    "stripped": ("exe", "static", "internal", None, False),
    "cgo0": ("exe", "static", "internal", None, False),
    "trimpath": ("exe", "static", "internal", None, False),
    "vendored": ("exe", "static", "internal", None, False),
    "pie": ("pie", "dynamic", "internal", None, False),
    "external": ("exe", "dynamic", "external", "glibc", False),
    "static_cgo": ("exe", "static", "external", "glibc", True),
    "musl": ("exe", "dynamic", "external", "musl", False),
}


def go_facts(path: Path) -> GoFacts:
    facts = read_facts(path)
    assert facts.language == "go"
    assert facts.go is not None
    check_evidence(facts)
    return facts.go


def check_evidence(facts: Facts) -> None:
    """Every fact has a line of evidence, whatever its value."""
    keys = {f"go.{key}" for key in GoFacts.__struct_fields__} if facts.go is not None else set()
    keys |= set(Facts.__struct_fields__) - {"go", "evidence"}
    assert keys == facts.evidence.keys()
    assert all(line and "\n" not in line for line in facts.evidence.values())


def linking(go: GoFacts) -> tuple[object, ...]:
    return go.build_mode, go.linkage, go.linker, go.libc, go.libc_inside


@pytest.mark.parametrize("go", every_version())
@pytest.mark.parametrize("mode", LINKING)
def test_linking(go: str, mode: str) -> None:
    found = go_facts(build("vendored" if mode == "vendored" else "hello", go, mode=mode))
    assert linking(found) == LINKING[mode]
    assert (found.trimpath, found.vendored) == (mode == "trimpath", mode == "vendored")
    assert found.cgo == (found.linker == "external")
    assert not any((found.race, found.msan, found.asan, found.cover, found.linkshared, found.plugin_capable))
    assert (found.compiler, found.version, found.version_text) == ("gc", go, f"go{go}")
    assert found.version_source == "buildinfo"


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_race_is_recognised(go: str) -> None:
    found = go_facts(build("hello", go, mode="race"))
    assert (found.race, found.cgo, found.libc) == (True, True, "glibc")


def test_static_pie() -> None:
    flags = ["-buildmode=pie", "-ldflags=-linkmode=external -extldflags=-static-pie"]
    found = go_facts(build("hello", mode="static_cgo", flags=flags))
    assert linking(found) == ("pie", "static", "external", "glibc", True)


def test_static_musl() -> None:
    path = build("hello", mode="musl", flags=["-ldflags=-linkmode=external -extldflags=-static"])
    assert linking(go_facts(path)) == ("exe", "static", "external", "musl", True)


def test_musl_by_the_internal_linker() -> None:
    """What the commercial agent's message is about."""
    found = go_facts(build("httpserver", mode="musl", flags=["-ldflags=-linkmode=internal"]))
    assert linking(found) == ("exe", "dynamic", "internal", "musl", False)
    assert found.cgo


@pytest.mark.parametrize("mode", ["c-shared", "plugin"])
def test_shared_objects(mode: str) -> None:
    found = go_facts(build("hello", mode="external", flags=[f"-buildmode={mode}"]))
    assert (found.build_mode, found.linkage, found.linker, found.cgo) == (mode, "dynamic", "external", True)
    assert found.trimpath is False


def test_c_archive_in_a_c_program(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example.com/archived\n\ngo 1.18\n")
    (tmp_path / "main.go").write_text(
        'package main\n\nimport "C"\n\n//export Run\nfunc Run() { println("hello") }\n\nfunc main() {}\n'
    )
    (tmp_path / "host.c").write_text("void Run(void);\nint main(void) { Run(); return 0; }\n")
    archive = build(tmp_path, mode="external", flags=["-buildmode=c-archive"])
    host = tmp_path / "host"
    subprocess.run(["gcc", "-o", host, tmp_path / "host.c", "-x", "none", archive, "-lpthread"], check=True)
    assert go_facts(host).build_mode == "c-archive"
    scrubbed = read_facts(read_container(without_build_info(host))).go
    assert scrubbed is not None
    assert scrubbed.build_mode == "c-archive"
    with pytest.raises(NotExecutable, match="archive"):
        read_facts(archive)


def without_build_info(path: Path) -> bytes:
    content = path.read_bytes()
    at = content.index(b"\xff Go buildinf:")
    return content[:at] + bytes(64) + content[at + 64 :]


@pytest.mark.parametrize("mode", ["plain", "pie", "external", "static_cgo"])
def test_linking_holds_without_build_info_symbols_and_section_table(mode: str, tmp_path: Path) -> None:
    content = bytearray(without_build_info(build("hello", mode=mode, flags=["-trimpath"])))
    content[40:48] = bytes(8)
    content[58:64] = bytes(6)
    (tmp_path / "bare").write_bytes(content)
    found = go_facts(tmp_path / "bare")
    assert linking(found) == LINKING[mode]
    assert (found.section_table, found.symtab, found.dwarf) == (False, False, False)
    assert found.settings == {}
    assert found.trimpath


def test_vendored_shows_in_file_names_when_the_build_info_is_gone() -> None:
    facts = read_facts(read_container(without_build_info(build("vendored", mode="vendored"))))
    assert facts.go is not None
    assert facts.go.vendored
    assert "/vendor/" in facts.evidence["go.vendored"]
    plain = read_facts(read_container(without_build_info(build("httpserver")))).go
    assert plain is not None
    assert plain.vendored is False


@pytest.mark.parametrize(("mode", "left"), [("plain", True), ("stripped", False), ("pie_stripped", False)])
def test_what_was_stripped(mode: str, left: bool) -> None:
    found = go_facts(build("hello", mode=mode))
    assert (found.symtab, found.dwarf, found.section_table) == (left, left, True)
    without = go_facts(build("hello", flags=["-ldflags=-w"]))
    assert (without.symtab, without.dwarf) == (True, False)


def test_modules_settings_and_build_id() -> None:
    path = build("hello")
    found = go_facts(path)
    assert found.module == ModuleFacts("example.com/hello", "(devel)")
    assert found.package == "example.com/hello"
    listed = dict(re.findall(r"^\tbuild\t([^=]+)=(.*)$", go_tool("", "version", "-m", str(path)), re.M))
    assert found.settings == {key: value.strip('"') for key, value in listed.items()}
    assert found.build_id == go_tool("", "tool", "buildid", str(path)).strip()


def test_gnu_build_id() -> None:
    path = build("hello", mode="external", flags=["-ldflags=-linkmode=external -buildid= -extldflags=-Wl,--build-id"])
    notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True).stdout
    gnu = re.search(r"Build ID: ([0-9a-f]+)", notes)
    assert gnu is not None
    assert go_facts(path).build_id == gnu[1]


@pytest.mark.parametrize("system", ["windows", "darwin"])
@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_other_systems(system: str, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOS", system)
    # The flag has no effect but to keep the systems' builds apart in the cache.
    path = build("hello", mode="cgo0", goarch=arch, flags=[f"-ldflags=-X=main.built={system}"])
    facts = read_facts(path)
    check_evidence(facts)
    assert (facts.format, facts.os, facts.arch) == ({"windows": "pe", "darwin": "macho"}[system], system, arch)
    assert facts.go is not None
    libc = "libSystem" if system == "darwin" else None
    assert linking(facts.go)[1:] == ("dynamic", "internal", libc, False)
    assert facts.go.build_mode == facts.go.settings["-buildmode"]
    assert (facts.go.cgo, facts.go.symtab, facts.go.dwarf) == (False, True, True)
    assert facts.go.build_id == go_tool("", "tool", "buildid", str(path)).strip()


@pytest.mark.parametrize("arch", ["386", "arm", "arm64", "ppc64le", "s390x", "riscv64", "mips64le", "loong64"])
def test_other_architectures(arch: str) -> None:
    facts = read_facts(build("hello", mode="cgo0", goarch=arch))
    assert (facts.arch, facts.big_endian) == (arch, arch == "s390x")
    assert facts.go is not None
    assert linking(facts.go) == LINKING["cgo0"]
    assert facts.evidence["go.linker"].endswith(f"is _rt0_{arch}_linux")
