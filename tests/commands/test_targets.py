"""Executables that are read once for all processes that run them, and given up when others took their place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import cast

import pytest

from gotap.commands import targets
from gotap.commands.targets import Program, Targets
from gotap.kernel.watch import Watcher
from gotap.sinks.environment import Environment


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Targets:
    monkeypatch.setattr(targets, "_PROGRAMS", 2)
    return Targets(cast(Watcher, None), Environment({}), {})


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
