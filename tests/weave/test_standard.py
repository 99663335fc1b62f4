"""A Go whose files change under the version that it has: what is woven is what is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from weavecases import go, module, run

PROGRAM = """package main

import (
	"fmt"
	"html"
	"net/http"
)

//gotap:span
func text() string { return html.EscapeString("<") + http.StatusText(200) }

func main() { fmt.Println(text()) }
"""


def _replace(path: Path, old: str, new: str) -> None:
    """As package managers and editors do it: another file takes the place."""
    text = path.read_text()
    assert old in text
    path.unlink()
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def own_go(tmp_path: Path) -> dict[str, str]:
    """A copy of the Go that is there, and the environment to use it."""
    environment = {"GOTOOLCHAIN": "local"}
    root = subprocess.run(
        ["go", "env", "GOROOT"], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    ).stdout.strip()

    def place(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(root, tmp_path / "go", copy_function=place, ignore=shutil.ignore_patterns("testdata"))
    return {**environment, "PATH": f"{tmp_path}/go/bin:{os.environ['PATH']}", "GOPROXY": "off"}


def test_a_standard_library_that_changes(own_go: dict[str, str], tmp_path: Path) -> None:
    app, source = module(tmp_path / "app", {"main.go": PROGRAM}), tmp_path / "go" / "src"

    def built() -> str:
        done = go(app, "build", "-o", "program", ".", **own_go)
        assert done.code == 0, done.err
        return run(app / "program").out

    assert built() == "&lt;OK\n"
    _replace(source / "html" / "escape.go", '`<`, "&lt;"', '`<`, "&less;"')  # of a package that is not woven
    assert built() == "&less;OK\n"
    _replace(source / "net" / "http" / "status.go", 'return "OK"', 'return "Fine"')  # of one that is
    assert built() == "&less;Fine\n"
    _replace(source / "net" / "http" / "server.go", "package http", "package http // mended\n\n")  # of a woven file
    assert built() == "&less;Fine\n"
