"""Go of other compilers: real gccgo programs; TinyGo by the marks that its sources say its programs have."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gobuild import MissingTool
from gotap.image.facts.reading import read_facts

SOURCE = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n'


@pytest.mark.parametrize(
    ("flags", "linkage", "inside"),
    [((), "dynamic", False), (("-static-libgo",), "dynamic", False), (("-static",), "static", True)],
)
@pytest.mark.parametrize("strip", [False, True])
def test_gccgo(flags: tuple[str, ...], linkage: str, inside: bool, strip: bool, tmp_path: Path) -> None:
    compiler = next((name for name in ("gccgo-12", "gccgo") if shutil.which(name)), None)
    if compiler is None:
        raise MissingTool("gccgo is not installed (Debian package gccgo-12)")
    (tmp_path / "main.go").write_text(SOURCE)
    path = tmp_path / "program"
    subprocess.run([compiler, "-g", *flags, "-o", path, tmp_path / "main.go"], check=True)
    if strip:
        subprocess.run(["strip", path], check=True)
    facts = read_facts(path)
    assert facts.language == "go"
    assert facts.go is not None
    assert facts.go.compiler == "gccgo"
    assert (facts.go.linkage, facts.go.linker, facts.go.libc, facts.go.libc_inside) == (
        linkage, "external", "glibc", inside,
    )  # fmt: skip
    assert facts.go.pclntab is None
    if not strip:
        release = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
        assert facts.go.version_text == f"GNU Go {release}"
        assert facts.go.version_source == "dwarf"


def test_gccgo_without_section_table(tmp_path: Path) -> None:
    compiler = next((name for name in ("gccgo-12", "gccgo") if shutil.which(name)), None)
    if compiler is None:
        raise MissingTool("gccgo is not installed (Debian package gccgo-12)")
    (tmp_path / "main.go").write_text(SOURCE)
    path = tmp_path / "program"
    subprocess.run([compiler, "-static", "-o", path, tmp_path / "main.go"], check=True)
    content = bytearray(path.read_bytes())
    content[40:48], content[58:64] = bytes(8), bytes(6)
    path.write_bytes(content)
    facts = read_facts(path)
    assert facts.go is not None
    assert facts.go.compiler == "gccgo"
    assert "libgo assertion failure" in facts.evidence["go.compiler"]


TINYGO = {
    "producer": ('__asm__(".section .debug_str,\\"MS\\",@progbits,1; .asciz \\"TinyGo\\"; .text");', "producer"),
    "symbol": ("void tinygo_scanCurrentStack(void) {}", "symbol tinygo_scanCurrentStack"),
    "text": ('const char *volatile message = "panic: runtime error at ";', "panic: runtime error at "),
}


@pytest.mark.parametrize("mark", TINYGO)
def test_tinygo(mark: str, tmp_path: Path) -> None:
    """No registry has TinyGo, so a C program wears its marks: its programs are what a C compiler's backend makes."""
    if shutil.which("musl-gcc") is None:
        raise MissingTool("musl-gcc is not installed (Debian package musl-tools)")
    code, evidence = TINYGO[mark]
    (tmp_path / "main.c").write_text(code + "\nint main(void) { return 0; }\n")
    subprocess.run(["musl-gcc", "-static", "-o", "program", "main.c"], cwd=tmp_path, check=True)
    facts = read_facts(tmp_path / "program")
    assert facts.go is not None
    assert (facts.language, facts.go.compiler) == ("go", "tinygo")
    assert evidence in facts.evidence["go.compiler"]
    assert (facts.go.version, facts.go.linkage) == (None, "static")


def test_plain_c_is_neither(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-static", "-g", "-o", "program", "main.c"], cwd=tmp_path, check=True)
    facts = read_facts(tmp_path / "program")
    assert (facts.go, facts.language) == (None, "c/c++")
