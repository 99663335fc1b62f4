"""Modules to weave, the commands that do it, and what their programs send."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from cli import GOTAP
from otlp_server import Collector

MODULE = "module example.com/app\n\ngo 1.21\n"

SPANS = """package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
)

//gotap:span customer:42
func work(ctx context.Context, n int) (int, error) {
	if n == 3 {
		return 0, errors.New("three")
	}
	return n * inner(ctx), nil
}

//gotap:span name:inside
func inner(ctx context.Context) int {
	return 2
}

type stack struct{ depth int }

//gotap:span
func (s *stack) push() { s.depth++ }

//gotap:span
func falls() {
	panic("fell")
}

func main() {
	for n := 1; n <= 3; n++ {
		fmt.Println(work(context.Background(), n))
	}
	var wait sync.WaitGroup
	wait.Add(1)
	go func() { defer wait.Done(); (&stack{}).push() }()
	wait.Wait()
	func() {
		defer func() { fmt.Println("recovered", recover()) }()
		falls()
	}()
	_, file, line, _ := runtime.Caller(0)
	fmt.Println(file, line)
	if len(os.Args) > 1 {
		panic(os.Args[1])
	}
	os.Exit(7)
}
"""


def module(folder: Path, files: Mapping[str, str]) -> Path:
    """A module with these files, by path; go.mod is added unless it is among them."""
    for name, text in {"go.mod": MODULE, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def go(folder: Path, *words: str, woven: bool = True, **environment: str) -> Done:
    """`gotap go …`, or `go …`, in a folder."""
    command = [*GOTAP, "go", *words] if woven else ["go", *words]
    return _run(command, folder, environment)


def weave(folder: Path, *words: str, **environment: str) -> Done:
    return _run([*GOTAP, "weave", *words], folder, environment)


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> Done:
    settings = {**os.environ, "GOFLAGS": "-buildvcs=false", **environment}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=settings, timeout=600)
    assert "Traceback (most recent call last)" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def run(program: Path, *words: str, to: Collector | None = None, **environment: str) -> Done:
    """A woven program; it sends to a collector, or to nobody."""
    settings = {"PATH": os.environ["PATH"], **environment}
    if to is not None:
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = to.url
    done = subprocess.run([program, *words], capture_output=True, text=True, env=settings, timeout=60)
    return Done(done.returncode, done.stdout, done.stderr)


def spans(collector: Collector) -> list[Span]:
    found = (TracesData.FromString(one.body) for one in collector.requests if one.path == "/v1/traces")
    return [span for data in found for one in data.resource_spans for scope in one.scope_spans for span in scope.spans]


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and time."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
