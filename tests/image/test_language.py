"""Languages of executables, by content: real runtimes where the machine has them, under other names."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from debian import unpacked
from gobuild import MissingTool
from gotap.image.containers.container import open_container
from gotap.image.facts.language import language_of


def language(path: Path | str) -> str:
    found = language_of(open_container(path))
    assert found.evidence
    return found.value


def installed(command: str, package: str) -> Path:
    path = shutil.which(command)
    if path is None:
        raise MissingTool(f"{command} is not installed (Debian package {package})")
    return Path(path).resolve()


def unless_installed(command: str, package: str) -> Path:
    """Where it is, else where its package was unpacked for this test: looking at a file needs no libraries."""
    if path := shutil.which(command):
        return Path(path).resolve()
    return next((unpacked(package) / "usr/bin").glob(f"{command}*"))


def renamed(path: Path, to: Path) -> Path:
    """The same file called `app`."""
    (to / "app").symlink_to(path)
    return to / "app"


def test_this_python(tmp_path: Path) -> None:
    assert language(renamed(Path(sys.executable).resolve(), tmp_path)) == "python"


@pytest.mark.parametrize(
    ("command", "package", "expected"),
    [
        ("java", "default-jre-headless", "java"),
        ("node", "nodejs", "nodejs"),
        ("ruby", "ruby3.1", "ruby"),
        ("php", "php8.2-cli", "php"),
        ("mono-sgen", "mono-runtime-sgen", "dotnet"),
        ("bash", "bash", "c/c++"),
    ],
)
def test_runtimes(command: str, package: str, expected: str, tmp_path: Path) -> None:
    path = unless_installed(command, package)
    if path.read_bytes()[:2] == b"#!":
        raise MissingTool(f"{command} is a script here, not the runtime itself")
    assert language(renamed(path, tmp_path)) == expected


def test_a_debugger_that_embeds_python_is_no_python() -> None:
    assert language(installed("gdb", "gdb")) == "c/c++"


@pytest.mark.parametrize("flags", [(), ("-Cstrip=symbols",), ("-Ctarget-feature=+crt-static",)])
def test_rust(flags: tuple[str, ...], tmp_path: Path) -> None:
    installed("rustc", "rustc")
    (tmp_path / "main.rs").write_text('fn main() { println!("{}", std::env::args().nth(1).unwrap()); }\n')
    done = subprocess.run(["rustc", *flags, "-o", "app", "main.rs"], cwd=tmp_path, capture_output=True, text=True)
    if done.returncode:
        raise MissingTool(f"rustc cannot build here: {done.stderr.strip()[:200]}")
    assert language(tmp_path / "app") == "rust"


def compiled(directory: Path, code: str, *flags: str, compiler: str = "gcc") -> Path:
    installed(compiler, {"musl-gcc": "musl-tools"}.get(compiler, compiler))
    (directory / "main.c").write_text(code)
    subprocess.run([compiler, *flags, "-o", "app", "main.c"], cwd=directory, check=True)
    return directory / "app"


PLAIN = "int main(void) { return 0; }\n"


@pytest.mark.parametrize("flags", [(), ("-static",), ("-static-pie",), ("-s",), ("-static", "-s")])
def test_c(flags: tuple[str, ...], tmp_path: Path) -> None:
    assert language(compiled(tmp_path, PLAIN, *flags)) == "c/c++"


@pytest.mark.parametrize("flags", [(), ("-static", "-s")])
def test_c_with_musl(flags: tuple[str, ...], tmp_path: Path) -> None:
    assert language(compiled(tmp_path, PLAIN, *flags, compiler="musl-gcc")) == "c/c++"


def test_a_program_without_any_library_is_generic(tmp_path: Path) -> None:
    path = compiled(tmp_path, "void _start(void) { for (;;) {} }\n", "-nostdlib", "-static", "-s", "-fno-ident")
    assert language(path) == "generic"


TEXTS = {
    "java": "com.oracle.svm.core",
    "nodejs": "NODE_REPL_EXTERNAL_MODULE",
    "dotnet": "System.Private.CoreLib",
    "php": "PHP_INI_SCAN_DIR",
    "ruby": "RUBYOPT",
    "python": "PYTHONSTARTUP",
}


@pytest.mark.parametrize("expected", TEXTS)
@pytest.mark.parametrize("one_segment", [False, True])
def test_static_and_stripped_runtimes_keep_their_texts(expected: str, one_segment: bool, tmp_path: Path) -> None:
    """A C program with that text stands for them; older linkers put constants and code into one segment."""
    code = f'const char *volatile text = "{TEXTS[expected]}";\n' + PLAIN
    flags = ["-Wl,-z,noseparate-code"] if one_segment else []
    assert language(compiled(tmp_path, code, "-static", "-s", *flags)) == expected


def test_dotnet_bundles_are_told_by_their_stamp(tmp_path: Path) -> None:
    """It is the SHA-256 of a text that the .NET sources name."""
    stamp = "".join(f"\\x{byte:02x}" for byte in hashlib.sha256(b".net core bundle\n").digest())
    code = f'const char *volatile stamp = "{stamp}";\n' + PLAIN
    assert language(compiled(tmp_path, code, "-s")) == "dotnet"
