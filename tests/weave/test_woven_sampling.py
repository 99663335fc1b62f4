"""Traces that begin with a call are sent whole or not at all, and cost next to nothing where they are not sampled."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otlp_server import Collector, collector
from weavecases import go, module, run, spans

PROGRAM = """package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Println(testing.AllocsPerRun(1000, empty))
		os.Exit(0)
	}
	for i := 0; i < 500; i++ {
		outer()
		func() {
			defer func() { recover() }()
			falls()
		}()
	}
	for i := 0; i < 50; i++ {
		ready, stop, done := make(chan int), make(chan int), make(chan int)
		starts(ready, stop, done)
		empty()
		close(stop)
		<-done
	}
	os.Exit(0)
}

//gotap:span name:outer
func outer() {
	inner(context.Background())
	middle()
	var wait sync.WaitGroup
	wait.Add(2)
	go func() {
		defer wait.Done()
		middle()
	}()
	go func() {
		go func() {
			defer wait.Done()
			inner(context.Background())
		}()
	}()
	wait.Wait()
}

//gotap:span name:middle
func middle() { inner(nil) }

//gotap:span name:inner
func inner(ctx context.Context) {}

//gotap:span name:falls
func falls() {
	middle()
	panic("fell")
}

// starts starts a goroutine that outlives it.
//
//gotap:span name:starts
func starts(ready, stop, done chan int) {
	go func() {
		ready <- 1
		<-stop
		for i := 0; i < 10; i++ {
			late()
		}
		close(done)
	}()
	<-ready
}

//gotap:span name:late
func late() { inner(nil) }

//gotap:span name:empty
func empty() {}
"""

WHOLE = {
    "outer": ("inner", "inner", "inner", "inner", "middle", "middle", "outer"),
    "falls": ("falls", "inner", "middle"),
    "starts": ("starts",),
    "late": ("inner", "late"),
    "empty": ("empty",),
}
BEGUN = {"outer": 500, "falls": 500, "starts": 50, "late": 500, "empty": 50}

RELEASES = ("1.21.13", "1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in
            ("1.22.12", "1.23.12", "1.24.13", "1.25.10", "1.27.4")))  # fmt: skip


@pytest.fixture(scope="module", params=RELEASES)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(module(tmp_path_factory.mktemp("app"), {"main.go": PROGRAM}), request.param)


def built(app: Path, release: str) -> Path:
    done = go(app, "build", "-o", "program", ".", GOTOOLCHAIN=f"go{release}")
    assert done.code == 0, done.err
    return app / "program"


def sent(otlp: Collector) -> list[list[Span]]:
    traces = defaultdict(list)
    for span in spans(otlp):
        traces[span.trace_id].append(span)
    return list(traces.values())


SETTINGS = {"OTEL_TRACES_SAMPLER_ARG": "0.5", "OTEL_BSP_MAX_QUEUE_SIZE": "100000", "OTEL_LOG_LEVEL": "warn"}


@pytest.mark.parametrize("sampler", ["parentbased_traceidratio", "traceidratio"])
def test_a_trace_is_sent_whole_or_not_at_all(program: Path, sampler: str) -> None:
    with collector() as otlp:
        ended = run(program, to=otlp, OTEL_TRACES_SAMPLER=sampler, **SETTINGS)
        assert (ended.code, ended.err) == (0, "")
        traces = sent(otlp)
    begun: Counter[str] = Counter()
    for trace in traces:
        [root] = [span for span in trace if not span.parent_span_id]
        assert tuple(sorted(span.name for span in trace)) == WHOLE[root.name]
        begun[root.name] += 1
        low = int.from_bytes(root.trace_id[8:], "big")
        assert low >> 1 < 1 << 62, "whoever knows the trace's id comes to the same decision"
    for name in ("outer", "falls", "late"):
        # Six standard deviations of a binomial distribution with 500 draws.
        assert abs(begun[name] - BEGUN[name] / 2) < 68, "as the ratio has it, in goroutines that outlive a trace too"
    ids = {span.span_id for trace in traces for span in trace} | {trace[0].trace_id for trace in traces}
    assert len(ids) == sum(len(trace) for trace in traces) + len(traces)


def test_calls_that_are_not_sampled_allocate_nothing(program: Path) -> None:
    ended = run(program, "allocations", OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.000001")
    assert ended.out == "0\n"


CLIENT = """package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
)

//gotap:span
func ask(url string) {
	answer, err := http.Get(url)
	if err != nil {
		panic(err)
	}
	answer.Body.Close()
}

func main() {
	flags := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parent := r.Header.Get("Traceparent")
		flags[parent[len(parent)-2:]]++
	}))
	for i := 0; i < 200; i++ {
		ask(server.URL)
	}
	fmt.Println(flags["00"], flags["01"])
	os.Exit(0)
}
"""


@pytest.mark.parametrize("sampler", ["parentbased_traceidratio", "traceidratio"])
def test_whoever_is_asked_knows_that_the_trace_is_not_sampled(sampler: str, tmp_path: Path) -> None:
    program = built(module(tmp_path / "app", {"main.go": CLIENT}), "1.26.8")
    with collector() as otlp:
        ended = run(program, to=otlp, OTEL_TRACES_SAMPLER=sampler, **SETTINGS)
        assert (ended.code, ended.err) == (0, "")
        traces = sent(otlp)
    unsampled, sampled = map(int, ended.out.split())
    assert (sampled, unsampled) == (len(traces), 200 - len(traces))
    assert {tuple(sorted(span.name for span in trace)) for trace in traces} == {("GET", "GET", "main.ask")}
