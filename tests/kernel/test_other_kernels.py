"""Scripts on other kernels than this one, by scripts/kernels.py: those that GOTAP_TEST_KERNELS names, joined by `:`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_access import needs_bpf

pytestmark = [pytest.mark.matrix, pytest.mark.root, needs_bpf]

SCRIPT = Path(__file__).parent.parent.parent / "scripts/kernels.py"
KERNELS = [path for path in os.environ.get("GOTAP_TEST_KERNELS", "").split(":") if path]


#: What 5.15 lacks, so that its programs are tried on every kernel.
@pytest.mark.parametrize("without", ["", "bpf_loop,percpu_lookup,clock_growing"], ids=["all", "as of 5.15"])
@pytest.mark.parametrize("kernel", KERNELS or [pytest.param("", id="none")])
def test_programs_verify_and_count(kernel: str, without: str) -> None:
    if not kernel:
        pytest.skip("GOTAP_TEST_KERNELS names no kernels (paths of vmlinuz files)")
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is not installed (Debian package qemu-system-x86)")
    done = subprocess.run([sys.executable, SCRIPT, "--without", without, kernel], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all counts are right" in done.stdout
