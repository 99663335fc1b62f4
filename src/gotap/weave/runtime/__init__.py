"""The Go package that woven programs carry: spans, their propagation, sampling and export."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

#: The import path of the package, which is its folder below GOROOT/src.
NAME = "gotaprt"


@cache
def sources() -> Mapping[str, bytes]:
    """The package's Go files by name, for GOROOT/src/gotaprt: one imports what only the standard library may."""
    folder = Path(__file__).parent / NAME
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.go"))}
