"""What is put into a file moves nothing else: the compiler's messages name the same lines and columns as before."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from gobuild import NEWEST
from gotap.weave.edits import Edit, apply

SOURCE = b"""package main

import "fmt"

func add(a, b int) int { return a + b }

func main() {\r
\tfmt.Println(add(1, 2)); fmt.Println("\xc3\xa4", add(undefined1, 2))
\tundefined2()
\t/* a comment */ undefined3()
}
"""


def test_edits_at_one_place_keep_their_order() -> None:
    assert apply(b"a + b", [Edit(0, 0, "f("), Edit(0, 0, "g("), Edit(5, 0, "))")]) == b"f(g(/*line :1:1*/a + b))"


def test_nothing_is_said_of_a_place_where_nothing_stands() -> None:
    assert apply(b"package x\nvar a int\n", [Edit(9, 0, ";import b")]) == b"package x;import b\nvar a int\n"


def test_lines_that_go_are_counted() -> None:
    assert apply(b"a(\n1,\n2)\nb", [Edit(2, 5, "3")]) == b"a(3/*line :3:2*/)\nb"


@pytest.mark.parametrize("go", ["1.21.13", NEWEST])
def test_places_are_the_users(go: str, tmp_path: Path) -> None:
    before = complaints(go, tmp_path, SOURCE)
    assert len(before) == 3
    rng = random.Random(go)
    places = [found.start() for found in re.finditer(rb"\b(fmt|add|undefined\d)\b(?=[.(])", SOURCE)]
    for count in (1, 3, len(places)):
        chosen = sorted(rng.sample(places, count))
        edits = [Edit(at, 0, f"/* {at} */ ") for at in chosen]
        assert complaints(go, tmp_path, apply(SOURCE, edits)) == before


def complaints(go: str, folder: Path, source: bytes) -> list[str]:
    (folder / "go.mod").write_text("module example.com/m\n\ngo 1.21\n")
    (folder / "main.go").write_bytes(source)
    environment = {**os.environ, "GOTOOLCHAIN": f"go{go}", "GOFLAGS": "-buildvcs=false"}
    words = ["go", "build", "-o", os.devnull, "."]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    return [line for line in done.stderr.splitlines() if line.startswith("./main.go:")]
