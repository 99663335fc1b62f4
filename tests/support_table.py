"""The table of docs/versions.md: what was seen in which Go version and build mode, written by the tests that saw it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import gobuild

_HEAD = """# Go versions and build modes

Written by `make test-matrix`, which builds `tests/programs/httpserver` in every way, puts it under load with gotap
attached, and compares what came out with what the load generator counted and the program's own answers.

A cell names what was seen:

- **s**: server spans, exactly one a request, with every attribute
- **c**: client spans, each the child of the request that made the call: by its context, its goroutine, through a pool
- **2**: the same over HTTP/2
- **r**: `http.route`; before Go 1.22 net/http does not keep the pattern that matched, so none can be told
"""

_HITS = """
## Probe hits

Counted for the plain build: how often a request hits a probe, by what it does. All sites in servers are at instructions
that the kernel emulates.
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one build showed. Hits are per request: HTTP/1.1, HTTP/2, HTTP/1.1 with one call to another server."""

    go: str
    mode: str
    server: bool
    client: bool
    http2: bool
    routes: bool
    hits: tuple[float, float, float]

    @property
    def cell(self) -> str:
        letters = zip("sc2r", (self.server, self.client, self.http2, self.routes), strict=True)
        return " ".join(letter for letter, seen in letters if seen) or "nothing"


def complete(seen: Iterable[Seen]) -> bool:
    """Whether every version was seen in every mode."""
    return {(one.go, one.mode) for one in seen} == {(go, mode) for go in gobuild.ALL for mode in gobuild.MODES}


def page(seen: Iterable[Seen]) -> str:
    """docs/versions.md."""
    cells = {(one.go, one.mode): one for one in seen}
    lines = [_HEAD, f"| Go | {' | '.join(gobuild.MODES)} |", f"|---|{'---|' * len(gobuild.MODES)}"]
    for go in reversed(gobuild.ALL):
        row = (cells[go, mode].cell if (go, mode) in cells else "" for mode in gobuild.MODES)
        lines.append(f"| {go} | {' | '.join(row)} |")
    lines += [_HITS, "| Go | HTTP/1.1 | HTTP/2 | HTTP/1.1 and a call |", "|---|---|---|---|"]
    for go in reversed(gobuild.ALL):
        if (go, "plain") in cells:
            lines.append(f"| {go} | {' | '.join(f'{hits:.1f}' for hits in cells[go, 'plain'].hits)} |")
    return "\n".join(lines) + "\n"
