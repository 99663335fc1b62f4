"""The table of docs/vendor-conditions.md: what became of each condition in a real program, by the tests that saw it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import gobuild
from gotap.verdict.conditions import ALL

_ENDS = (gobuild.OLDEST, gobuild.NEWEST)

#: Condition → the releases that it is to be seen with.
EXPECTED: dict[str, tuple[str, ...]] = {
    "unofficial-release": ("1.27rc1",),
    "not-gc": ("gccgo-12",),
    "fips": gobuild.ALL[6:],  # GOFIPS140 came with Go 1.24
    "linkshared": ("1.21.13",),
    "pie-without-libc": gobuild.ALL,
    "plugin-capable": _ENDS,
    "plugin-loaded": _ENDS,
    "vendored": gobuild.ALL[5:],  # what golang.org/x/net asks for
    "stripped": gobuild.ALL,
    "go-run": _ENDS,
    "race": gobuild.ALL,
    "threadcreate-profile": gobuild.ALL,
    "static": gobuild.ALL,
    "static-parent": _ENDS,
    "parent-restart": _ENDS,
    "static-entrypoint": _ENDS,
    "static-cgo": gobuild.ALL,
    "ptrace-denied": _ENDS,
    "no-libc-in-container": _ENDS,
    "exe-replaced": _ENDS,
    "cgo-disabled": gobuild.ALL,
    "musl-internal-linker": gobuild.ALL,
    "musl-dynamic": gobuild.ALL,
    "musl-static": gobuild.ALL,
    "windows-dynamic": _ENDS,
    "no-musl-toolchain": gobuild.ALL,
}

_HEAD = """# The limits of other agents

Written by `make test-matrix`. The documentation of a commercial agent, Dynatrace OneAgent, lists these conditions under
which it does not monitor a Go program, or not without further ado. For each of them the tests build or run the real
thing, have gotap judge it, watch it, and type the remedy that gotap proposes.

- **Seen**: what gotap tells as evidence, of a program made in that way
- **gotap**: the mechanism that observed the program, with the requests that were sent and those that became spans;
  *planned* where no mechanism of today observes it, and the one that nothing stands in the way of
- **Remedy**: the command that gotap proposes, and what came of typing it

What each condition means for gotap stands in [Conditions](conditions.md). TinyGo is a case of `not-gc` without a row:
no package registry has that compiler, so its programs are recognised by rules alone.

| condition | what the agent's documentation says | made by | Go | seen | gotap | remedy |
| --- | --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One condition in one program. `made`: how, in words and `code`; `remedy` empty where gotap proposes none."""

    id: str
    go: str
    made: str
    evidence: str
    observed: str
    remedy: str = ""
    outcome: str = ""


def complete(seen: Iterable[Seen]) -> bool:
    """Whether every condition was seen with every release that it is to be seen with."""
    return {(one.id, one.go) for one in seen} >= {(id, go) for id, releases in EXPECTED.items() for go in releases}


def page(seen: Iterable[Seen]) -> str:
    """docs/vendor-conditions.md. The words are those of the newest release; the others were seen to be like it."""
    rows = {(one.id, one.go): one for one in seen}
    vendor = {one.id: one.vendor for one in ALL}
    lines = []
    for id, releases in EXPECTED.items():
        last = rows[id, releases[-1]]
        remedy = f"`{last.remedy}`: {last.outcome}" if last.remedy else "none is needed"
        cells = (f"[{id}](conditions.md#{id})", vendor[id], last.made, _releases(releases), last.evidence,
                 last.observed, remedy)  # fmt: skip
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return _HEAD + "".join(lines)


def _releases(releases: tuple[str, ...]) -> str:
    return " and ".join(releases) if len(releases) < 3 else f"{releases[0]} to {releases[-1]}, {len(releases)} releases"
