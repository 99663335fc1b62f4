"""gotap's own aspects in real programs: what spans are called, who inherits a goroutine's span, which panics count.

The first program does what its argument says, and sends what happened to a collector.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from cli import attributes
from gobuild import ALL, NEWEST
from otlp_server import collector
from weavecases import go, module, run, spans

#: Those that weaving supports: the ends in every run, the others in the matrix.
RELEASES = [
    release if release in ("1.21.13", NEWEST) else pytest.param(release, marks=pytest.mark.matrix)
    for release in ALL[ALL.index("1.21.13") :]
]

MAIN = """package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

//gotap:span
func leaf() {}

//gotap:span
func parent(inside func()) { inside() }

// each runs a function on n goroutines, all of which are alive at once, and waits until they have ended.
func each(n int, f func()) {
	var ready, ended sync.WaitGroup
	ready.Add(n)
	ended.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			defer ended.Done()
			ready.Done()
			ready.Wait()
			f()
		}()
	}
	ended.Wait()
}

func nothing() {}

var ways = map[string]func(){
	"children": func() { parent(func() { each(2, func() { each(1, leaf) }) }) },
	"others":   func() { parent(func() { each(100, nothing) }); each(100, leaf) },
	"exits":    func() { parent(func() { each(100, runtime.Goexit) }); each(100, leaf) },
	"many":     many,
	"collects": collects,
	"names":    outer,
	"panics":   panics,
}

//gotap:span name:outer a:1
func outer() {
	//dd:span first:value b:2 span.name:inner
	inner := func() {}
	//dd:span first:value
	other := func() {}
	inner()
	other()
	both()
	new(generic[int]).method()
}

//gotap:span k:"v w" k2
//dd:span span.name:unused
func both() {}

type generic[T any] struct{}

//dd:span
func (g *generic[T]) method() {}

//gotap:span
func collected(ctx context.Context) { runtime.GC() }

// collects waits until nothing keeps the context of a span that has ended and was sent.
func collects() {
	collected(context.WithValue(context.Background(), "large", make([]byte, 64<<20)))
	var heap runtime.MemStats
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		runtime.GC()
		if runtime.ReadMemStats(&heap); heap.HeapAlloc < 32<<20 {
			fmt.Println("free")
			return
		}
	}
}

// many starts goroutines in a span each, and tells by how many bytes the heap has grown.
func many() {
	var before, after runtime.MemStats
	round := func() { each(50, func() { each(50, nothing) }) }
	parent(round)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := 0; i < 200; i++ {
		parent(round)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	fmt.Println(int64(after.HeapAlloc) - int64(before.HeapAlloc))
}

//gotap:span
func fails() error { return errors.New("x") }

//gotap:span
func falls() { panic("x") }

//gotap:span
func fallsDeep(n int) (int, error) {
	var frame [512]byte
	if n == 0 {
		var none *int
		return *none, errors.New("never")
	}
	frame[n%512] = 1
	m, err := fallsDeep(n - 1)
	return m + int(frame[0]), err
}

//gotap:span
func recovers() error {
	defer func() { recover() }()
	panic("x")
}

//gotap:span
func recoversAndFails() (err error) {
	defer func() { err = fmt.Errorf("%v", recover()) }()
	panic("x")
}

//gotap:span
func cleans() {}

//gotap:span
func fallsAgain() {
	defer func() {
		cleans()
		panic("y")
	}()
	panic("x")
}

//gotap:span
func exits() { runtime.Goexit() }

//gotap:span
func succeeds() (error, int) { return errors.New("not the last"), 0 }

func panics() {
	guard := func(f func()) {
		defer func() {
			cleans()
			recover()
			cleans()
		}()
		f()
	}
	fails()
	guard(falls)
	guard(func() { fallsDeep(200) })
	recovers()
	recoversAndFails()
	guard(fallsAgain)
	each(1, exits)
	succeeds()
}

func main() { ways[os.Args[1]]() }
"""

PULL = """//go:build go1.23

package main

import "iter"

func init() {
	ways["coroutines"] = func() {
		parent(func() {
			for i := 0; i < 100; i++ {
				next, stop := iter.Pull(func(yield func(int) bool) { leaf(); yield(1) })
				next()
				defer stop()
			}
		})
		each(100, cleans)
	}
}
"""

@pytest.fixture(scope="module", params=RELEASES)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    module(folder, {"main.go": MAIN, "pull.go": PULL})
    done = go(folder, "build", "-o", "app", ".", GOTOOLCHAIN=f"go{request.param}")
    assert done.code == 0, done.err
    return folder / "app"


def sent(program: Path, way: str) -> list[Span]:
    with collector() as otlp:
        ended = run(program, way, to=otlp)
        assert ended.code == 0, ended.err
        return spans(otlp)


def is_root(span: Span) -> bool:
    return not span.parent_span_id and not span.links


def test_children_and_their_children_inherit_the_span(program: Path) -> None:
    found = sent(program, "children")
    (parent,) = (span for span in found if span.name == "main.parent")
    leaves = [span for span in found if span.name == "main.leaf"]
    assert len(leaves) == 2
    assert all(leaf.parent_span_id == parent.span_id for leaf in leaves)


@pytest.mark.parametrize("way", ["others", "exits"])
def test_a_goroutine_that_is_used_again_knows_nothing_of_the_one_before(program: Path, way: str) -> None:
    leaves = [span for span in sent(program, way) if span.name == "main.leaf"]
    assert len(leaves) == 100
    assert all(is_root(leaf) for leaf in leaves)


def test_coroutines_inherit_and_drop_it_too(program: Path, request: pytest.FixtureRequest) -> None:
    if any(f"1.{minor}." in request.node.name for minor in (21, 22)):
        pytest.skip("iter.Pull is there from Go 1.23 on")
    found = sent(program, "coroutines")
    (parent,) = (span for span in found if span.name == "main.parent")
    leaves = [span for span in found if span.name == "main.leaf"]
    assert [leaf.parent_span_id for leaf in leaves] == [parent.span_id] * 100
    assert all(is_root(span) for span in found if span.name == "main.cleans")


def test_the_runtime_s_own_goroutines_inherit_nothing(program: Path) -> None:
    """The collector's workers are started by the first collection, here in a span, and live as long as the program."""
    with collector() as otlp:
        ended = run(program, "collects", to=otlp, GOGC="off", OTEL_BSP_SCHEDULE_DELAY="20")
    assert (ended.code, ended.out) == (0, "free\n"), ended.err


def test_many_goroutines_leave_nothing(program: Path) -> None:
    ended = run(program, "many", OTEL_TRACES_SAMPLER="always_on", OTEL_BSP_MAX_QUEUE_SIZE="1")
    assert ended.code == 0, ended.err
    assert int(ended.out) < 4_000_000, "half a million goroutines; each kept span would be hundreds of bytes"


def test_names_and_attributes(program: Path) -> None:
    found = {span.name: attributes(span.attributes) for span in sent(program, "names")}
    assert found == {
        "outer": {"a": "1"}, "inner": {"first": "value", "b": "2"}, "value": {"first": "value"},
        "main.both": {"k": "v w", "k2": ""}, "main.(*generic).method": {},
    }  # fmt: skip


def test_which_panics_count(program: Path) -> None:
    found = sent(program, "panics")
    types = {
        span.name.removeprefix("main."): attributes(span.attributes).get("error.type")
        for span in found
        if span.name not in ("main.cleans", "main.fallsDeep")
    }
    assert types == {
        "fails": "*errors.errorString", "falls": "panic", "recovers": None, "recoversAndFails": "*errors.errorString",
        "fallsAgain": "panic", "exits": None, "succeeds": None,
    }  # fmt: skip
    deep = [span for span in found if span.name == "main.fallsDeep"]
    assert [attributes(span.attributes).get("error.type") for span in deep] == ["panic"] * 201
    cleans = [span for span in found if span.name == "main.cleans"]
    assert [span.status.code for span in cleans] == [Status.STATUS_CODE_UNSET] * 7


HTTP = """package main

import (
	"context"
	"net/http"
)

//gotap:span
func handler(r *http.Request) { inner(r.Context()) }

//gotap:span
func unnamed(context.Context, *http.Request) {}

//gotap:span
func inner(ctx context.Context) { unnamed(ctx, nil) }

func main() {
	r, _ := http.NewRequest("GET", "/", nil)
	before := *r
	handler(r)
	if before.Context() != r.Context() {
		panic("the caller's request was changed")
	}
	handler(r.WithContext(context.WithValue(r.Context(), "k", "v")))
	func() {
		defer func() { recover() }()
		handler(nil)
	}()
}
"""


def test_contexts_and_requests_are_continued_and_replaced(tmp_path: Path) -> None:
    app = module(tmp_path, {"main.go": HTTP})
    done = go(app, "build", "-o", "app", ".")
    assert done.code == 0, done.err
    with collector() as otlp:
        ended = run(app / "app", to=otlp)
        assert ended.code == 0, ended.err
        found = spans(otlp)
    named = {name: [span for span in found if span.name == f"main.{name}"] for name in ("handler", "inner", "unnamed")}
    assert [len(spans) for spans in named.values()] == [3, 2, 2]
    assert {span.parent_span_id for span in named["inner"]} < {span.span_id for span in named["handler"]}
    assert {span.parent_span_id for span in named["unnamed"]} == {span.span_id for span in named["inner"]}
    errors = [attributes(span.attributes).get("error.type") for span in named["handler"]]
    assert errors == [None, None, "panic"]
