"""Executions of a process are noted as they happen, and wake the reader of the ring."""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Iterator

import pytest

from gotap.kernel import features
from gotap.kernel.executions import Executions, watch_executions
from gotap.kernel.ring import Ring
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]

#: Executes itself for each line.
SHELL = "read line; exec sh -c \"$0\" \"$0\""


@pytest.fixture
def ring() -> Iterator[Ring]:
    one = Ring.create(1 << 14)
    yield one
    one.close()


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sh", "-c", SHELL, SHELL], stdin=subprocess.PIPE, bufsize=0) as one:
        yield one
        one.kill()


def wait_for(ring: Ring) -> None:
    poll = select.poll()
    poll.register(ring, select.POLLIN)
    assert poll.poll(30_000)
    assert ring.read() == []  # what woke us is nothing to read


def execute(shell: subprocess.Popen[bytes]) -> None:
    assert shell.stdin is not None
    shell.stdin.write(b"again\n")


def test_each_execution_is_noted_with_its_time(ring: Ring, shell: subprocess.Popen[bytes]) -> None:
    with Executions(shell.pid, ring, features.scripting()) as executions:
        assert executions.new() == []
        for _ in range(3):
            before = time.monotonic()
            execute(shell)
            wait_for(ring)
            (at,) = executions.new()
            assert before <= at <= time.monotonic()
            assert executions.new() == []


def test_other_processes_do_not_count(ring: Ring, shell: subprocess.Popen[bytes]) -> None:
    with Executions(shell.pid, ring, features.scripting()) as executions:
        subprocess.run(["true"], check=True)
        assert executions.new() == []
        assert ring.waiting() == 0


def test_what_cannot_be_watched_is_done_without(ring: Ring) -> None:
    assert watch_executions(None, ring, features.scripting()) is None
