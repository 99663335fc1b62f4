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
    if situation.facts.go is None:
        return ""  # root could not attach to it either
    pid = situation.process.pid if situation.process else "PID"
    return f"sudo {situation.host.command if situation.host else 'gotap'} attach {pid}"


def _lockdown(situation: Situation) -> str | None:
    level = situation.host.lockdown if situation.host else None
    return f"lockdown: {level}" if level not in (None, "none") else None


CONDITIONS = (
    Condition(
        id="no-privilege",
        holds=_no_privilege,
        effects={**KERNEL, "network": RULES_OUT},
        message="gotap lacks the capabilities that BPF needs: CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE, or root",
        remedy=_privilege_remedy,
    ),
    Condition(
        id="no-bpf",
        holds=_lacking("bpf", "bpf(2) is refused"),
        effects={**KERNEL, "network": RULES_OUT},
        message="this kernel does not let gotap use BPF (`gotap doctor` tells more)",
        remedy=_remedy(False, "gotap doctor"),
    ),
    Condition(
        id="no-uprobe",
        holds=_lacking("uprobes", "no uprobe can be set"),
        effects=KERNEL,
        message="this kernel does not let gotap set uprobes (`gotap doctor` tells more)",
        remedy=_remedy(True, "gotap doctor"),
    ),
    Condition(
        id="lockdown",
        holds=_lockdown,
        message="the kernel is locked down: BPF cannot write to processes, which gotap never needs",
    ),
)
