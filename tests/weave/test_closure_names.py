"""Function literals keep their names in woven programs, whatever literals rules bring along."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from gobuild import ALL
from weavecases import go, module, run

TRACE = """package trace

import (
	"context"
	"fmt"
	"os"
)

type Span struct{ name string }

func Start(ctx context.Context, name string) (*Span, context.Context) {
	return &Span{name}, context.WithValue(ctx, Span{}, name)
}

func (s *Span) Finish(err error) { Note("%s ends: %v", s.name, err) }

func Note(format string, words ...any) { fmt.Fprintf(os.Stderr, "note: "+format+"\\n", words...) }
"""

LIB = """package lib

//go:noinline
func Sum(list ...int) (sum int) {
	for _, one := range list {
		sum += one
	}
	return sum
}

//go:noinline
func Of(f func() int) int { return f() }
"""

PROGRAM = """package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"

	"example.com/app/lib"
)

func tell(what string, f any) {
	fmt.Println(what, runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name())
}

func here(what string) {
	pc, _, line, _ := runtime.Caller(1)
	fmt.Println(what, runtime.FuncForPC(pc).Name(), line)
}

var (
	total = lib.Of(func() int { here("initialised"); return lib.Sum(1, 2) })
	later = func() { here("package") }
)

//go:noinline
//app:span
func one(ctx context.Context, fail bool) (n int, err error) {
	f := func() { n++; err = errors.New("wrong") }
	tell("one", f)
	if fail {
		f()
	}
	return n, err
}

//go:noinline
//app:span
func nested(ctx context.Context) error {
	return func() error {
		inner := func() error { here("inner"); return nil }
		tell("nested", inner)
		return inner()
	}()
}

//go:noinline
//app:span
//app:stored
func deferred(ctx context.Context) error {
	defer func() {
		here("deferred")
		fmt.Println("recovered", recover())
	}()
	done := make(chan bool)
	go func() {
		defer close(done)
		here("goroutine")
	}()
	<-done
	var list []int
	return fmt.Errorf("%d", list[len(os.Args)])
}

type shop struct{ open bool }

//go:noinline
//app:span
//app:stored
func (s *shop) order(context.Context) (err error) {
	tell("method", func() bool { return s.open })
	err = errors.New("closed")
	return
}

type number interface{ ~int | ~float64 }

//go:noinline
//app:generic
func biggest[T number](list ...T) (best T) {
	less := func(a, b T) bool { return a < b }
	tell("generic", less)
	for _, one := range list {
		if less(best, one) {
			best = one
		}
	}
	return best
}

type stack[T any] struct{ list []T }

//go:noinline
//app:generic
func (s *stack[T]) push(one T) T {
	tell("generic method", func() T { return one })
	s.list = append(s.list, one)
	return one
}

//go:noinline
func handed() int {
	return lib.Of(func() int {
		here("handed")
		return lib.Sum(
			lib.Of(func() int { here("handed within"); return 3 }), lib.Of(
				func() int { here("handed on a line of its own"); return 4 }))
	}) + func() int { here("behind"); return 5 }()
}

//go:noinline
//app:span
func falls(ctx context.Context) (err error) {
	func() {
		lib.Of(func() int {
			panic("fell")
		})
	}()
	return nil
}

func main() {
	fmt.Println(total)
	later()
	ctx := context.Background()
	fmt.Println(one(ctx, false))
	fmt.Println(one(ctx, true))
	fmt.Println(nested(ctx), deferred(ctx), (&shop{}).order(ctx))
	fmt.Println(biggest(1, 3, 2), biggest(1.5), new(stack[string]).push("a"), handed())
	if len(os.Args) > 1 {
		debug.SetTraceback("all")
		falls(ctx)
	}
}
"""

RULES = """aspects:
  - id: span
    join-point: {function-body: {directive: app:span}}
    advice:
      - prepend-statements:
          imports: {trace: example.com/app/trace}
          template: |-
            {{- $ctx := .Function.ArgumentOfType "context.Context" -}}
            {{- $err := .Function.LastResultThatImplements "error" -}}
            var span *trace.Span
            span, {{ $ctx }} = trace.Start({{ $ctx }}, "{{ .Function.Name }}")
            defer func() {
              _ = func() string { return "a literal within" }()
              span.Finish({{ $err }})
            }()
  - id: stored
    join-point: {function-body: {directive: app:stored}}
    advice:
      - prepend-statements:
          imports: {trace: example.com/app/trace}
          template: |-
            name := {{ printf "%q" .Function.Name }}
            done := func(what string) (known bool) {
              trace.Note("%s %s", name, what)
              return recover() != nil
            }
            defer done("is over")
  - id: generic
    join-point: {function-body: {directive: app:generic}}
    advice:
      - prepend-statements:
          imports: {trace: example.com/app/trace}
          template: |-
            {{- $result := .Function.Result 0 -}}
            started := make(chan bool)
            go func(result any) { trace.Note("%T", result); close(started) }({{ $result }})
            defer func() { <-started; trace.Note("%v", {{ $result }}) }()
  - id: called
    join-point: {function-call: example.com/app/lib.Of}
    advice:
      - wrap-expression:
          imports: {trace: example.com/app/trace}
          template: |-
            func() (result int) {
              defer func() { trace.Note("of: %d", result) }()
              return {{ . }}
            }()
  - id: summed
    join-point: {function-call: example.com/app/lib.Sum}
    advice:
      - wrap-expression:
          template: |-
            func(n int) int { return n }({{ . }})
"""

FILES = {"main.go": PROGRAM, "lib/lib.go": LIB, "trace/trace.go": TRACE, "gotap.yaml": RULES}


@pytest.mark.parametrize("version", ["1.21.13", "1.26.8", *(
    pytest.param(one, marks=pytest.mark.matrix) for one in ALL if one >= "1.22" and one != "1.26.8"
)])  # fmt: skip
@pytest.mark.parametrize("flags", [(), pytest.param(("-gcflags=-l",), marks=pytest.mark.matrix)], ids=["", "-l"])
def test_names_and_stacks_are_those_of_the_plain_program(tmp_path: Path, version: str, flags: tuple[str, ...]) -> None:
    """However the program itself comes by them: runtime.FuncForPC, runtime.Caller, and the stack of a panic."""
    app = module(tmp_path / "app", FILES)
    done = {}
    for woven in (False, True):
        program = tmp_path / f"woven{woven}"
        words = ("build", *flags, "-o", str(program), ".")
        built = go(app, *words, woven=woven, GOTOOLCHAIN=f"go{version}", GOTAP_LIBRARIES="")
        assert built.code == 0, built.err
        done[woven] = run(program, "falls")
    plain, woven_ = done[False], done[True]
    assert "one main.one.func1" in plain.out
    assert woven_.out == plain.out
    assert woven_.code == plain.code == 2
    assert own_frames(woven_.err) == own_frames(plain.err)
    notes = [line.removeprefix("note: ") for line in woven_.err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "of: 3", "one ends: <nil>", "one ends: wrong", "nested ends: <nil>",
        "deferred ends: <nil>", "deferred is over", "order ends: closed", "order is over",
        "int", "3", "float64", "1.5", "string", "a", "of: 3", "of: 4", "of: 7",
        "of: 0", "falls ends: <nil>",
    ]  # fmt: skip


WRAPPED = """package main

func one(n int) { println(n) }

//go:noinline
//app:woven
func work(n int) (err error) {
	defer one(n)
	go one(n)
	defer func(m int) { one(m) }(n)
	return nil
}

func main() { work(1) }
"""

WRAPPING = """aspects:
  - join-point: {function-body: {directive: app:woven}}
    advice:
      - prepend-statements:
          template: |-
            defer func() { println("done", n, err == nil, recover() == nil) }()
            defer (func() { println("nothing that is captured") })()
"""


@pytest.mark.parametrize("version", ["1.21.13", *(pytest.param(one, marks=pytest.mark.matrix) for one in ALL
                                                  if one >= "1.22")])  # fmt: skip
def test_names_of_wrappers_stay(tmp_path: Path, version: str) -> None:
    """Calls by go and defer that have arguments are functions as well, which debuggers and profilers may meet."""
    app = module(tmp_path / "app", {"main.go": WRAPPED, "gotap.yaml": WRAPPING})
    found = {}
    for woven in (False, True):
        program = tmp_path / f"woven{woven}"
        built = go(app, "build", "-o", str(program), ".", woven=woven, GOTOOLCHAIN=f"go{version}", GOTAP_LIBRARIES="")
        assert built.code == 0, built.err
        symbols = go(app, "tool", "nm", str(program), woven=False, GOTOOLCHAIN=f"go{version}").out.split()
        found[woven] = {one for one in symbols if one.startswith("main.work")}
        assert ("done 1 true true" in run(program).err) == woven
    assert found[True] == found[False]
    assert len(found[False]) >= 4


def own_frames(stack: str) -> list[tuple[str, str]]:
    """Functions of a panic's stack, with their lines: those of rules' text are left out."""
    lines = stack[stack.index("panic: ") :].splitlines()
    frames = [(name.split("(")[0], place.split(" ")[0]) for name, place in pairwise(lines) if place.startswith("\t")]
    return [(name, place) for name, place in frames if "gotap_rule" not in name]


COVERED = """package app

import "example.com/app/lib"

func Work(n int) int {
	return lib.Of(func() int {
		if n > 1 {
			return 2
		}
		return lib.Sum(1, lib.Of(func() int { n++; return n }),
			3)
	}) + lib.Sum(1)
}
"""

COVERED_TEST = """package app

import "testing"

func TestWork(t *testing.T) { t.Log(Work(1)) }
"""


@pytest.mark.parametrize("version", ["1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in ALL
                                                 if one >= "1.21" and one != "1.26.8")])  # fmt: skip
def test_coverage_counts_in_literals_that_are_handed_to_those_of_rules(tmp_path: Path, version: str) -> None:
    app = module(tmp_path / "app", {**FILES, "main.go": COVERED, "main_test.go": COVERED_TEST})
    for mode in ("set", "atomic"):
        profiles = {}
        for woven in (False, True):
            words = ("test", "-count=1", "-v", f"-covermode={mode}", "-coverprofile=profile", ".")
            done = go(app, *words, woven=woven, GOTOOLCHAIN=f"go{version}", GOTAP_LIBRARIES="")
            assert done.code == 0, done.out + done.err
            assert "main_test.go:5: 7" in done.out
            assert ("note: of: 2" in done.out + done.err) == woven
            profiles[woven] = (app / "profile").read_text()
        assert profiles[True] == profiles[False]
