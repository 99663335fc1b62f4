"""A program built in a shadow GOROOT tells nothing of it, and plain builds afterwards are what they were."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gobuild import NEWEST, MissingTool
from gotap.weave.goroot import go_command, shadow_goroot
from gotap.weave.toolchain import Toolchain, find_toolchain
from weavecases import tree

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


def test_packages_are_those_of_the_users_go(toolchain: Toolchain, app: Path) -> None:
    """By patterns that name folders, too; and tests run where they would run."""
    root = shadow_goroot(toolchain, {"src/gotapextra/extra.go": EXTRA})
    for pattern in (["std"], ["cmd"], ["cmd/..."], ["net/..."]):
        plain, own = (listed(go, app, *pattern) for go in (toolchain.go, go_command(root)))
        assert own - {"gotapextra"} == plain
    assert len(listed(go_command(root), app, "net/http/internal/...")) > 2
    ran(app, go_command(root), "test", "-vet=off", "-run=TestImplicitPWD", "os/exec")


def listed(go: str | Path, app: Path, *patterns: str) -> set[str]:
    return set(ran(app, go, "list", *patterns).split())


def ran(app: Path, *words: str | Path) -> str:
    done = subprocess.run(words, cwd=app, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_folder_has_links_which_the_go_command_would_not_index(toolchain: Toolchain) -> None:
    root = shadow_goroot(toolchain, {"src/strings/strings.go": b"package strings\n"})
    source = Path(toolchain.goroot, "src")
    links = []
    for folder, folders, files in os.walk(root / "src"):
        there = source / Path(folder).relative_to(root / "src")
        assert sorted(os.listdir(there)) == sorted((*folders, *files))
        links += [name for name in (*folders, *files) if os.path.islink(os.path.join(folder, name))]
    assert links == ["cmd"]
    unlike = [name for name in ("strings/strings.go", "strings/reader.go")
              if (root / "src" / name).stat().st_mtime_ns != (source / name).stat().st_mtime_ns]  # fmt: skip
    assert unlike == ["strings/strings.go"]
    assert (source / "strings/strings.go").stat().st_size > 1000


FILES = ("src/go.mod", "src/a/a.go", "src/a/testdata/a.txt", "bin/go", "pkg/tool/x_y/link", "lib/z", "go.env",
         "src/cmd/a/a.go", "src/cmd/b.go")  # fmt: skip


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toolchain]:
    """A GOROOT with next to nothing in it, on another file system than the cache."""
    monkeypatch.setenv("GOTAP_CACHE", str(tmp_path / "gotap"))
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        raise MissingTool("there is no other file system at /dev/shm")
    with TemporaryDirectory(dir=memory) as name:
        goroot = Path(name)
        for path in FILES:
            file = goroot / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(path)
            os.utime(file, (10**9, 10**9))
        (goroot / "bin/go").chmod(0o755)
        (goroot / "src/linked").symlink_to("a")
        yield Toolchain("go", {"GOROOT": name, "GOVERSION": "go1.26.8", "GOTOOLDIR": f"{name}/pkg/tool/x_y",
                               "GOMODCACHE": f"{name}/mod"})  # fmt: skip


def test_where_files_cannot_be_linked_all_trees_share_a_copy(small: Toolchain) -> None:
    trees = [shadow_goroot(small, {"src/a/b.go": text}) for text in (b"one", b"two")]
    for root in trees:
        assert (root / "src/a/testdata/a.txt").read_text() == "src/a/testdata/a.txt"
        assert (root / "src/a/a.go").stat().st_mtime == 10**9
        assert (root / "src/linked").resolve() == Path(small.goroot, "src/a")
        assert os.access(go_command(root), os.X_OK)
        assert (root / "lib").readlink() == Path(small.goroot, "lib")
    for name in ("src/a/a.go", "bin/gotap-go"):
        one, other = ((root / name).stat() for root in trees)
        assert (one.st_ino, one.st_nlink) == (other.st_ino, 3)


def test_tools_may_change(small: Toolchain) -> None:
    root = shadow_goroot(small, {"src/cmd/a/a.go": b"other"})
    assert ((root / "src/cmd/a/a.go").read_bytes(), (root / "src/cmd/b.go").read_text()) == (b"other", "src/cmd/b.go")
    assert Path(small.goroot, "src/cmd/a/a.go").read_text() == "src/cmd/a/a.go"


def test_files_of_the_users_go_are_never_written(small: Toolchain) -> None:
    before = tree(Path(small.goroot))
    root = shadow_goroot(small, {"src/a/a.go": b"other", "go.env": b"A=b\n", "src/new/new.go": b"new"})
    assert (root / "src/a/a.go").read_bytes() == b"other"
    assert (root / "go.env").read_bytes() == b"A=b\n"
    assert tree(Path(small.goroot)) == before
