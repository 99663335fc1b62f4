"""Programs at versions: `gotap go install PACKAGE@VERSION` and `gotap go run PACKAGE@VERSION`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gobuild import go_tool
from gotap.weave.arguments import parse
from gotap.weave.versions import version_of
from moduleproxy import publish, settings
from otlp_server import collector
from weavecases import Done, go, module, run, spans, tree

LIB = """package lib

//gotap:span name:greet
func Greet(name string) string { return "hello " + name }
"""
MAIN = """package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"example.org/lib"
)

//gotap:span
func work() { fmt.Println(lib.Greet(fmt.Sprint(os.Args[1:]))) }

func main() {
	work()
	_, file, line, _ := runtime.Caller(0)
	info, _ := debug.ReadBuildInfo()
	fmt.Println(file, line)
	fmt.Println(info)
	folder, _ := os.Getwd()
	fmt.Println(folder)
	for _, name := range []string{"GOWORK", "GOFLAGS", "GOMODCACHE", "GOROOT", "GOTOOLCHAIN"} {
		value, is := os.LookupEnv(name)
		fmt.Println(name, value, is)
	}
	if len(os.Args) == 1 {
		os.Exit(3)
	}
}
"""
#: database/sql is woven, and nothing of any module.
STANDARD = """package main

import "database/sql"

func main() { println(len(sql.Drivers())) }
"""
SQL_AND_RUNTIME = '(\n\t_ "database/sql"\n\t"runtime"\n)'
SPAN = 'package main\n\nimport "runtime"\n\n//gotap:span\nfunc main() { println(runtime.Version()) }\n'
#: Its text needs a module that go.mod lacks.
RULES = """aspects:
  - id: greets
    join-point:
      all-of:
        - import-path: example.org/ruled
        - function-body:
            function:
              - name: main
    advice:
      - prepend-statements:
          imports:
            lib: example.org/lib
          template: println(lib.Greet("you"))
"""
RULED = {
    "go.mod": "module example.org/ruled\n\ngo 1.21\n",
    "main.go": "package main\n\nfunc main() { println(1) }\n",
    "gotap.yaml": RULES,
    "gotap.tool.go": '//go:build tools\n\npackage tools\n\nimport _ "example.org/lib" // v1.0.0\n',
}
TOOL_MOD = "module example.org/tool\n\ngo 1.20\n\nrequire example.org/lib v1.0.0\n"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("proxy ä")
    publish(folder, "example.org/lib", "v1.0.0", {"go.mod": "module example.org/lib\n\ngo 1.20\n", "lib.go": LIB})
    library = "package other\n"
    files = {"main.go": MAIN, "cmd/standard/main.go": STANDARD, "other/other.go": library}
    publish(folder, "example.org/tool", "v1.0.0", {"go.mod": TOOL_MOD, **files})
    publish(folder, "example.org/tool", "v1.1.0", {"go.mod": TOOL_MOD, **files})
    newer = "module example.org/newer\n\ngo 1.27.0\n"
    version = STANDARD.replace("len(sql.Drivers())", "runtime.Version()").replace('"database/sql"', SQL_AND_RUNTIME)
    publish(folder, "example.org/newer", "v1.0.0", {"go.mod": newer, "main.go": version, "span/main.go": SPAN})
    publish(folder, "example.org/ruled", "v1.0.0", RULED)
    replaced = TOOL_MOD.replace("tool", "replaced") + "\nreplace example.org/lib => example.org/lib v1.0.0\n"
    publish(folder, "example.org/replaced", "v1.0.0", {"go.mod": replaced, "main.go": MAIN})
    return settings(folder, tmp_path_factory.mktemp("modules"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder whose module does not count, nor do its rules."""
    text = "module example.com/elsewhere\n\ngo 1.20\n\nreplace example.org/lib => ./nowhere\n"
    return module(tmp_path / "elsewhere", {"go.mod": text, "gotap.yaml": "nothing of rules"})


@pytest.fixture(params=["1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in
                                    ("1.21.13", "1.22.12", "1.23.12", "1.27.4"))])  # fmt: skip
def release(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A go command of that release, which needs no other module cache than the one that it is told."""
    monkeypatch.setenv("PATH", f"{go_tool(request.param, 'env', 'GOROOT').strip()}/bin:{os.environ['PATH']}")
    return str(request.param)


def installed(elsewhere: Path, name: str, package: str, proxied: dict[str, str]) -> tuple[Path, Path]:
    """The plain program and the woven one."""
    programs = elsewhere.parent / "plain" / name, elsewhere.parent / "woven" / name
    before = tree(elsewhere)
    for path, woven in zip(programs, (False, True), strict=True):
        done = go(elsewhere, "install", package, woven=woven, **proxied, GOBIN=str(path.parent))
        assert done.code == 0, done.err
    assert tree(elsewhere) == before
    return programs


def modules_of(program: Path) -> str:
    told = subprocess.run(["go", "version", "-m", str(program)], capture_output=True, text=True, check=True).stdout
    return told.removeprefix(str(program))


@pytest.mark.usefixtures("release")
def test_programs_are_woven_and_tell_what_they_tell_plain(elsewhere: Path, proxied: dict[str, str]) -> None:
    """By functions of their module, and of others."""
    plain, woven = installed(elsewhere, "tool", "example.org/tool@v1.0.0", proxied)
    assert modules_of(plain) == modules_of(woven)
    assert "mod\texample.org/tool\tv1.0.0\th1:" in modules_of(woven)
    with collector() as otlp:
        told = run(woven, "you", to=otlp)
    assert (told.code, told.out) == (0, run(plain, "you").out)
    assert sorted(one.name for one in spans(otlp)) == ["greet", "main.work"]


@pytest.mark.usefixtures("release")
def test_where_only_the_standard_library_is_woven(elsewhere: Path, proxied: dict[str, str]) -> None:
    plain, woven = installed(elsewhere, "standard", "example.org/tool/cmd/standard@latest", proxied)
    assert modules_of(plain) == modules_of(woven)
    assert "mod\texample.org/tool\tv1.1.0\th1:" in modules_of(woven)
    assert b"gotaprt" in woven.read_bytes()
    assert b"gotaprt" not in plain.read_bytes()


@pytest.mark.usefixtures("release")
def test_programs_that_are_run_find_what_they_find_plain(elsewhere: Path, proxied: dict[str, str]) -> None:
    """Where they run, with which arguments and environment; and their exit code is told."""
    for words in (["a", "b@c"], []):
        plain, woven = (
            go(elsewhere, "run", "-mod=mod", "example.org/tool@v1.1", *words, woven=one, **proxied, GOWORK="off")
            for one in (False, True)
        )
        assert woven.out == plain.out
        assert (woven.code, woven.err) == (plain.code, _without_progress(plain))


def _without_progress(done: Done) -> str:
    return "".join(line for line in done.err.splitlines(keepends=True) if not line.startswith("go: downloading"))


@pytest.mark.usefixtures("release")
def test_rules_are_those_of_the_module(elsewhere: Path, proxied: dict[str, str]) -> None:
    """And what their text needs comes in the version that its tool file says."""
    done = go(elsewhere, "run", "example.org/ruled@v1.0.0", **proxied)
    assert (done.code, done.out, done.err) == (0, "", "hello you\n1\n")


@pytest.mark.parametrize("package", ["newer", pytest.param("newer/span", marks=pytest.mark.matrix)])
def test_modules_that_want_a_newer_go(
    package: str, elsewhere: Path, proxied: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found as it is found plain: here, on the PATH."""
    found = elsewhere.parent / "found"
    found.mkdir()
    (found / "go1.27.4").symlink_to(f"{go_tool('1.27.4', 'env', 'GOROOT').strip()}/bin/go")
    monkeypatch.setenv("PATH", f"{go_tool('1.26.8', 'env', 'GOROOT').strip()}/bin:{found}:{os.environ['PATH']}")
    settings = {**proxied, "GOTOOLCHAIN": "local+path", "GOBIN": str(found)}
    plain = go(elsewhere, "run", f"example.org/{package}@v1.0.0", woven=False, **settings)
    assert (plain.code, plain.err.splitlines()[-1]) == (0, "go1.27.4")
    woven = go(elsewhere, "run", f"example.org/{package}@v1.0.0", **settings)
    assert (woven.code, woven.err) == (0, "go1.27.4\n")
    assert go(elsewhere, "install", f"example.org/{package}@v1.0.0", **settings).code == 0
    assert b"gotaprt" in (found / package.rpartition("/")[2]).read_bytes()


def test_all_programs_of_a_module(elsewhere: Path, proxied: dict[str, str]) -> None:
    folder = elsewhere.parent / "bin"
    done = go(elsewhere, "install", "-trimpath", "example.org/tool/...@v1", **proxied, GOBIN=str(folder))
    assert (done.code, done.err) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["standard", "tool"]


@pytest.mark.parametrize("words", [
    ("example.org/replaced@v1.0.0",), ("example.org/tool/other@v1.0.0",), ("example.org/tool@v1.0.0", "./other"),
    ("example.org/tool@v1.0.0", "example.org/lib@v1.0.0"), ("-modfile=x.mod", "example.org/tool@v1.0.0"),
    ("example.org/tool@v9.9.9",), ("example.org/nowhere@latest",), ("example.org/tool@",),
])  # fmt: skip
def test_what_go_refuses_is_refused(words: tuple[str, ...], elsewhere: Path, proxied: dict[str, str]) -> None:
    """In its own words."""
    plain, woven = (go(elsewhere, "install", *words, woven=one, **proxied) for one in (False, True))
    assert plain.code == woven.code == 1
    said = _without_progress(plain).removeprefix("go: ").strip()
    assert said.rpartition(": ")[2] in woven.err


def test_a_second_time_nothing_is_resolved(elsewhere: Path, proxied: dict[str, str]) -> None:
    words = ["install", "example.org/tool@v1.0.0"]
    folder = str(elsewhere.parent / "bin")
    assert go(elsewhere, *words, **proxied, GOBIN=folder).code == 0
    done = go(elsewhere, *words, **{**proxied, "GOPROXY": "off"}, GOBIN=folder)
    assert (done.code, done.err) == (0, "")


def test_an_overlay_is_refused(elsewhere: Path, proxied: dict[str, str]) -> None:
    done = go(elsewhere, "install", "-overlay=x.json", "example.org/tool@v1.0.0", **proxied)
    assert done.code == 1
    assert "-overlay is not woven together with @v1.0.0" in done.err


@pytest.mark.parametrize(("words", "version"), [
    ("install a.b/c@v1 d", "v1"), ("install -race -- a.b/c@latest", "latest"), ("run a.b/c@main x", "main"),
    ("run x.go y@z", None), ("run . y@z", None), ("run ./a@b", None), ("install ./a@b /c@d", None), ("build a@b", None),
    ("run -exec e@f .", None), ("install", None), ("install a.b/c@", ""),
])  # fmt: skip
def test_which_commands_name_a_version(words: str, version: str | None) -> None:
    assert version_of(parse(words.split())) == version
