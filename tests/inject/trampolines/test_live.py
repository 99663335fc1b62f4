"""Hooks in running Go programs: exact to the call while everything goes on that makes calls hard to count."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gobuild
import hooking
from gotap.inject.patches.leftovers import remove
from gotap.inject.trampolines.hook import hook_refusal
from gotap.process.launch import Program, Redirect, launch
from hooking import Sites, hooked, put_hooks
from torture_program import BUILDS, CALLED_BY_C, FUNCTIONS, RELEASES, executable, torture

EVERY = [
    pytest.param(build, go, id=f"{build} {go}", marks=() if build in ("static", "PIE, stripped") and go in (
        gobuild.OLDEST, gobuild.NEWEST) else pytest.mark.matrix)
    for build in BUILDS for go in RELEASES
]  # fmt: skip
ROUNDS = 2000


@pytest.mark.parametrize("careful", [False, True], ids=["scratch", "careful"])
@pytest.mark.parametrize(("build", "go"), EVERY)
def test_every_call_is_counted_once(build: str, go: str, careful: bool) -> None:
    """The program destroys all registers that it may, so what does not come back ends the target."""
    sites = Sites(executable(build, go)).find((*FUNCTIONS, CALLED_BY_C))
    chosen = [one for one in sites.all() if one.live and not hook_refusal(hooked(one, careful))]
    with torture(build, go) as target, hooking.closing(put_hooks(target.pid, sites, chosen, careful=careful)) as put:
        assert put.apply().refused == ()
        target.works()
        target.order("load", 0)
        before = put.counts()
        told = target.order("measure", ROUNDS, patience=120)
        after = put.counts()
        assert put.region is not None
        lost = put.region.counters()
        for name, site in sites.entries.items():
            if site in chosen:
                assert after[site.address] - before[site.address] == told[name], (name, lost)
        assert sum(one in chosen for one in sites.entries.values()) >= (3 if careful else 4)
        assert sum(lost.values()) == 0
        target.order("load", 1)
        assert remove(target.pid).is_complete
        target.works()


def test_a_program_that_has_not_begun(tmp_path: Path) -> None:
    """Held at its exec: the very first call is counted."""
    sites = Sites(executable()).find(FUNCTIONS)
    chosen = [site for site in sites.all() if not hook_refusal(site)]
    orders = tmp_path / "orders"
    orders.write_text("measure 500\n")
    with standard_input(orders):
        program = launch([str(sites.path), "-noise=garbage,stacks"], stdout=Redirect.PANE)
    with program, hooking.closing(put_hooks(program.pid, sites, chosen)) as put:
        outcome = put.apply()
        assert (len(outcome.done), outcome.refused) == (len(put.patches), ())
        program.release()
        told = json.loads(output(program).splitlines()[1])
        assert program.wait() == 0
        counted = put.counts()
        for name, site in sites.entries.items():
            if site.address in counted:
                assert counted[site.address] == told[name], name


@contextmanager
def standard_input(path: Path) -> Iterator[None]:
    saved, file = os.dup(0), os.open(path, os.O_RDONLY)
    os.dup2(file, 0)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(file)


def output(program: Program) -> str:
    """All that it writes until it ends."""
    assert program.output is not None
    os.set_blocking(program.output, True)
    content = b""
    with contextlib.suppress(OSError):  # EIO: the last writer is gone
        while part := os.read(program.output, 65536):
            content += part
    return content.decode()
