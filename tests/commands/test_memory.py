"""numpy without threads of its own, and without a trace in the environment that programs inherit."""

from __future__ import annotations

import os
import subprocess
import sys

_SCRIPT = """
import os
from gotap.commands.memory import keep_small

keep_small()
import numpy

print(len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS"))
"""


def _threads_and_setting(**environment: str) -> list[str]:
    plain = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=plain | environment, check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def test_numpy_starts_no_threads_and_programs_do_not_hear_of_it() -> None:
    assert _threads_and_setting() == ["1", "None"]


def test_what_the_user_asks_of_numpy_holds() -> None:
    assert _threads_and_setting(OPENBLAS_NUM_THREADS="2")[1] == "2"
