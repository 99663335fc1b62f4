"""The level of lockdown: as the kernel tells it, or by what the verifier refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gotap.bpf.isa import Helper
from gotap.kernel import host, lockdown
from gotap.kernel.features import lockdown_level
from gotap.kernel.lockdown import CONFIDENTIALITY, INTEGRITY, NONE, level
from gotap.kernel.trials import Bench
from kernel_access import needs_bpf


def test_what_securityfs_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_read", lambda _: "none integrity [confidentiality]\n")
    assert host.lockdown() == CONFIDENTIALITY
    monkeypatch.setattr(host, "_read", lambda _: None)
    assert host.lockdown() is None


@pytest.mark.parametrize(("refused", "found"), [
    (set(), NONE),
    ({Helper.PROBE_WRITE_USER}, INTEGRITY),
    ({Helper.PROBE_WRITE_USER, Helper.PROBE_READ_KERNEL}, CONFIDENTIALITY),
    ({Helper.PROBE_WRITE_USER, Helper.PROBE_READ_KERNEL, Helper.PROBE_READ_USER}, None),
])  # fmt: skip
def test_what_the_verifier_refuses(refused: set[Helper], found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "lockdown", lambda: None)
    monkeypatch.setattr(host, "capabilities", lambda: {"CAP_SYS_ADMIN"})
    monkeypatch.setattr(host, "in_user_namespace", lambda: False)
    monkeypatch.setattr(lockdown, "_loads", lambda _, helper: helper not in refused)
    with Bench() as bench:
        assert level(bench) == found


def test_without_the_capability_a_refusal_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "lockdown", lambda: None)
    monkeypatch.setattr(host, "capabilities", lambda: {"CAP_BPF", "CAP_PERFMON"})
    with Bench() as bench:
        assert level(bench) is None


@pytest.mark.root
@needs_bpf
def test_this_kernel_agrees_with_itself(tmp_path: Path) -> None:
    """securityfs need not be mounted: for this test it is, where nobody else sees it."""
    read = f'mount -t securityfs none "{tmp_path}" && cat "{tmp_path}/lockdown"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", read], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"securityfs has no lockdown here: {done.stderr.strip()}")
    assert f"[{lockdown_level()}]" in done.stdout
