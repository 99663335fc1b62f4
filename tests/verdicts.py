"""gotap's verdict on real programs, what it then sees of them, and what its remedies change."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import gobuild
from cli import started
from gotap.commands.judging import Judge
from gotap.verdict.model import Answer, Finding, Verdict
from httpload import load
from vendor_table import EXPECTED, Seen
from watching import watching

REQUESTS = 20


@functools.cache
def _judge() -> Judge:
    return Judge()


def verdict(target: Path | int) -> Verdict:
    """What `gotap inspect` makes of a file or a process. Raises GotapError."""
    found = _judge().file(str(target)) if isinstance(target, Path) else _judge().process(str(target), target)
    if found.error is not None:
        raise found.error
    assert found.verdict is not None
    return found.verdict


def held(found: Verdict) -> dict[str, Finding]:
    """Id → the condition, of those that hold."""
    return {one.id: one for one in found.conditions}


def releases(id: str) -> list[object]:
    """Parameters for `@pytest.mark.parametrize("go", …)`: those of the table, all but the last `matrix`."""
    *others, last = EXPECTED[id]
    return [*(pytest.param(go, marks=pytest.mark.matrix) for go in others), last]


# -- what is seen of it ---------------------------------------------------------------------------------------------


def observed(pid: int, address: str, *, works: object = True) -> str:
    """Attaches by uprobes, sends requests, and counts: one span for each, nothing lost."""
    return watched(pid, lambda: load(address, "/hello", REQUESTS).status[200], works=works)


def watched(pid: int, ask: Callable[[], int], *, works: object = True) -> str:
    """As `observed`; `ask` sends REQUESTS requests and returns how many were answered."""
    assert verdict(pid).mechanisms["uprobe"].works == works
    with watching(pid) as watch:
        assert ask() == REQUESTS
        spans = watch.take("server")
        assert len({span.span_id for span in spans}) == len(spans) == REQUESTS
        assert {span["url.path"] for span in spans} == {"/hello"}
        assert watch.losses() == {}
    return f"uprobe: {REQUESTS} requests, {len(spans)} spans"


def left_to(found: Verdict, mechanism: str, condition: str) -> str:
    """Of a program that no live mechanism of today observes: the condition names one that nothing hinders."""
    assert not any(one.works for name, one in found.mechanisms.items() if name != "weave")
    assert mechanism in held(found)[condition].message
    if mechanism == "weave":
        assert found.mechanisms[mechanism] == Answer(True)
        return "left to what is woven in"
    assert found.mechanisms[mechanism] == Answer(False, ("planned",))
    return f"planned: {mechanism}"


# -- remedies, as they are typed ------------------------------------------------------------------------------------


@contextmanager
def module(program: str) -> Iterator[Path]:
    """A copy of tests/programs/PROGRAM to type commands in."""
    with tempfile.TemporaryDirectory(prefix="gotap-module-") as directory:
        yield Path(shutil.copytree(gobuild.PROGRAMS / program, Path(directory) / program))


def rebuilt(finding: Finding, go: str, program: str, *, prepare: str = "true", works: bool = True) -> str:
    """Types a rebuild where the program's module is: the condition is gone, and uprobes work on what it leaves.

    `prepare` is typed before it, as who made the program had done; `works` is False for one without any library.
    """
    with module(program) as directory:
        gobuild.typed(go, prepare, directory)
        gobuild.typed(go, finding.remedy, directory)
        found = verdict(directory / program)
    assert finding.id not in held(found), finding.remedy
    assert found.mechanisms["uprobe"].works is works, finding.remedy
    return "it no longer holds"


def attached(finding: Finding, address: str) -> str:
    """Types `gotap attach PID`, with or without sudo: it tells of each request."""
    *command, attach, pid = shlex.split(finding.remedy)  # after sudo the path of gotap stands in full
    assert ("gotap" in command[-1], attach) == (True, "attach")
    with started(attach, pid) as gotap:
        gotap.attached()
        assert load(address, "/hello", REQUESTS).status[200] == REQUESTS
        summary = gotap.finish(signal.SIGINT).summary
    assert (summary.spans, summary.errors, summary.dropped) == (REQUESTS, 0, 0)
    return f"attached, {REQUESTS} requests, {summary.spans} spans"


# -- what the table holds -------------------------------------------------------------------------------------------


def seen(
    finding: Finding, go: str, made: str, observed: str, outcome: str = "", names: Mapping[str, str] | None = None
) -> Seen:
    """A row; in its texts each of `names`, which differ from run to run, is replaced by what it stands for."""
    assert finding.evidence
    assert finding.vendor
    known = {**(names or {}), str(gobuild.PROGRAMS): "…", str(Path.home()): "~", str(os.getpid()): "PID"}

    def tidy(text: str) -> str:
        for name, meaning in sorted(known.items(), key=lambda one: -len(one[0])):
            text = text.replace(name, meaning)
        return text

    remedy = tidy(finding.remedy) if outcome else ""
    return Seen(finding.id, go, made, tidy(finding.evidence), observed, remedy, outcome)
