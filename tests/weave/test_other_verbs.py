"""Verbs that compile no program of the user's are the user's go's."""

from __future__ import annotations

from pathlib import Path

import pytest

from weavecases import go, module

MAIN = """package main

//go:generate go run ./generator generated.go

//gotap:span
func main() { println(generated) }
"""
GENERATOR = """package main

import (
	"fmt"
	"os"
	"runtime"
)

//gotap:span
func main() {
	_, is := os.LookupEnv("GOROOT")
	text := fmt.Sprintf("package main\\n\\nconst generated = %q\\n", fmt.Sprint(runtime.GOROOT(), is))
	if err := os.WriteFile(os.Args[1], []byte(text), 0o666); err != nil {
		panic(err)
	}
}
"""


@pytest.mark.parametrize("words", [
    "env GOROOT GOTOOLDIR GOMODCACHE GOWORK", "tool compile -V=full", "tool -n vet", "list std", "version", "mod graph",
    "vet ./...", "list -m", "nonsense",
])  # fmt: skip
def test_they_do_what_they_do(words: str, tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": "package main\n\nfunc main() { }\n"})
    assert go(app, *words.split()) == go(app, *words.split(), woven=False)


def test_generated_files_are_what_they_are(tmp_path: Path) -> None:
    """Generators see nothing of gotap."""
    app = module(tmp_path / "app", {"main.go": MAIN, "generator/main.go": GENERATOR})
    made = []
    for woven in (False, True):
        done = go(app, "generate", "-x", woven=woven)
        assert done.code == 0, done.err
        made.append((app / "generated.go").read_text())
        (app / "generated.go").unlink()
    assert made[0] == made[1]
    assert "const generated" in made[0]
