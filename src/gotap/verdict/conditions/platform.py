"""Container format, machine and operating system."""

from __future__ import annotations

from gotap.verdict.conditions.rules import NO_CODE, evidence
from gotap.verdict.filling import rebuild
from gotap.verdict.model import RULES_OUT, Condition, Situation


def _not_go(situation: Situation) -> str | None:
    facts = situation.facts
    return evidence(situation, "language", f"it is {facts.language}") if facts.go is None else None


def _foreign_arch(situation: Situation) -> str | None:
    arch = situation.facts.arch
    return evidence(situation, "arch", f"built for {arch}") if arch not in ("amd64", None) else None


def _foreign_os(situation: Situation) -> str | None:
    system = situation.facts.os
    return evidence(situation, "os", f"built for {system}") if system not in ("linux", None) else None


def _windows(situation: Situation) -> str | None:
    if situation.facts.format != "pe":
        return None
    return evidence(situation, "format", "the file is a PE, the format of Windows")


def _for_linux_amd64(situation: Situation) -> str:
    """One build for both conditions, since either alone would leave the other. What is not Go is not built by it."""
    if situation.facts.go is None:
        return ""
    changes = {"GOARCH": "amd64"} if situation.facts.arch != "amd64" else {}
    return rebuild(environment={**changes, **({"GOOS": "linux"} if situation.facts.os != "linux" else {})})(situation)


CONDITIONS = (
    Condition(
        id="not-go",
        holds=_not_go,
        effects={**NO_CODE, "weave": RULES_OUT},
        message="not a Go program ({language}): gotap will see it at its sockets, by the network mechanism",
    ),
    Condition(
        id="foreign-arch",
        holds=_foreign_arch,
        effects=NO_CODE,
        message="built for {arch}; machine code is watched on amd64 only, so far",
        remedy=_for_linux_amd64,
    ),
    Condition(
        id="foreign-os",
        holds=_foreign_os,
        effects={**NO_CODE, "network": RULES_OUT},
        message="built for {os}; processes are watched on Linux only; others tell of themselves what is woven in "
        "(weave)",
        remedy=_for_linux_amd64,
    ),
    Condition(
        id="windows-dynamic",
        holds=_windows,
        message="a program for Windows: none of the limits of Linux (static linking, libc, PIE) holds for it",
        vendor="Dynamic linking is not required on Windows",
    ),
)
