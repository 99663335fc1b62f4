"""How far the kernel is locked down against root (security/lockdown), told by it or by what its verifier refuses."""

from __future__ import annotations

from collections.abc import Iterator

from gotap.bpf.isa import Helper
from gotap.kernel import host
from gotap.kernel.errors import KernelError
from gotap.kernel.findings import Feature
from gotap.kernel.trials import UNTRIED, Bench, calling

NONE, INTEGRITY, CONFIDENTIALITY = "none", "integrity", "confidentiality"

_NAME = "kernel lockdown"
_TOLD = {
    NONE: "none",
    INTEGRITY: "integrity: BPF cannot write to processes, which gotap never needs",
    CONFIDENTIALITY: "confidentiality: BPF can neither write to processes nor read the kernel's memory; gotap needs "
    "neither",
}


def level(bench: Bench) -> str | None:
    """NONE, INTEGRITY or CONFIDENTIALITY; None when nothing tells.

    Where securityfs is not mounted, the verifier does: the helpers that write to users' memory and read the kernel's
    are there for CAP_SYS_ADMIN and CAP_PERFMON unless lockdown takes them away (kernel/trace/bpf_trace.c,
    bpf_get_probe_write_proto and bpf_tracing_func_proto; LOCKDOWN_BPF_WRITE_USER, LOCKDOWN_BPF_READ_KERNEL).
    """
    told = host.lockdown()
    if told is not None:
        return told
    if "CAP_SYS_ADMIN" not in host.capabilities() or host.in_user_namespace():
        return None
    # Reading first: where both are allowed the kernel logs a warning about the program that may write.
    if not _loads(bench, Helper.PROBE_READ_USER):
        return None  # programs are refused for another reason
    if not _loads(bench, Helper.PROBE_READ_KERNEL):
        return CONFIDENTIALITY
    return NONE if _loads(bench, Helper.PROBE_WRITE_USER) else INTEGRITY


def lockdown(bench: Bench) -> Iterator[Feature]:
    """Nothing that gotap needs is taken away by it, so that it is told as it is, with no remedy."""
    found = level(bench)
    if found is None:
        yield Feature("lockdown", _NAME, False, UNTRIED, tried=False)
        return
    yield Feature("lockdown", _NAME, True, _TOLD.get(found, found))


def _loads(bench: Bench, helper: Helper) -> bool:
    try:
        bench.load(calling(helper))
    except (KernelError, OSError):
        return False
    return True
