"""A watched process that executes another program: watched on, and said."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from cli import started
from gobuild import build
from httpload import load
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]


@pytest.mark.parametrize("mode", ["plain", "pie"])
def test_a_target_that_executes_itself_anew_is_watched_on(mode: str) -> None:
    program = build("reexec", mode=mode)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            first = server.stdout.readline().strip()
            with started("attach", str(server.pid), "--to", "json") as watching:
                watching.attached()
                load(first, "/before", 5)
                watching.wait_for_spans(5)
                os.kill(server.pid, signal.SIGUSR1)
                second = server.stdout.readline().strip()
                watching.wait_for("executed another program")
                watching.wait_for("which is watched now")
                load(second, "/after", 5)
                watching.wait_for_spans(10)
                done = watching.finish(signal.SIGINT)
        finally:
            server.kill()
    assert done.code == 0
    assert len(done.spans) == 10
