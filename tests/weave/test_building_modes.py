"""Woven code that another program has: libraries for C, and plugins."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from gobuild import MissingTool
from otlp_server import collector
from processes import running
from weavecases import go, module, spans

LIBRARY = """package main

import "C"
import "context"

//gotap:span
func work(ctx context.Context, n int) int { return n + 1 }

//export Work
func Work(n C.int) C.int { return C.int(work(context.Background(), int(n))) }

func main() {}
"""
HOST = """#include <signal.h>
#include <stdio.h>
#include <unistd.h>

extern int Work(int);
static void own(int number) { _exit(9); }

int main(int argc, char **argv) {
	if (argc > 1) signal(SIGTERM, own);
	printf("%d\\n", Work(41));
	fflush(stdout);
	while (getchar() != EOF) {}
	return 0;
}
"""
#: It has no package os but by what is woven.
PLUGIN = """package main

import "context"

//gotap:span
func work(ctx context.Context, n int) int { return n + 1 }

func Work(ctx context.Context, n int) int { return work(ctx, n) }

func main() {}
"""
LOADING = """package main

import (
	"context"
	"fmt"
	"os"
	"plugin"
)

//gotap:span
func outer(ctx context.Context) {
	found, err := plugin.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	symbol, err := found.Lookup("Work")
	if err != nil {
		panic(err)
	}
	fmt.Println(symbol.(func(context.Context, int) int)(ctx, 41))
}

func main() { outer(context.Background()) }
"""
RELEASES = ["1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in ("1.21.13", "1.27.4"))]


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CGO_ENABLED", "1")
    if shutil.which("gcc") is None:
        raise MissingTool("gcc is not installed (Debian package gcc)")


@pytest.mark.parametrize("mode", ["c-shared", "c-archive"])
@pytest.mark.parametrize("version", RELEASES)
def test_libraries_for_c(mode: str, version: str, tmp_path: Path) -> None:
    """Spans leave while the program runs; a signal that it handles is its own, and ends it otherwise."""
    app = module(tmp_path / "app", {"lib.go": LIBRARY, "host.c": HOST})
    (app / "host.c").rename(tmp_path / "host.c")
    library = tmp_path / f"libwork.{'so' if mode == 'c-shared' else 'a'}"
    done = go(app, "build", f"-buildmode={mode}", "-o", str(library), ".", GOTOOLCHAIN=f"go{version}")
    assert done.code == 0, done.err
    host = tmp_path / "host"
    subprocess.run(["gcc", "-o", host, tmp_path / "host.c", library, "-lpthread"], check=True)
    for words, code in ([], -signal.SIGTERM), (["own"], 9):
        assert _ended(host, *words) == code


def _ended(host: Path, *words: str) -> int:
    """How a signal ends the host, once its span has come."""
    with collector() as otlp:
        settings = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with running(str(host), *words, env={**settings, "LD_LIBRARY_PATH": str(host.parent)}) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "42\n"
            otlp.wait(lambda: bool(spans(otlp)))
            program.send_signal(signal.SIGTERM)
            code = program.wait(30)
        assert [one.name for one in spans(otlp)] == ["main.work"]
    return code


@pytest.mark.parametrize("version", RELEASES)
def test_plugins(version: str, tmp_path: Path) -> None:
    """They and their program have one gotaprt, and one trace."""
    app = module(tmp_path / "app", {"main.go": LOADING, "plug/main.go": PLUGIN})
    program, plugin = str(tmp_path / "program"), str(tmp_path / "plug.so")
    for words in (["-buildmode=plugin", "-o", plugin, "./plug"], ["-o", program, "."]):
        done = go(app, "build", *words, GOTOOLCHAIN=f"go{version}")
        assert done.code == 0, done.err
    with collector() as otlp:
        settings = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url}
        done_by = subprocess.run([program, plugin], capture_output=True, text=True, env=settings)
        assert (done_by.returncode, done_by.stdout) == (0, "42\n"), done_by.stderr
        found = {one.name: one for one in spans(otlp)}
    assert found.keys() == {"main.outer", "main.work"}
    assert found["main.work"].parent_span_id == found["main.outer"].span_id
