"""A program that links the standard library of a Go release: every exported function and method, and all they call."""

from __future__ import annotations

import os
from pathlib import Path

from gobuild import PROGRAMS, build, go_tool


def everystd(go: str) -> Path:
    """The executable, with debug information, without cgo. Raises MissingTool, BuildFailed."""
    text = _source(go)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gotap-tests" / f"everystd-{go}"
    cache.mkdir(parents=True, exist_ok=True)
    for name, content in (("main.go", text), ("go.mod", "module example.com/everystd\n\ngo 1.18\n")):
        if not (cache / name).exists() or (cache / name).read_text() != content:
            (cache / f".{name}").write_text(content)
            (cache / f".{name}").replace(cache / name)
    return build(cache, go, mode="cgo0")


def _source(go: str) -> str:
    """What tests/programs/stdnames, which reads the sources that come with the release, writes."""
    program = PROGRAMS / "stdnames" / "main.go"
    return go_tool(go, "run", str(program))
