from __future__ import annotations

import os

from gotap.process.listing import list_processes
from processes import python, running


def test_list_has_what_runs_and_neither_kernel_threads_nor_what_has_ended() -> None:
    with python("print(flush=True); input()") as child, running("true") as ended:
        child.stdout.readline()  # type: ignore[union-attr]
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        listed = []
        for process in list_processes():
            assert not process.stat().is_kernel_thread
            listed.append(process.pid)
    assert {os.getpid(), child.pid} <= set(listed)
    assert listed == sorted(listed)
    assert ended.pid not in listed


def test_descriptors_do_not_pile_up() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for process in list_processes():
        assert len(os.listdir("/proc/self/fd")) <= before + 2
        if process.pid > os.getpid():
            break
