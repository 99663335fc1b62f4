from __future__ import annotations

import os
import subprocess
import sys

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


def test_a_list_does_without_numpy() -> None:
    """Which takes longer to load than 300 processes to list."""
    code = (
        "import sys\n"
        "from gotap.errors import GotapError\n"
        "from gotap.process.facts_cache import facts_cache\n"
        "from gotap.process.listing import list_processes\n"
        "from gotap.process.reading import Observer\n"
        "observer = Observer()\n"
        "for process in list_processes():\n"
        "    try: observer.read(process, inside=False)\n"
        "    except GotapError: pass\n"
        "print('numpy' in sys.modules)\n"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
