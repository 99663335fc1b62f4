"""gotap killed at one step of what it does to a process (GOTAP_TEST_DIE_AT): in a fork, so that each costs little."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable

from gotap.process import ptrace


def survives(step: int, action: Callable[[], object]) -> bool:
    """Runs `action` in a child that is killed right after its `step`th step; True if it came to its end before."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # a fork of a process with threads; the child takes no locks
        child = os.fork()
    if child == 0:
        code = 1
        try:
            ptrace._steps, ptrace._DIE_AT = 0, step
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0, "the child failed, see its output"
    return True


def at_every_step(action: Callable[[], object], check: Callable[[], object], first: int = 1) -> int:
    """Kills gotap after each step in turn, and checks the process each time; how many steps there are."""
    step = first
    while not survives(step, action):
        check()
        step += 1
    check()
    return step - 1
