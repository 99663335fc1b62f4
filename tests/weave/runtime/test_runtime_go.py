"""The Go runtime's tests of itself, which know its inside: vectors, parents, sampling; with the race detector too."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import goconversions
import gotap
from gobuild import MissingTool
from gotap.probe.catalogue import libraries
from gotap.weave.runtime import NAME, sources
from gotaprt_programs import HERE, RELEASES
from otlp_server import collector


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package as a module of its own, with its tests; without what only the standard library may import."""
    folder = tmp_path / NAME
    folder.mkdir()
    for name, text in sources().items():
        if b'"internal/' not in text:
            (folder / name).write_bytes(text)
    for path in (HERE / "gotests").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "conversions.json").write_text(goconversions.cases(300))
    (folder / "converters_test.go").write_text(goconversions.dispatcher())
    (folder / "go.mod").write_text(f"module {NAME}\n\ngo 1.21\n")
    return folder


def go(package: Path, release: str, *words: str, **variables: str) -> str:
    """What a go command prints, which has to succeed. Its programs export nothing: the tests read the queue."""
    own = {"GOTOOLCHAIN": f"go{release}", "GOFLAGS": "-buildvcs=false", "OTEL_TRACES_EXPORTER": "none", **variables}
    done = subprocess.run(["go", *words], cwd=package, env={**os.environ, **own}, capture_output=True, text=True)
    if "cgo" in done.stderr and "-race" in words:
        raise MissingTool("the race detector needs a C compiler")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("release", RELEASES)
def test_the_package_s_own_tests(package: Path, release: str) -> None:
    go(package, release, "vet", ".")
    said = go(package, release, "test", "-v", ".")
    assert said.count("--- PASS") >= 18


def test_under_the_race_detector(package: Path) -> None:
    go(package, "1.26.8", "test", "-race", "-count=2", ".")


SYNCTEST = """package app

import (
	"context"
	"gotaprt"
	"testing"
	"testing/synctest"
	"time"
)

func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i := 0; i < 1000; i++ {
			ctx, outer := gotaprt.Begin(context.Background(), "outer")
			go func() {
				_, inner := gotaprt.Begin(ctx, "inner")
				time.Sleep(time.Second)
				inner.End()
			}()
			outer.End()
		}
		time.Sleep(2 * time.Second)
	})
	if !gotaprt.Flush(30 * time.Second) {
		t.Error("not sent")
	}
}
"""


@pytest.mark.parametrize("release", [pytest.param("1.25.10", marks=pytest.mark.matrix), "1.27.4"])
def test_spans_of_synctest_bubbles(package: Path, release: str) -> None:
    """All goroutines of a bubble have to end, so the exporter's must never be one of them."""
    app = package.parent / "app"
    app.mkdir()
    (app / "bubble_test.go").write_text(SYNCTEST)
    required = "require gotaprt v0.0.0\n\nreplace gotaprt => ../gotaprt\n"
    (app / "go.mod").write_text(f"module example.com/app\n\ngo 1.25\n\n{required}")
    with collector() as otlp:
        sized = {"OTEL_BSP_MAX_QUEUE_SIZE": "10000", "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url}
        go(app, release, "test", "-count=1", ".", OTEL_TRACES_EXPORTER="otlp", **sized)
    assert otlp.spans() == 2000


@pytest.mark.parametrize("target", ["windows/amd64", "darwin/arm64", "linux/386", "js/wasm"])
def test_it_compiles_for_others(package: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, _, processor = target.partition("/")
    monkeypatch.setenv("GOOS", system)
    monkeypatch.setenv("GOARCH", processor)
    go(package, "1.26.8", "vet" if system == "linux" else "build", ".")


def test_sources_are_formatted(package: Path) -> None:
    done = subprocess.run(["gofmt", "-l", "."], cwd=package, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    done = subprocess.run(["gofmt", "-l", str(HERE)], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_it_imports_nothing_that_is_woven(package: Path) -> None:
    """net/http and database/sql import the package, and user code anything of it."""
    imported = set(go(package, "1.26.8", "list", "-deps", ".").split())
    forbidden = {"net/http", "database/sql", "log", "log/slog", "os/exec", "encoding/json", "text/template", "plugin"}
    assert not imported & forbidden


def test_wrappers_are_those_of_the_catalogues() -> None:
    wrappers = {name for library in libraries() for name in library.unwrap}
    text = sources()["failure.go"].decode()
    table = text[text.index("var wrappers") :].partition("\n}\n")[0]
    assert set(re.findall(r'"([^"]+)": +true', table)) == wrappers


def test_the_version_is_gotap_s() -> None:
    assert f'const Version = "{gotap.__version__}"'.encode() in sources()["version.go"]
