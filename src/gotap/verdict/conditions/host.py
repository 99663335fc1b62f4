"""Host and privileges.

Looked at for processes only: a file may run anywhere.
"""

from __future__ import annotations

from collections.abc import Callable

from gotap.verdict.conditions.rules import KERNEL, Rule
from gotap.verdict.model import RULES_OUT, Condition, Host, Situation

#: Ids of host features (gotap.kernel.features) that carry a probe, as opposed to BPF itself.
UPROBE_FEATURES = ("uprobes",)


def _without(situation: Situation, allowed: str) -> Host | None:
    """The host, if that is what it lacks."""
    host = situation.host
    return host if host is not None and not getattr(host, allowed) else None


def _no_privilege(situation: Situation) -> str | None:
    host = _without(situation, "privileged")
    if host is None:
        return None
    why = host.missing.get("capabilities", ("gotap may neither use BPF nor perf events",))
    return why[0]


def _lacking(allowed: str, otherwise: str) -> Rule:
    def rule(situation: Situation) -> str | None:
        host = _without(situation, allowed)
        if host is None or not host.privileged:
            return None
        told = [why for id, (why, _) in host.missing.items() if (id in UPROBE_FEATURES) is (allowed == "uprobes")]
        return "; ".join(told) or otherwise

    return rule


def _remedy(uprobes: bool, otherwise: str) -> Callable[[Situation], str]:
    def remedy(situation: Situation) -> str:
        missing = situation.host.missing if situation.host else {}
        told = [fix for id, (_, fix) in missing.items() if fix and (id in UPROBE_FEATURES) is uprobes]
        return told[0] if told else otherwise

    return remedy


def _privilege_remedy(situation: Situation) -> str:
    """By hooks, where they are permitted: they need no privilege."""
    process, host = situation.process, situation.host
    if situation.facts.go is None:
        return ""  # root could not attach to it either
    if process is not None and process.ptrace_allowed and host is not None and host.fsgsbase:
        return f"gotap attach --via hook {process.pid}"
    return f"sudo {host.command if host else 'gotap'} attach {process.pid if process else 'PID'}"


def _no_fsgsbase(situation: Situation) -> str | None:
    if situation.host is None or situation.host.fsgsbase:
        return None
    return "bit 1 of AT_HWCAP2 is not set"


def _lockdown(situation: Situation) -> str | None:
    level = situation.host.lockdown if situation.host else None
    return f"lockdown: {level}" if level not in (None, "none") else None


CONDITIONS = (
    Condition(
        id="no-privilege",
        holds=_no_privilege,
        effects={**KERNEL, "network": RULES_OUT},
        message="gotap lacks the capabilities that BPF needs: CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE, or root; hooks "
        "need none",
        remedy=_privilege_remedy,
    ),
    Condition(
        id="no-bpf",
        holds=_lacking("bpf", "bpf(2) is refused"),
        effects={**KERNEL, "network": RULES_OUT},
        message="this kernel does not let gotap use BPF (`gotap doctor` tells more); hooks need none",
        remedy=_remedy(False, "gotap doctor"),
    ),
    Condition(
        id="no-uprobe",
        holds=_lacking("uprobes", "no uprobe can be set"),
        effects=KERNEL,
        message="this kernel does not let gotap set uprobes (`gotap doctor` tells more); hooks need none",
        remedy=_remedy(True, "gotap doctor"),
    ),
    Condition(
        id="no-fsgsbase",
        holds=_no_fsgsbase,
        effects={"hook": RULES_OUT},
        message="this processor, or a kernel before Linux 5.9, does not let programs read the base of FS (RDFSBASE), "
        "by which hooks know the thread",
        remedy="gotap attach --via springboard {pid}",
    ),
    Condition(
        id="lockdown",
        holds=_lockdown,
        message="the kernel is locked down: BPF cannot write to processes, which gotap never needs; jumps are written "
        "by ptrace, which lockdown permits",
    ),
)
