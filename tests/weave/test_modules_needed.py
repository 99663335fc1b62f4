"""Rules whose text needs packages that go.mod lacks: versions come from the tool file, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from weavecases import go, module, run, tree

GO_MOD = "module example.com/app\n\ngo 1.21\n"
MAIN = """package main

import "fmt"

func main() { fmt.Println(hello()) }

func hello() string { return "plain" }
"""
TOOLS = '//go:build tools\n\npackage tools\n\nimport _ "github.com/BurntSushi/toml" // v1.3.2\n'
RULES = """aspects:
  - id: decodes
    join-point:
      all-of:
        - import-path: example.com/app
        - function-body:
            function:
              - name: hello
    advice:
      - prepend-statements:
          imports:
            toml: github.com/BurntSushi/toml
          template: |-
            var found struct{ A string }
            if toml.Unmarshal([]byte(`a = "needed"`), &found) == nil { return found.A }
"""
FILES = {"go.mod": GO_MOD, "main.go": MAIN, "gotap.tool.go": TOOLS, "gotap.yaml": RULES}


@pytest.mark.parametrize("version", ["1.21.13", "1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in
                                     ("1.22.12", "1.23.12", "1.24.13", "1.25.10", "1.27.4"))])  # fmt: skip
def test_versions_come_from_the_tool_file(version: str, tmp_path: Path) -> None:
    app = module(tmp_path / "app", FILES)
    before = tree(app)
    program = tmp_path / "woven"
    for flags in ([], ["-mod=mod"]):
        done = go(app, "build", *flags, "-o", str(program), ".", GOTOOLCHAIN=f"go{version}")
        assert done.code == 0, done.err
        assert run(program).out == "needed\n"
    assert tree(app) == before
    told = go(app, "version", "-m", str(program), woven=False).out
    assert "dep\tgithub.com/BurntSushi/toml\tv1.3.2\th1:o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8=\n" in told
    assert "=>" not in told


def test_rules_of_modules_that_only_the_tool_file_names(tmp_path: Path) -> None:
    """These rules weave what their module brings, too."""
    rules = RULES.replace("example.com/app", "github.com/BurntSushi/toml").replace("name: hello", "name: Unmarshal")
    rules = rules.partition("          imports:")[0] + '          template: println("inside")\n'
    app = module(tmp_path / "app", {**FILES, "gotap.yaml": RULES + rules.removeprefix("aspects:\n").replace(
        "id: decodes", "id: tells")})  # fmt: skip
    before = tree(app)
    done = go(app, "run", ".")
    assert (done.code, done.out, done.err) == (0, "needed\n", "inside\n")
    assert tree(app) == before


@pytest.mark.parametrize("version", [pytest.param("1.22.12", marks=pytest.mark.matrix), "1.26.8"])
def test_workspaces(version: str, tmp_path: Path) -> None:
    top = module(tmp_path / "top", {
        **{f"app/{name}": text.replace("go 1.21", "go 1.22") for name, text in FILES.items()},
        "app/main.go": MAIN.replace('"fmt"', '"fmt"\nimport _ "example.com/lib"'), "go.mod": GO_MOD,
        "lib/go.mod": "module example.com/lib\n\ngo 1.22\n", "lib/lib.go": "package lib\n",
        "go.work": "go 1.22\n\nuse (\n\t./app\n\t./lib\n)\n",
    })  # fmt: skip
    before = tree(top)
    for folder, package in ((top / "app", "."), (top, "./app")):
        done = go(folder, "run", package, GOTOOLCHAIN=f"go{version}")
        assert (done.code, done.out) == (0, "needed\n"), done.err
    assert tree(top) == before


def test_what_no_module_has_is_named_with_the_rule(tmp_path: Path) -> None:
    files = {**FILES, "gotap.tool.go": "//go:build tools\n\npackage tools\n"}
    app = module(tmp_path / "app", files)
    before = tree(app)
    done = go(app, "build", ".")
    assert done.code == 1
    told = "decodes: its text needs the package github.com/BurntSushi/toml, which no module of this build has"
    assert told in done.err
    assert "`go get github.com/BurntSushi/toml`" in done.err
    assert tree(app) == before


def test_what_a_vendored_build_lacks_is_named_with_the_rule_and_the_module(tmp_path: Path) -> None:
    required = GO_MOD + "\nrequire github.com/BurntSushi/toml v1.3.2\n"
    app = module(tmp_path / "app", {
        **FILES, "go.mod": required, "gotap.tool.go": "//go:build tools\n\npackage tools\n",
        "vendor/modules.txt": "# github.com/BurntSushi/toml v1.3.2\n## explicit; go 1.16\n",
    })  # fmt: skip
    for flags in ([], ["-mod=vendor"]):
        done = go(app, "build", *flags, ".")
        assert done.code == 1
        named = "github.com/BurntSushi/toml (module github.com/BurntSushi/toml), which vendor/ does not have"
        assert f"decodes: its text needs the package {named}" in done.err


def test_versions_that_there_are_not_are_named_with_the_file(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {**FILES, "gotap.tool.go": TOOLS.replace("v1.3.2", "v1.3.99")})
    done = go(app, "build", ".")
    assert done.code == 1
    assert "github.com/BurntSushi/toml@v1.3.99" in done.err
    assert "tool file" in done.err


NEWER = TOOLS.replace('github.com/BurntSushi/toml" // v1.3.2', 'golang.org/x/text/cases" // v0.24.0')
FOLDS = RULES.replace("toml: github.com/BurntSushi/toml", "cases: golang.org/x/text/cases").partition("template:")[0]


def test_modules_that_need_a_newer_language_than_loops_are_written_in(tmp_path: Path) -> None:
    """The build's go.mod would say `go 1.23`, and the program's loops would mean something else."""
    rules = FOLDS + "template: _ = cases.Fold()\n"
    app = module(tmp_path / "app", {**FILES, "gotap.tool.go": NEWER, "gotap.yaml": rules})
    done = go(app, "build", ".")
    assert done.code == 1
    assert "golang.org/x/text/cases@v0.24.0: go.mod would have to say `go 1.23.0`" in done.err
    assert "`go mod edit -go=1.23.0`" in done.err


def test_modules_that_need_a_newer_go_do_not_change_its_settings(tmp_path: Path) -> None:
    rules = FOLDS + "template: _ = cases.Fold()\n"
    files = {**FILES, "go.mod": GO_MOD.replace("1.21", "1.22"), "gotap.tool.go": NEWER, "gotap.yaml": rules}
    app = module(tmp_path / "app", files)
    told = []
    for woven in (False, True):
        done = go(app, "build", "-o", str(tmp_path / "program"), ".", woven=woven)
        assert done.code == 0, done.err
        lines = go(app, "version", "-m", str(tmp_path / "program"), woven=False).out.splitlines()
        told.append([line for line in lines if "DefaultGODEBUG" in line])
    assert told[0] == told[1]
    assert len(told[0]) == 1
