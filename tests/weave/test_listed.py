"""A listing is kept while it holds: what the go command would list now is what is given."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import moduleproxy
from gotap.weave import listed
from gotap.weave.arguments import CommandLine, parse
from gotap.weave.listed import packages_of
from gotap.weave.listing import Package, list_packages
from gotap.weave.toolchain import Toolchain, find_toolchain
from weavecases import module

MAIN = 'package main\n\nimport "example.com/app/inner"\n\nfunc main() { inner.F() }\n'
INNER = "package inner\n\nfunc F() {}\n"
LONG_AGO = 1_500_000_000


class Counted:
    """Lists, and tells how many times the go command was asked since the last time."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.asked = 0
        self.meanwhile: Callable[[], object] = lambda: None  # done while the go command is asked

        def counting(
            toolchain: Toolchain, line: CommandLine, directory: str, flags: Sequence[str] = ()
        ) -> list[Package]:
            self.asked += 1
            self.meanwhile()
            return list_packages(toolchain, line, directory, flags)

        monkeypatch.setattr(listed, "list_packages", counting)

    def __call__(self, *words: str) -> tuple[int, Sequence[Package]]:
        self.asked = 0
        toolchain, line = find_toolchain(str(self.folder)), parse(words or ("build", "./..."))
        self._settle()
        found = packages_of(toolchain, line, str(self.folder))
        asked = self.asked
        assert list(found) == list_packages(toolchain, line, str(self.folder))
        return asked, found


    def _settle(self) -> None:
        """Until the clock of files has gone on: what is written in the same tick may be written by somebody else."""
        last = max(path.stat().st_ctime_ns for path in [*self.folder.parent.rglob("*"), self.folder])
        while time.time_ns() - listed.TICK <= last:
            pass


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    monkeypatch.setenv("GOTAP_CACHE", str(tmp_path / "cache"))
    folder = module(tmp_path / "a b", {"main.go": MAIN, "inner/inner.go": INNER})
    for path in folder.rglob("*.go"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return Counted(folder, monkeypatch)


def _rewrite(path: str, text: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)

    return change


def test_what_has_not_changed_is_listed_once(program: Counted) -> None:
    assert program()[0] == 1
    assert program()[0] == 0
    assert program("build", ".")[0] == 1
    assert program("build", "-tags=x", "./...")[0] == 1
    assert program("test", "./...")[0] == 1
    assert program("test", "./...")[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        _rewrite("inner/inner.go", "package inner\n\nfunc F() { println(1) }\n"),
        _rewrite("main.go", MAIN + "\nfunc g() {}\n"),
        _rewrite("README.md", "a text"),
        _rewrite("testdata/x.go", "package x\n"),
    ],
)
def test_bodies_do_not_matter(program: Counted, change: Callable[[Path], object]) -> None:
    program()
    change(program.folder)
    assert program()[0] == 0
    assert program()[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        _rewrite("inner/inner.go", 'package inner\n\nimport "fmt"\n\nfunc F() { fmt.Println() }\n'),
        _rewrite("inner/inner.go", "package inner\n\n// Comment.\nimport _ `os`\n\nfunc F() {}\n"),
        _rewrite("inner/more.go", "package inner\n"),
        _rewrite("inner/inner_test.go", "package inner\n"),
        _rewrite("other/other.go", "package other\n"),
        _rewrite("other/deep/other.go", "package other\n"),
        _rewrite("go.mod", "module example.com/app\n\ngo 1.22\n"),
        lambda folder: (folder / "inner/inner.go").rename(folder / "inner/other.go"),
        lambda folder: (folder / "vendor").mkdir() or (folder / "vendor/modules.txt").write_text(""),
    ],
)
def test_what_decides_is_looked_at_again(program: Counted, change: Callable[[Path], object]) -> None:
    program()
    change(program.folder)
    assert program()[0] == 1
    assert program()[0] == 0


def test_constraints_that_let_a_package_in(program: Counted) -> None:
    module(program.folder, {"odd/odd.go": "//go:build ignore\n\npackage odd\n"})
    _, before = program()
    (program.folder / "odd/odd.go").write_text("//go:build linux\n\npackage odd\n")
    asked, after = program()
    assert asked == 1
    assert {one.path for one in after} - {one.path for one in before} == {"example.com/app/odd"}


def test_a_file_of_the_same_size_and_time(program: Counted) -> None:
    """Written twice at once: until a file is two seconds old its time says nothing."""
    path = program.folder / "inner/inner.go"
    path.write_text("package inner\n\nimport `os`\n\nvar _ = os.Args\n\nfunc F() {}\n")
    status = path.stat()
    program()
    path.write_text("package inner\n\nimport `fs`\n\nvar _ = fs.Args\n\nfunc F() {}\n".replace("fs", "io"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert program()[0] == 1


def test_modules_of_folders(program: Counted, tmp_path: Path) -> None:
    """What a replacement requires decides, too, be there packages of it or not."""
    other = module(tmp_path / "other", {"go.mod": "module example.com/other\n\ngo 1.21\n", "o.go": "package other\n"})
    text = "module example.com/app\n\ngo 1.21\n\nrequire example.com/other v0.0.0\n\n"
    module(program.folder, {"go.mod": text + "replace example.com/other => ../other\n"})
    program()
    assert program()[0] == 0
    (other / "go.mod").write_text("module example.com/other\n\ngo 1.20\n")
    assert program()[0] == 1


def test_a_go_mod_between_a_package_and_its_module(program: Counted) -> None:
    module(program.folder, {"a/b/b.go": "package b\n", "go.mod": "module example.com/app\n\ngo 1.21\n"})
    _, before = program()
    (program.folder / "a/go.mod").write_text("module example.com/app/a\n\ngo 1.21\n")
    asked, after = program()
    assert asked == 1
    assert len(after) == len(before) - 1


def test_a_cache_that_is_spoiled_or_cannot_be_written(program: Counted, tmp_path: Path) -> None:
    program()
    (kept,) = (tmp_path / "cache/listed").iterdir()
    kept.write_bytes(kept.read_bytes()[:-40])
    assert program()[0] == 1
    kept.unlink()
    kept.mkdir()
    assert program()[0] == 1


def test_an_overlay_of_the_users_is_not_kept(program: Counted, tmp_path: Path) -> None:
    (tmp_path / "overlay.json").write_text('{"Replace": {}}')
    for _ in range(2):
        assert program("build", f"-overlay={tmp_path / 'overlay.json'}", "./...")[0] == 1
    for _ in range(2):
        assert program("build", "example.com/app/...")[0] == 1


def test_what_is_saved_while_the_go_command_is_asked_is_not_taken_for_what_it_has_seen(program: Counted) -> None:
    """The file may be saved before the go command reads it, or behind."""
    inner = program.folder / "inner/inner.go"
    program.meanwhile = lambda: inner.write_text('package inner\n\nimport "fmt"\n\nfunc F() { fmt.Println() }\n')
    assert program()[0] == 1
    program.meanwhile = lambda: None
    assert program()[0] == 1
    assert program()[0] == 0


def test_modules_that_the_cache_has_lost(program: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, cache = tmp_path / "proxy", tmp_path / "mod"
    lib = {"go.mod": "module example.org/lib\n\ngo 1.21\n", "lib.go": "package lib\n"}
    moduleproxy.publish(proxy, "example.org/lib", "v1.0.0", lib)
    for name, value in moduleproxy.settings(proxy, cache).items():
        monkeypatch.setenv(name, value)
    text = 'package main\n\nimport _ "example.org/lib"\n\nfunc main() {}\n'
    mod = "module example.com/app\n\ngo 1.21\n\nrequire example.org/lib v1.0.0\n"
    module(program.folder, {"go.mod": mod, "main.go": text})
    subprocess.run(["go", "mod", "tidy"], cwd=program.folder, check=True, capture_output=True)
    program()
    assert program()[0] == 0
    shutil.rmtree(cache / "example.org")
    asked, found = program()
    assert asked == 1
    assert all(os.path.isdir(one.dir) for one in found)
