"""A program built in a shadow GOROOT tells nothing of it, and plain builds afterwards are what they were."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gobuild import NEWEST
from gotap.weave.goroot import go_command, shadow_goroot
from gotap.weave.toolchain import Toolchain, find_toolchain

PROGRAM = """package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

func main() {
	_, file, line, _ := runtime.Caller(0)
	fmt.Println(file, line, runtime.GOROOT(), len(os.Args))
	strings.Repeat("x", -1)
}
"""
EXTRA = b"package gotapextra\n\nfunc Say() string { return \"from the extra package\" }\n"


@pytest.fixture(params=["1.21.13", pytest.param("1.24.13", marks=pytest.mark.matrix), NEWEST])
def toolchain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Toolchain:
    monkeypatch.setenv("GOTOOLCHAIN", f"go{request.param}")
    monkeypatch.setenv("GOTAP_CACHE", str(tmp_path / "gotap"))
    monkeypatch.setenv("GOFLAGS", "-buildvcs=false")
    monkeypatch.delenv("GOROOT", raising=False)
    return find_toolchain(str(tmp_path))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.com/app\n\ngo 1.21\n")
    (folder / "main.go").write_text(PROGRAM)
    return folder


def build(go: str | Path, app: Path, name: str, *flags: str) -> Path:
    path = app.parent / name
    subprocess.run([go, "build", *flags, "-o", path, "."], cwd=app, check=True, env={**os.environ, "GOPROXY": "off"})
    return path


def said(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, env={"PATH": ""}).stderr


def test_a_program_tells_nothing_of_the_tree(toolchain: Toolchain, app: Path) -> None:
    """Neither in its bytes nor when it panics; and the cache that both share is not spoilt."""
    before = build(toolchain.go, app, "before").read_bytes()
    root = shadow_goroot(toolchain, {"src/gotapextra/extra.go": EXTRA})
    both = [build(go, app, "same", "-ldflags=-buildid=").read_bytes() for go in (toolchain.go, go_command(root))]
    assert both[0] == both[1], "but for the build id, in which the go command has GOROOT"
    (app / "extra.go").write_text('package main\n\nimport "gotapextra"\n\nfunc init() { println(gotapextra.Say()) }\n')
    program = build(go_command(root), app, "other", "-a")
    assert str(root).encode() not in program.read_bytes()
    lines = said(program).splitlines()
    assert lines[0] == "from the extra package"
    assert f"\t{toolchain.goroot}/src/strings/strings.go:" in "\n".join(lines)
    (app / "extra.go").unlink()
    assert build(toolchain.go, app, "after").read_bytes() == before


def test_changed_files_of_the_standard_library(toolchain: Toolchain, app: Path) -> None:
    name = "src/strings/strings.go"
    source = (Path(toolchain.goroot) / name).read_bytes()
    changed = source.replace(b'panic("strings: negative Repeat count")', b'panic("woven")')
    changed = changed.replace(b'errors.New("strings: negative Repeat count")', b'errors.New("woven")')
    assert changed != source
    root = shadow_goroot(toolchain, {name: changed})
    assert "panic: woven" in said(build(go_command(root), app, "woven"))
    assert "negative Repeat count" in said(build(toolchain.go, app, "plain"))


def test_a_tree_is_made_once_and_another_one_for_other_content(toolchain: Toolchain) -> None:
    one = shadow_goroot(toolchain, {"src/gotapextra/extra.go": EXTRA})
    assert shadow_goroot(toolchain, {"src/gotapextra/extra.go": EXTRA}) == one
    other = shadow_goroot(toolchain, {"src/gotapextra/extra.go": EXTRA + b"\n"})
    assert other != one
    times = {(root / "src/gotapextra/extra.go").stat().st_mtime_ns for root in (one, other)}
    assert len(times) == 2, "the go command's index of a folder is keyed by its files' times"
    assert sorted(path.name for path in one.parent.iterdir()) == sorted((one.name, other.name))
