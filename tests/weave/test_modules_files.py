"""Packages of the module cache that are more than Go: assembler, C, embedded files, files for some systems only."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from gobuild import MissingTool
from moduleproxy import publish, settings
from weavecases import go, module, run, tree

GO_MOD = "module example.org/mixed\n\ngo 1.20\n"
ASSEMBLER = {
    "asm/sum.go": """package asm

const step = 1

type pair struct{ first, second uint64 }

// Sum adds, and Go adds again.
func Sum(a, b uint64) uint64 { return sum(&pair{a, b}) }

func twice(n uint64) uint64 { return 2 * n }
""",
    "asm/sum_amd64.go": "package asm\n\nfunc sum(p *pair) uint64\n",
    "asm/sum_other.go": "//go:build !amd64\n\npackage asm\n\n"
    "func sum(p *pair) uint64 { return twice(p.first + p.second + step) }\n",
    "asm/names.h": "#define ARGUMENT p+0(FP)\n",
    "asm/sum_amd64.s": """#include "textflag.h"
#include "funcdata.h"
#include "go_asm.h"
#include "names.h"

TEXT ·sum(SB), NOSPLIT, $16-16
	NO_LOCAL_POINTERS
	MOVQ ARGUMENT, AX
	MOVQ pair_first(AX), BX
	ADDQ pair_second(AX), BX
	ADDQ $const_step, BX
	MOVQ BX, 0(SP)
	CALL ·twice(SB)
	MOVQ 8(SP), AX
	MOVQ AX, ret+8(FP)
	RET
""",
    "asm/sum_test.go": """package asm

import "testing"

func TestSum(t *testing.T) {
	if got := Sum(1, 2); got != 8 {
		t.Fatal(got)
	}
}
""",
}
EMBEDDED = {
    "embedded/read.go": """package embedded

import "embed"

//go:embed texts/*.txt
var texts embed.FS

//go:embed texts/ü.txt
var one string

func Read() string {
	data, err := texts.ReadFile("texts/b.txt")
	if err != nil {
		panic(err)
	}
	return one + string(data)
}
""",
    "embedded/texts/ü.txt": "first ",
    "embedded/texts/b.txt": "second",
}
C = {
    "c/call.go": """//go:build cgo

package c

/*
#cgo CFLAGS: -DFACTOR=3
#include "own.h"
extern int back(int);
static inline int inlined(int n) { return through(n, back); }
*/
import "C"

// Times multiplies in C, which calls Go.
func Times(n int) int { return int(C.inlined(C.int(n))) }

//export back
func back(n C.int) C.int { return n + 1 }
""",
    "c/plain.go": "//go:build !cgo\n\npackage c\n\nfunc Times(n int) int { return 3 * (n + 1) }\n",
    "c/own.h": "int through(int n, int (*call)(int));\n",
    "c/own.c": '//go:build cgo\n\n#include "own.h"\n\n'
    "int through(int n, int (*call)(int)) { return FACTOR * call(n); }\n",
}
MAIN = """package main

import (
	"fmt"

	"example.org/mixed/asm"
	"example.org/mixed/c"
	"example.org/mixed/embedded"
)

func main() { fmt.Println(asm.Sum(1, 2), embedded.Read(), c.Times(4)) }
"""
RULE = """
  - id: in {package}.{function}
    join-point:
      all-of:
        - import-path: example.org/mixed/{package}
        - function-body:
            function:
              - name: {function}
    advice:
      - prepend-statements:
          template: 'println("woven {function}")'
"""
WOVEN = (("asm", "Sum"), ("asm", "twice"), ("embedded", "Read"), ("c", "Times"), ("c", "back"))
RULES = "aspects:" + "".join(RULE.format(package=one, function=name) for one, name in WOVEN)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("proxy")
    publish(folder, "example.org/mixed", "v1.0.0", {"go.mod": GO_MOD, **ASSEMBLER, **EMBEDDED, **C})
    return settings(folder, tmp_path_factory.mktemp("modules ä"))


@pytest.fixture
def app(tmp_path: Path, proxied: dict[str, str]) -> Path:
    text = "module example.com/app\n\ngo 1.20\n\nrequire example.org/mixed v1.0.0\n"
    folder = module(tmp_path / "app", {"go.mod": text, "main.go": MAIN, "gotap.yaml": RULES})
    done = go(folder, "mod", "tidy", woven=False, **proxied)
    assert done.code == 0, done.err
    return folder


WAYS = (
    {"CGO_ENABLED": "0"},
    {"CGO_ENABLED": "1"},
    {"CGO_ENABLED": "0", "GOARCH": "arm64"},
    pytest.param({"CGO_ENABLED": "0", "GOOS": "windows"}, marks=pytest.mark.matrix),
    pytest.param({"CGO_ENABLED": "1", "GOFLAGS": "-race -buildvcs=false -modcacherw"}, marks=pytest.mark.matrix),
)


@pytest.mark.parametrize("ways", WAYS, ids=lambda ways: " ".join(f"{name}={value}" for name, value in ways.items()))
def test_programs(ways: dict[str, str], app: Path, proxied: dict[str, str]) -> None:
    """With C and without it, here and for other systems."""
    with_c = ways["CGO_ENABLED"] == "1"
    if with_c and shutil.which("gcc") is None:
        raise MissingTool("gcc is not installed (Debian package gcc)")
    before = tree(app)
    program = app.parent / "program"
    done = go(app, "build", "-o", str(program), ".", **{**proxied, **ways})
    assert (done.code, done.err) == (0, "")
    assert tree(app) == before
    for _, name in WOVEN:
        assert (f"woven {name}".encode() in program.read_bytes()) == (with_c or name != "back")
    if not ways.keys() & {"GOOS", "GOARCH"}:
        told = run(program)
        assert (told.code, told.out) == (0, "8 first second 15\n")
        names = ["Sum", "twice", "Read", "Times", *(["back"] if with_c else [])]
        assert re.findall(r"woven (\w+)", told.err) == names


def test_tests_of_such_packages(app: Path, proxied: dict[str, str]) -> None:
    """They are vetted, too: go vet compares assembler with declarations."""
    done = go(app, "test", "-v", "-count=1", "-cover", "example.org/mixed/asm", **proxied)
    assert done.code == 0, done.out + done.err
    assert "woven Sum\n" in done.out + done.err
    assert "coverage: 100.0% of statements" in done.out


def test_a_package_that_has_no_go_but_in_c(app: Path, proxied: dict[str, str]) -> None:
    """Only the file with C in it changes."""
    if shutil.which("gcc") is None:
        raise MissingTool("gcc is not installed (Debian package gcc)")
    text = re.sub(r'\t"example.org/mixed/(asm|embedded)"\n', "", MAIN)
    (app / "main.go").write_text(text.replace("asm.Sum(1, 2), embedded.Read(), ", ""))
    (app / "gotap.yaml").write_text("aspects:" + RULE.format(package="c", function="back"))
    done = go(app, "run", ".", **proxied, CGO_ENABLED="1")
    assert (done.code, done.out, done.err) == (0, "15\n", "woven back\n")
