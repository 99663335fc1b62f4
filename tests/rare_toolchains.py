"""Go as few machines have it: gccgo, installed or unpacked from Debian's packages into the tests' cache; and a runtime
in a shared library.

TinyGo is in no registry that these tests may ask (Debian, PyPI, npm, the Go module proxy): its programs are recognised
by marks that test_other_compilers.py puts on C programs. garble and UPX are in packers.py, Go before 1.18 in oldgo.py.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from debian import unpacked
from gobuild import BuildFailed, MissingTool, go_tool

_GCCGO = "gccgo-12"
#: What gccgo-12 needs beyond gcc-12.
_PACKAGES = (_GCCGO, "libgo-12-dev", "libgo21")


def gccgo_build(main: Path, executable: Path) -> Path:
    """Compiles one main.go; libgo is linked in, so that the program runs without it. Raises MissingTool."""
    command = [*_gccgo(), "-g", "-static-libgo", "-o", str(executable), str(main)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return executable


@functools.cache
def _gccgo() -> tuple[str, ...]:
    """The command with the options that it needs where it lies."""
    if shutil.which(_GCCGO):
        return (_GCCGO,)
    if shutil.which("gcc-12") is None:
        raise MissingTool("neither gccgo-12 nor gcc-12, which it builds on, is installed (Debian package gccgo-12)")
    root = unpacked(*_PACKAGES)
    machine = subprocess.run(["gcc-12", "-dumpmachine"], capture_output=True, text=True, check=True).stdout.strip()
    library = root / "usr/lib/gcc" / machine / "12"
    packages = root / "usr/lib" / machine / "go/12"
    parts = (f"-B{library}", f"-B/usr/lib/gcc/{machine}/12", f"-L{library}")
    return str(root / f"usr/bin/{machine}-{_GCCGO}"), *parts, f"-I{packages / machine}", f"-I{packages}"


def linked_against_shared_runtime(main: Path, go: str, directory: Path) -> Path:
    """Builds one main.go with -linkshared in an empty directory; the executable finds the library there.

    Such libraries are written into GOROOT, so it is a copy, of links where they can be made.
    """
    original = Path(go_tool(go, "env", "GOROOT").strip())
    root = Path(shutil.copytree(original, directory / "go", copy_function=_link, ignore=_left_out))
    for path in (root, *(path for path in root.rglob("*") if path.is_dir())):
        path.chmod(0o755)  # the module cache is read-only
    source = directory / "src/example.com" / main.parent.name  # the module's path, which is the package's here
    shutil.copytree(main.parent, source, ignore=shutil.ignore_patterns("go.mod"))
    environment = {
        **os.environ, "GOROOT": str(root), "GO111MODULE": "off", "GOPATH": str(directory), "GOTOOLCHAIN": "local",
        "GOFLAGS": "", "CGO_ENABLED": "1",
    }  # fmt: skip
    for words in (("install", "-buildmode=shared", "runtime", "sync/atomic"), ("build", "-linkshared")):
        done = subprocess.run([root / "bin/go", *words], cwd=source, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise BuildFailed(f"go {' '.join(words)}:\n{done.stderr}")
    return source / main.parent.name


def _link(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except OSError:  # another file system
        shutil.copy2(source, to)


def _left_out(directory: str, names: list[str]) -> set[str]:
    return {"test", "api", "doc"} & set(names) if Path(directory, "VERSION").exists() else set()
