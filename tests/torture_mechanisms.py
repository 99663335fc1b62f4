"""The mechanisms as a user names them, whether they are there, and what they leave in a process's memory.

What is in the memory is looked at without gotap: its text is compared with the executable's, byte by byte.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from cli import Finished, gotap
from gotap.process.processor import has_fsgsbase
from kernel_access import needs_bpf
from torture_program import torture

MECHANISMS = ("uprobe", "springboard", "hook")

#: Mappings that gotap, or the kernel on its behalf, may add to a process, by name.
OURS = re.compile(r"^(\[uprobes\]|\[uprobes-trampoline\]|/memfd:gotap-\w+.*)$")


class NotAvailable(Exception):
    """A mechanism that is not there on this host, in gotap's own words."""


def via(mechanism: str) -> tuple[str, ...]:
    """The words of the command line that choose a mechanism."""
    return ("--via", mechanism) if mechanism != "uprobe" or _has_option() else ()


@functools.cache
def _has_option() -> bool:
    return b"--via" in gotap("trace", "--help").out


@functools.cache
def unavailable(mechanism: str) -> str:
    """Why a mechanism cannot be used on this host at all, as gotap says it of a static program; "" if it can."""
    with torture(noises=(), loaded=False) as target:
        script = "main.mark:entry { @ = count() }"
        words = ("trace", "-p", str(target.pid), *via(mechanism), "--json", "--duration", "10ms", script)
        done = gotap(*words, timeout=120)  # the machine may be busy
        return "" if done.code == 0 else told(done)


def told(done: Finished) -> str:
    """What gotap said of a failure, as one line: without its name, and what probes would have cost."""
    lines = (line.removeprefix("gotap: ").strip() for line in done.err.splitlines())
    return "; ".join(line for line in lines if line and not re.search(r": [\d,]+ sites? \(", line))


def every_mechanism(quick: Sequence[str] = MECHANISMS) -> list[ParameterSet]:
    """Parameters for a test: those that go through the kernel need it to let them; those that are not quick: matrix."""
    kernel = [pytest.mark.root, needs_bpf]
    return [
        pytest.param(one, marks=[*([] if one == "hook" else kernel), *([] if one in quick else [pytest.mark.matrix])])
        for one in MECHANISMS
    ]


def skip_without(mechanism: str) -> None:
    """Where the host lacks what a mechanism needs; what the kernel must allow is told by `needs_bpf`."""
    if mechanism == "hook" and not has_fsgsbase():
        pytest.skip("hooks need RDFSBASE, which this processor or its kernel does not have")


@dataclass(frozen=True, slots=True)
class Memory:
    """What of a process must be after a detach as it was before."""

    text: dict[tuple[int, int], bytes]  # executable mappings of the executable, by addresses
    mappings: frozenset[str]  # lines of /proc/PID/maps that Go itself does not change
    descriptors: frozenset[str]  # gotap's files that are open
    ours: frozenset[str] = field(default_factory=frozenset)  # names of mappings that came by observing

    @classmethod
    def of(cls, pid: int) -> Memory:
        text, lines, ours = {}, set(), set()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for line, start, end, permissions, name in _mappings(pid):
                if OURS.match(name):
                    ours.add(re.sub(r" \(deleted\)$", "", name))
                    continue
                if "x" in permissions and name.startswith("/"):
                    memory.seek(start)
                    text[start, end] = memory.read(end - start)
                if "x" in permissions or name.startswith("/"):
                    lines.add(line)
        return cls(text, frozenset(lines), frozenset(_descriptors(pid)), frozenset(ours))

    def differences(self, later: Memory) -> list[str]:
        """What is not as it was, named mappings of gotap's apart."""
        found = [f"mapping gone: {line}" for line in sorted(self.mappings - later.mappings)]
        found += [f"mapping new: {line}" for line in sorted(later.mappings - self.mappings)]
        found += [f"descriptor left: {name}" for name in sorted(later.descriptors - self.descriptors)]
        for place, before in self.text.items():
            after = later.text.get(place, b"")
            if after != before:
                at = next((i for i, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), 0)
                found.append(f"text at {place[0] + at:#x}: {before[at : at + 8].hex()} is {after[at : at + 8].hex()}")
        return found


def patches(before: Memory, now: Memory) -> Counter[str]:
    """How many sites are `int3` (a uprobe), `jump` (a springboard or hook) or `other`: runs of changed bytes."""
    found: Counter[str] = Counter()
    for place, old in before.text.items():
        new = now.text.get(place, old)
        changed = np.flatnonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8))
        last = -2
        for at in changed.tolist():
            kind = {0xCC: "int3", 0xE9: "jump"}.get(new[at], "other")
            if at > last and not (kind == "other" and at == last + 1):  # what fills the rest behind a jump is its own
                found[kind] += 1
                last = at + 4 if kind == "jump" else at
            last = max(last, at)
    return found


def _mappings(pid: int) -> Iterator[tuple[str, int, int, str, str]]:
    """(line, start, end, permissions, name) of each."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        start, end = (int(one, 16) for one in fields[0].split("-"))
        yield line, start, end, fields[1], fields[5] if len(fields) > 5 else ""


def _descriptors(pid: int) -> Iterator[str]:
    """Go, and the race detector, open files when they like."""
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if "gotap-" in (to := os.readlink(one)):
                yield to
