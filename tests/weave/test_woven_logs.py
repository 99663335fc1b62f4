"""What woven programs log while a span is active: it has the span's ids, once, and is otherwise what it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otlp_server import collector
from weavecases import go, module, run, spans

PROGRAM = """package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"testing"
)

func main() {
	log.SetOutput(os.Stdout)
	log.SetFlags(0)
	if len(os.Args) > 1 {
		fatal()
	}
	log.Print("before")
	slog.Info("before")
	json().WithGroup("g").Info("before", "a", 1)
	lines()
	records(context.Background())
	contexts(context.Background())
	bridges()
	forwarded(context.Background())
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	log.Print("after")
	fmt.Println("allocations", allocations())
}

//gotap:span name:fatal
func fatal() { log.Fatalln("the", "end") }

//gotap:span name:lines
func lines() {
	log.Print("print")
	log.Printf("%s", "printf")
	log.Println("println", 1)
	log.Output(1, "output")
	log.Print("two newlines\\n\\n")
	log.Print("first\\nsecond")
	log.Print("")
	own := log.New(os.Stdout, "own: ", log.Lmsgprefix|log.Lshortfile|log.LUTC)
	own.Print("prefix")
	own.Output(1, "depth")
	log.New(os.Stdout, "own: ", log.LstdFlags|log.Lmicroseconds).Println("standard")
	log.New(io.Discard, "", 0).Print("nowhere")
	log.Print("trace_id=0123456789abcdef0123456789abcdef has one")
	log.Print("trace_id=none has none")
	defer func() { fmt.Println("recovered", recover()) }()
	log.Panicf("%d", 7)
}

func json() *slog.Logger { return slog.New(slog.NewJSONHandler(os.Stdout, options())) }
func text() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stdout, options())) }

func options() *slog.HandlerOptions {
	return &slog.HandlerOptions{AddSource: true, ReplaceAttr: func(groups []string, one slog.Attr) slog.Attr {
		if one.Key == "time" {
			return slog.Attr{}
		}
		if source, ok := one.Value.Any().(*slog.Source); ok {
			one.Value = slog.StringValue(fmt.Sprint(source.Function, source.Line))
		}
		return one
	}}
}

//gotap:span name:records
func records(ctx context.Context) {
	slog.Info("by the default handler", "a", 1)
	slog.Debug("too low")
	logger := json()
	logger.Debug("too low")
	logger.Info("info")
	logger.Warn("warn", "a", 1, "b", 2, "c", 3, "d", 4, "e", 5, "f", 6)
	logger.Error("error", "odd")
	logger.InfoContext(ctx, "info")
	logger.WarnContext(ctx, "warn")
	logger.ErrorContext(ctx, "error")
	logger.DebugContext(ctx, "too low")
	logger.Log(ctx, slog.LevelWarn, "log")
	logger.LogAttrs(ctx, slog.LevelWarn, "attributes", slog.Int("a", 1))
	logger.LogAttrs(nil, slog.LevelWarn, "no context")
	logger.InfoContext(nil, "no context")
	logger.With("w", 1).Info("with", "a", 2)
	logger.WithGroup("g").Info("group", "a", 1)
	nested := logger.With("w", 1).WithGroup("g").With("x", 2).WithGroup("h")
	nested.LogAttrs(ctx, slog.LevelInfo, "groups", slog.Int("a", 1))
	logger.WithGroup("g").With("trace_id", "other").Info("in a group")
	text().With("w", 1).WithGroup("g").With("x", 2).Info("groups", "a", 1)
	logger.With("trace_id", "mine").Info("the user's", "a", 1)
	logger.With(slog.String("span_id", "mine")).WithGroup("g").Info("the user's", "a", 1)
	logger.Info("the user's", "trace_id", "mine")
	slog.With("w", 1).WithGroup("g").Info("by the default handler", "a", 1)
}

//gotap:span name:contexts
func contexts(ctx context.Context) {
	inner(context.Background(), ctx)
}

//gotap:span name:inner
func inner(own, outer context.Context) {
	json().Info("of the goroutine")
	json().InfoContext(own, "of its context")
	json().InfoContext(outer, "of another context")
	json().WithGroup("g").InfoContext(outer, "of another context", "a", 1)
	json().InfoContext(ended(outer), "of one that has ended")
}

//gotap:span name:ended
func ended(ctx context.Context) context.Context { return ctx }

//gotap:span name:bridges
func bridges() {
	slog.NewLogLogger(json().Handler(), slog.LevelWarn).Print("a line")
	slog.SetDefault(json().With("w", 1))
	log.Print("a line")
	log.SetOutput(io.MultiWriter(log.Writer(), os.Stdout))
	log.Print("a line for two")
	slog.Info("info", "a", 1)
}

// forward hands records on: to a logger, or as a line.
type forward struct {
	attributes []slog.Attr
	group      string
	to         *slog.Logger
}

func (f forward) Enabled(context.Context, slog.Level) bool { return true }

func (f forward) Handle(ctx context.Context, r slog.Record) error {
	all := append([]slog.Attr(nil), f.attributes...)
	inner := []any{}
	r.Attrs(func(one slog.Attr) bool {
		if f.group == "" {
			all = append(all, one)
		}
		inner = append(inner, one)
		return true
	})
	if f.group != "" {
		all = append(all, slog.Group(f.group, inner...))
	}
	if f.to == nil {
		log.Println(r.Message, all)
	} else {
		f.to.LogAttrs(ctx, r.Level, r.Message, all...)
	}
	return nil
}

func (f forward) WithAttrs(attributes []slog.Attr) slog.Handler {
	f.attributes = append(append([]slog.Attr(nil), f.attributes...), attributes...)
	return f
}

func (f forward) WithGroup(name string) slog.Handler {
	f.group = name
	return f
}

type handed struct{ *slog.Logger }

func (h handed) Enabled(context.Context, slog.Level) bool            { return true }
func (h handed) Handle(ctx context.Context, r slog.Record) error {
	all := []any{}
	r.Attrs(func(one slog.Attr) bool { all = append(all, one); return true })
	h.Log(ctx, r.Level, r.Message, all...)
	return nil
}
func (h handed) WithAttrs(attributes []slog.Attr) slog.Handler {
	all := []any{}
	for _, one := range attributes {
		all = append(all, one)
	}
	return handed{h.With(all...)}
}
func (h handed) WithGroup(name string) slog.Handler { return handed{h.Logger.WithGroup(name)} }

//gotap:span name:forwarded
func forwarded(ctx context.Context) {
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	plain := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: options().ReplaceAttr}))
	slog.New(forward{to: plain}).Info("forwarded", "a", 1)
	slog.New(forward{to: plain}).WithGroup("g").Info("forwarded", "a", 1)
	slog.New(forward{}).Info("forwarded", "a", 1)
	slog.New(handed{plain}).With("w", 1).Info("handed on", "a", 1)
	slog.New(handed{plain}).WithGroup("g").Info("handed on", "a", 1)
}

// allocations are those of a line and of records without a span.
func allocations() []float64 {
	var to bytes.Buffer
	var counts []float64
	logger := slog.New(slog.NewTextHandler(&to, nil))
	lines := log.New(&to, "", 0)
	grouped := logger.WithGroup("g")
	for _, one := range []func(){
		func() { lines.Print("line") },
		func() { logger.Info("record") },
		func() { grouped.LogAttrs(context.Background(), slog.LevelInfo, "record", slog.Int("a", 1)) },
		func() { logger.With("w", 1) },
	} {
		counts = append(counts, testing.AllocsPerRun(100, func() { to.Reset(); one() }))
	}
	return counts
}
"""

#: What a span adds to a line, to a record as JSON, and to one as text.
ADDED = re.compile(r',"trace_id":"[0-9a-f]{32}","span_id":"[0-9a-f]{16}"| ?trace_id=[0-9a-f]{32} span_id=[0-9a-f]{16}')
TIMES = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(\.\d{6})? ")

SOURCES = re.compile(r'"source":"[^"]*",|source=\S+ |main.go:\d+: ')

BEFORE = """
before
INFO before
{"level":"INFO","msg":"before","g":{"a":1}}
"""

LINES = """
print{lines}
printf{lines}
println 1{lines}
output{lines}
two newlines{lines}

first
second{lines}
{lines}
own: prefix{lines}
own: depth{lines}
own: TIME standard{lines}
trace_id=0123456789abcdef0123456789abcdef has one
trace_id=none has none{lines}
7{lines}
recovered 7
"""

RECORDS = """
INFO by the default handler a=1{records}
{"level":"INFO","msg":"info"{records}}
{"level":"WARN","msg":"warn","a":1,"b":2,"c":3,"d":4,"e":5,"f":6{records}}
{"level":"ERROR","msg":"error","!BADKEY":"odd"{records}}
{"level":"INFO","msg":"info"{records}}
{"level":"WARN","msg":"warn"{records}}
{"level":"ERROR","msg":"error"{records}}
{"level":"WARN","msg":"log"{records}}
{"level":"WARN","msg":"attributes","a":1{records}}
{"level":"WARN","msg":"no context"{records}}
{"level":"INFO","msg":"no context"{records}}
{"level":"INFO","msg":"with","w":1,"a":2{records}}
{"level":"INFO","msg":"group"{records},"g":{"a":1}}
{"level":"INFO","msg":"groups","w":1{records},"g":{"x":2,"h":{"a":1}}}
{"level":"INFO","msg":"in a group"{records},"g":{"trace_id":"other"}}
level=INFO msg=groups w=1{records} g.x=2 g.a=1
{"level":"INFO","msg":"the user's","trace_id":"mine","a":1}
{"level":"INFO","msg":"the user's","span_id":"mine","g":{"a":1}}
{"level":"INFO","msg":"the user's","trace_id":"mine"}
INFO by the default handler w=1{records} g.a=1
"""

CONTEXTS = """
{"level":"INFO","msg":"of the goroutine"{inner}}
{"level":"INFO","msg":"of its context"{inner}}
{"level":"INFO","msg":"of another context"{contexts}}
{"level":"INFO","msg":"of another context"{contexts},"g":{"a":1}}
{"level":"INFO","msg":"of one that has ended"}
"""

BRIDGES = """
{"level":"WARN","msg":"a line"{bridges}}
{"level":"INFO","msg":"a line","w":1{bridges}}
{"level":"INFO","msg":"a line for two{bridges}","w":1}
a line for two{bridges}
{"level":"INFO","msg":"info","w":1,"a":1{bridges}}
"""

FORWARDED = """
level=INFO msg=forwarded a=1{forwarded}
level=INFO msg=forwarded{forwarded} g.a=1
forwarded [a=1{forwarded}]
level=INFO msg="handed on" w=1 a=1{forwarded}
level=INFO msg="handed on"{forwarded} g.a=1
"""

#: The last is a logger that is made from another; handlers allocate.
AFTER = """
after
allocations [0 0 0 5]
"""

RELEASES = ("1.21.13", "1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in
            ("1.22.12", "1.23.12", "1.24.13", "1.25.10", "1.27.4")))  # fmt: skip


def built(app: Path, release: str, *, woven: bool) -> Path:
    program = app.parent / f"woven{woven}"
    done = go(app, "build", "-o", str(program), ".", woven=woven, GOTOOLCHAIN=f"go{release}")
    assert done.code == 0, done.err
    return program


@pytest.mark.parametrize("release", RELEASES)
def test_what_is_logged_in_a_span_names_it(release: str, tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": PROGRAM})
    plain, woven = (built(app, release, woven=one) for one in (False, True))
    with collector() as otlp:
        ended = run(woven, to=otlp)
        assert ended.code == 0, ended.err
        ids = {(span.trace_id.hex(), span.span_id.hex()): span.name for span in spans(otlp)}

    def named(found: re.Match[str]) -> str:
        trace, span = re.findall(r"[0-9a-f]{16,32}", found[0])
        return f"{{{ids[trace, span]}}}"

    said = TIMES.sub("TIME ", SOURCES.sub("", ADDED.sub(named, ended.out)))
    expected = [BEFORE, LINES, RECORDS, CONTEXTS, BRIDGES, FORWARDED, AFTER]
    assert said.splitlines() == "".join(part.lstrip("\n") for part in expected).splitlines()
    assert TIMES.sub("TIME ", ADDED.sub("", ended.out)) == TIMES.sub("TIME ", run(plain).out), "sources and the rest"
    assert ADDED.search(run(woven, OTEL_SDK_DISABLED="true").out) is None
    last = run(woven, "and fatal")
    assert last.code == 1
    assert re.fullmatch("the end trace_id=[0-9a-f]{32} span_id=[0-9a-f]{16}\n", last.out)


def test_what_only_logs_is_built_as_ever(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": 'package main\n\nimport "log"\n\nfunc main() { log.Print(1) }\n'})
    plain, woven = (built(app, "1.26.8", woven=one).read_bytes() for one in (False, True))
    assert plain == woven


@pytest.mark.parametrize("release", RELEASES)
def test_the_packages_own_tests_pass(release: str, tmp_path: Path) -> None:
    """They count frames and allocations. The module's own span is what makes the build a woven one."""
    app = module(tmp_path / "app", {"main.go": "package main\n\n//gotap:span\nfunc main() {}\n"})
    done = go(app, "test", ".", "log", "log/slog", GOTOOLCHAIN=f"go{release}")
    assert done.code == 0, done.out + done.err
    assert "ok  \tlog\t" in done.out
    assert "ok  \tlog/slog\t" in done.out
