"""What the auxiliary vector says, held against what ld.so prints of it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from gotap.process.processor import has_fsgsbase


def test_what_programs_may_do_is_what_ld_so_is_told() -> None:
    program = shutil.which("true")
    assert program is not None
    told = subprocess.run([program], env={**os.environ, "LD_SHOW_AUXV": "1"}, capture_output=True, text=True).stdout
    words = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    if "AT_HWCAP2" not in words:
        pytest.skip("the C library prints no auxiliary vector")
    assert has_fsgsbase() is bool(int(words["AT_HWCAP2"], 16) >> 1 & 1)
