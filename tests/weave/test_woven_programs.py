"""`gotap go build` and its kin on real modules: what programs send, and that nothing else about them is another."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from cli import attributes
from otlp_server import collector
from weavecases import SPANS, go, module, run, spans, tree, weave


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A path with a space and letters of another alphabet."""
    return module(tmp_path / "mein Prögramm", {"main.go": SPANS})


def test_functions_with_the_directive_are_spans(app: Path) -> None:
    before = tree(app)
    done = go(app, "build", "-o", str(app.parent / "woven"), ".")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert tree(app) == before
    with collector() as otlp:
        ended = run(app.parent / "woven", to=otlp)
        assert ended.code == 7, ended.err
        found = {}
        for span in spans(otlp):
            found.setdefault(span.name, []).append(span)
    assert {name: len(all) for name, all in found.items()} == {
        "main.work": 3, "inside": 2, "main.(*stack).push": 1, "main.falls": 1,
    }  # fmt: skip
    works = {span.span_id: span for span in found["main.work"]}
    assert all(attributes(span.attributes)["customer"] == "42" for span in works.values())
    assert all(span.trace_id == works[span.parent_span_id].trace_id for span in found["inside"])
    failed = [span for span in works.values() if span.status.code == Status.STATUS_CODE_ERROR]
    assert [span.status.message for span in failed] == ["three"]
    assert found["main.falls"][0].status.code == Status.STATUS_CODE_ERROR


def test_places_and_panics_are_those_of_the_plain_program(app: Path) -> None:
    programs = {}
    for woven in (False, True):
        path = app.parent / f"woven{woven}"
        assert go(app, "build", "-o", str(path), ".", woven=woven).code == 0
        programs[woven] = run(path, "boom")
    assert programs[True].out == programs[False].out
    assert programs[True].code == programs[False].code == 2
    assert traces(programs[True].err) == traces(programs[False].err)


def traces(text: str) -> list[str]:
    """Functions and places of a goroutine's stack; offsets in functions and addresses are those of other code."""
    lines = [line.split(" +0x")[0].split("(0x")[0].split("({0x")[0] for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("goroutine ")]


def test_a_second_build_is_the_same_and_a_plain_one_what_it_was(app: Path) -> None:
    def built(name: str, *, woven: bool) -> bytes:
        path = app.parent / name
        assert go(app, "build", "-o", str(path), ".", woven=woven).code == 0
        return path.read_bytes()

    plain = built("plain", woven=False)
    one = built("one", woven=True)
    assert built("two", woven=True) == one != plain
    assert built("again", woven=False) == plain


def test_run_and_test(app: Path) -> None:
    test = """package main

import (
	"context"
	"testing"
)

func TestWork(t *testing.T) {
	if n, err := work(context.Background(), 2); n != 4 || err != nil {
		t.Fatal(n, err)
	}
}
"""
    module(app, {"main_test.go": test})
    with collector() as otlp:
        ended = go(app, "run", ".", OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url)
        assert (ended.code, "exit status 7" in ended.err) == (1, True)
        assert len(spans(otlp)) == 7
    with collector() as otlp:
        ended = go(app, "test", "-count=1", "-v", ".", OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url)
        assert ended.code == 0, ended.out + ended.err
        assert "--- PASS: TestWork" in ended.out
        assert [span.name for span in spans(otlp)] == ["inside", "main.work"]


COVERED = """package cov

import "fmt"

//gotap:span
func F(a int) (err error) {
	if a > 1 {
		fmt.Println("x")
	} else if a < 0 {
		return nil
	} else { fmt.Println("y") }
	for i := range []int{1} { _ = i; func() { fmt.Println(i) }() }
	switch a {
	case 1: fmt.Println(1)
	default:
	}
	return
}
"""
COVERED_TEST = """package cov

import "testing"

func TestF(t *testing.T) { F(1) }
"""


@pytest.mark.parametrize("version", ["1.21.13", "1.26.8", pytest.param("1.27.4", marks=pytest.mark.matrix)])
def test_coverage_counts_what_the_user_wrote(version: str, tmp_path: Path) -> None:
    """Rules that put text in front of statements, around expressions and behind the package clause; programs, too."""
    files = {"a.go": COVERED, "a_test.go": COVERED_TEST, "orchestrion.yml": RULES}
    programs = {f"program/{name}.go": text.replace("package cov", "package main") for name, text in
                (("a", COVERED), ("a_test", COVERED_TEST), ("main", "package cov\n\nfunc main() {}\n"))}  # fmt: skip
    app = module(tmp_path / "app", files | programs)
    for mode in ("set", "count", "atomic"):
        profiles = {}
        for woven in (False, True):
            words = ["test", "-count=1", "-v", f"-covermode={mode}", "-coverprofile=profile", "-p=1", "./..."]
            done = go(app, *words, woven=woven, GOTOOLCHAIN=f"go{version}")
            assert done.code == 0, done.out + done.err
            assert ("loud: y" in done.out) == woven
            profiles[woven] = (app / "profile").read_text()
        assert profiles[True] == profiles[False]


RULES = """aspects:
  - id: loud prints
    join-point:
      function-call: fmt.Println
    advice:
      - wrap-expression:
          imports:
            fmt: fmt
          template: |-
            func() (int, error) { fmt.Print("loud: "); return {{ . }} }()
"""


def test_rules_of_the_module(tmp_path: Path) -> None:
    text = 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hello")\n}\n'
    app = module(tmp_path / "app", {"main.go": text, "orchestrion.yml": RULES})
    assert go(app, "run", ".").out == "loud: hello\n"
    listed = weave(app, "--list", ".")
    assert "loud prints" in listed.out
    assert "main.go:6:2" in listed.out
    diff = weave(app, "--diff", ".")
    assert (diff.code, diff.err) == (0, "")
    assert diff.out.startswith("--- a/main.go\n+++ b/main.go\n")
    assert '-\tfmt.Println("hello")\n' in diff.out
    explained = weave(app, "--explain", "main.go:6", ".")
    assert explained.out.startswith("loud prints  (orchestrion.yml:2): ")
    assert weave(app, "--explain", "main.go:1", ".").out == "nothing is woven at main.go:1\n"


def test_what_has_nothing_to_weave_is_built_as_ever(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": "package main\n\nfunc main() { println(1) }\n"})
    programs = []
    for woven in (False, True):
        assert go(app, "build", "-o", "out", ".", woven=woven).code == 0
        programs.append((app / "out").read_bytes())
    assert programs[0] == programs[1]


MISSING = """aspects:
  - id: needs
    join-point:
      function-body: {function: [{name: inner}]}
    advice:
      - prepend-statements:
          imports: {none: example.com/none}
          template: none.Call()
"""
NO_PACKAGE = 'package main\n\nimport _ "example.com/none"\n\nfunc main() {}\n'


@pytest.mark.parametrize(
    ("files", "words", "said"),
    [
        ({"main.go": NO_PACKAGE}, ["build", "."], "example.com/none"),
        ({"main.go": SPANS, "gotap.yaml": "aspects:\n  - id: x\n    join-point: {nowhere: y}\n    advice: []\n"},
         ["build", "."], "gotap.yaml:3"),
        ({"main.go": SPANS, "gotap.yaml": MISSING}, ["build"],
         "gotap.yaml:2: needs: its text needs the package example.com/none"),
        ({"main.go": SPANS}, ["build", "-C", "none", "."], "there is no directory"),
        ({"main.go": SPANS}, ["build", "./none"], "gotap: the packages cannot be loaded:\ngotap: stat "),
        ({"main.go": SPANS}, ["build", "-overlay=none.json", "."], "none.json"),
    ],
    ids=["a package that is not there", "an unknown join point", "a package that a rule needs",
         "a directory that is not there", "a directory of packages that is not there",
         "an overlay that is not there"],
)  # fmt: skip
def test_what_cannot_be_done_is_told_before_anything_is_built(
    files: dict[str, str], words: list[str], said: str, tmp_path: Path
) -> None:
    app = module(tmp_path / "app", files)
    before = tree(app)
    done = go(app, *words)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("gotap: ")
    assert said in done.err
    assert tree(app) == before


def test_a_cache_at_a_relative_path(tmp_path: Path) -> None:
    """What XDG_CACHE_HOME says counts only if it is absolute."""
    app = module(tmp_path / "app", {"main.go": SPANS})
    before = tree(app)
    done = go(app, "vet", ".", GOTAP_CACHE="cache")
    assert (done.code, done.err) == (0, ""), done.err
    done = go(app, "build", "-o", "../program", ".", GOTAP_CACHE="cache")
    assert done.code == 1
    assert "GOTAP_CACHE is cache, which is no absolute path" in done.err
    assert tree(app) == before


def test_weave_takes_the_flags_of_go_build(tmp_path: Path) -> None:
    tagged = "//go:build tagged\n\npackage main\n\n//gotap:span\nfunc tagged() {}\n"
    app = module(tmp_path / "app", {"main.go": SPANS, "tagged.go": tagged})
    for words in (["-tags=tagged", "."], ["-tags", "tagged", "-race"], ["--", "-tags=tagged", "."], ["./..."]):
        done = weave(app, "--list", *words)
        assert done.code == 0, done.err
        assert ("tagged.go:6:1" in done.out) == ("./..." not in words), done.out
    assert "tagged.go" in weave(app, "--diff", "-tags=tagged", ".").out
    assert "//gotap:span" in weave(app, "--explain", "tagged.go:6", "-tags=tagged").out


def test_what_does_not_compile_is_named_by_the_users_file(tmp_path: Path) -> None:
    """Columns too, behind what is woven into the line; a constraint in front of the package still holds."""
    work = "//gotap:span\nfunc work() { undefined() }\n"
    source = f"//go:build linux\n\npackage main\n\n{work}\nfunc main() {{ work() }}\n"
    marked = "\ufeffpackage main\n\n//gotap:span\nfunc f() {}\n"
    app = module(tmp_path / "app", {"main.go": source, "marked.go": marked})
    plain, woven = (go(app, "build", ".", woven=one) for one in (False, True))
    assert plain.code == woven.code == 1
    assert "./main.go:6:15: undefined: undefined" in plain.err
    assert woven.err == plain.err


def test_the_users_overlay_is_kept(app: Path) -> None:
    """Also one in GOFLAGS, and with names that are relative to the module."""
    (app / "other.go").write_text("package main\n\nfunc init() { println(1) }\n")
    (app / "other.txt").write_text("package main\n\nfunc init() { println(2) }\n")
    overlay = app / "overlay.json"
    overlay.write_text('{"Replace": {"other.go": "other.txt"}}')
    for words, flags in ((["-overlay", "overlay.json"], ""), ([], f"'-overlay={overlay}'")):
        ended = go(app, "run", *words, ".", GOFLAGS=f"-buildvcs=false {flags}")
        assert "exit status 7" in ended.err, ended.err
        assert ended.err.startswith("2\n")


def test_verbs_that_build_nothing_are_gos_own(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": SPANS})
    assert go(app, "env", "GOMOD").out == f"{app}/go.mod\n"
    assert go(app, "vet", ".").code == 0
    assert go(app, "nonsense").code == 2


LIBRARY = """package lib

import "context"

//gotap:span
func Double(ctx context.Context, n int) int { return 2 * n }
"""
CALLER = """package main

import (
	"context"
	"fmt"

	"example.com/lib"
)

func main() { fmt.Println(lib.Double(context.Background(), 21)) }
"""
REQUIRED = "module example.com/app\n\ngo 1.21\n\nrequire example.com/lib v1.0.0\n"
VENDORED = {
    "go.mod": REQUIRED, "main.go": CALLER, "vendor/example.com/lib/lib.go": LIBRARY,
    "vendor/modules.txt": "# example.com/lib v1.0.0\n## explicit; go 1.21\nexample.com/lib\n",
}  # fmt: skip
REPLACED = {
    "go.mod": REQUIRED + "\nreplace example.com/lib => ./lib\n", "main.go": CALLER, "lib/lib.go": LIBRARY,
    "lib/go.mod": "module example.com/lib\n\ngo 1.21\n",
}  # fmt: skip
WORKSPACE = {
    "go.mod": REQUIRED, "main.go": CALLER, "lib/lib.go": LIBRARY, "lib/go.mod": "module example.com/lib\n\ngo 1.21\n",
    "go.work": "go 1.21\n\nuse (\n\t.\n\t./lib\n)\n",
}  # fmt: skip


@pytest.mark.parametrize("files", [VENDORED, REPLACED, WORKSPACE], ids=["vendored", "replaced", "workspace"])
def test_packages_of_other_modules_that_are_at_hand(files: dict[str, str], tmp_path: Path) -> None:
    app = module(tmp_path / "app", files)
    before = tree(app)
    with collector() as otlp:
        ended = go(app, "run", ".", OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url)
        assert (ended.code, ended.out) == (0, "42\n"), ended.err
        assert [span.name for span in spans(otlp)] == ["lib.Double"]
    assert tree(app) == before


WAYS = (["-race"], ["-toolexec=env"], ["-buildmode=pie"], ["-trimpath"], ["-tags=one", "-ldflags=-s -w"])


@pytest.mark.parametrize("flags", WAYS, ids=" ".join)
def test_ways_to_build(flags: list[str], app: Path) -> None:
    program = app.parent / "woven"
    done = go(app, "build", *flags, "-o", str(program), ".", CGO_ENABLED="1")
    assert done.code == 0, done.err
    with collector() as otlp:
        assert run(program, to=otlp).code == 7
        assert len(spans(otlp)) == 7


@pytest.mark.parametrize("version", ["1.21.13", "1.27.4", *(pytest.param(one, marks=pytest.mark.matrix) for one in
                                     ("1.22.12", "1.23.12", "1.24.13", "1.25.10"))])  # fmt: skip
def test_every_release(version: str, app: Path) -> None:
    program = app.parent / "woven"
    done = go(app, "build", "-o", str(program), ".", GOTOOLCHAIN=f"go{version}")
    assert done.code == 0, done.err
    with collector() as otlp:
        ended = run(program, to=otlp)
        assert ended.code == 7
        assert len(spans(otlp)) == 7


def test_releases_that_rules_were_not_checked_with(app: Path) -> None:
    done = go(app, "build", ".", GOTOOLCHAIN="go1.20.14")
    assert done.code == 1
    assert "go1.20.14 is not a release that weaving was checked with: Go 1.21 to 1.27" in done.err


def test_programs_find_the_environment_as_it_would_be_without_gotap(tmp_path: Path) -> None:
    text = """package main

import (
	"fmt"
	"os"
)

//gotap:span
func main() {
	for _, one := range os.Environ() {
		fmt.Println(one)
	}
}
"""
    app = module(tmp_path / "app", {"main.go": text})
    found = [set(go(app, "run", ".", woven=woven).out.split("\n")) for woven in (False, True)]
    (plain,), (woven,) = found[0] - found[1], found[1] - found[0]
    assert plain.startswith("PATH="), "in front of which `go run` puts the bin of its GOROOT"
    assert plain.partition(":")[2] == woven.partition(":")[2]
