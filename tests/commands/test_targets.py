"""Executables that are read once for all processes that run them, and given up when others took their place."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from goservers import Server
from gotap.commands import targets
from gotap.commands.mechanisms import Machines
from gotap.commands.targets import Program, Targets
from gotap.kernel import machine
from gotap.kernel.attach import Link
from gotap.kernel.bpf import Program as KernelProgram
from gotap.observe.watchers import Watchers
from gotap.sinks.environment import Environment
from kernel_access import needs_bpf
from processes import PATIENCE
from watching import watching


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Targets:
    monkeypatch.setattr(targets, "_PROGRAMS", 2)
    return Targets(cast(Watchers, None), cast(Machines, SimpleNamespace(whole=False)), Environment({}), {})


def program(opened: Targets, path: Path) -> Program:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return opened.program(descriptor, path.name)
    finally:
        os.close(descriptor)


def test_the_executables_used_last_are_kept(opened: Targets, hello: Path, tmp_path: Path) -> None:
    first, second, third = (Path(shutil.copy(hello, tmp_path / name)) for name in ("first", "second", "third"))
    kept = program(opened, first)
    gone = program(opened, second)
    assert program(opened, first) is kept
    program(opened, third)
    assert program(opened, first) is kept
    assert program(opened, second) is not gone


@pytest.mark.root
@needs_bpf
def test_who_attaches_can_do_something_meanwhile(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' records are to be taken: while the executable is read, and while the kernel verifies programs."""
    load, attach_uprobes = KernelProgram.load, machine.attach_uprobes
    attached: list[Link] = []
    called = 0
    wanted = threading.Condition()

    def meanwhile() -> None:
        nonlocal called
        assert not attached, "nothing of this process may come: its number is not known yet"
        with wanted:
            called += 1
            wanted.notify_all()

    def slow(*arguments: Any, **named: Any) -> KernelProgram:
        with wanted:
            before = called
            assert wanted.wait_for(lambda: called >= before + 2, PATIENCE)
        return load(*arguments, **named)

    def noted(*arguments: Any, **named: Any) -> Link:
        attached.append(attach_uprobes(*arguments, **named))
        return attached[-1]

    with watching() as watched:
        monkeypatch.setattr(KernelProgram, "load", slow)
        monkeypatch.setattr(machine, "attach_uprobes", noted)
        target = watched.targets.open(server.pid, meanwhile)
        watched.watched[target.attachment.number] = target
        assert target.attachment.links == attached
