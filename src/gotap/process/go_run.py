"""Whether a program is the temporary executable of `go run`, which is stripped and whose file goes away."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: $GOTMPDIR or $TMPDIR, cmd/go/internal/work: Go ≤ 1.23 always, later ones when the program is not cached yet.
_BUILT = re.compile(r"/go-build\d+/b\d+/exe/[^/]+$")
#: $GOCACHE/xx/HASH-d/NAME, cmd/go/internal/cache (PutExecutable): Go ≥ 1.24.
_CACHED = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{64}-d/[^/]+$")


def may_be_go_run(exe: str) -> bool:
    """Whether the path is one of those."""
    return (_BUILT.search(exe) or _CACHED.search(exe)) is not None


def read_go_run(exe: str, parent_name: str, parent_command: Sequence[str]) -> tuple[bool, str]:
    """The answer and its evidence. `parent_name`: empty when it has no live parent that we may see.

    `go tool NAME` runs tools of the module from the same places.
    """
    where = _BUILT.search(exe) or _CACHED.search(exe)
    if where is None:
        return False, "its path is none that `go run` uses"
    kind = "Go's temporary build directory" if where.re is _BUILT else "Go's build cache"
    command = next((word for word in parent_command[1:] if not word.startswith("-")), "")
    if parent_name == "go" and command == "tool":
        return False, f"it lies in {kind}, but its parent is `go tool`"
    parent = f"and its parent is `go {command}`" if parent_name == "go" else "and the go command is gone"
    return True, f"it lies in {kind}, {parent}"
