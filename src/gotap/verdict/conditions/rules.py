"""What conditions share: short ways to ask a situation, and effects that come up more than once."""

from __future__ import annotations

from collections.abc import Callable

from gotap.image.facts.model import GoFacts
from gotap.process.surroundings import Surroundings
from gotap.verdict.model import RULES_OUT, Situation

#: Mechanisms that change or watch the machine code of the target.
CODE = ("uprobe", "springboard", "hook")
NO_CODE = dict.fromkeys(CODE, RULES_OUT)
#: Mechanisms that let the kernel's breakpoints fire.
KERNEL = dict.fromkeys(("uprobe", "springboard"), RULES_OUT)
#: Mechanisms that write into the process.
INSIDE = ("springboard", "hook")

Rule = Callable[[Situation], str | None]


def of_go(rule: Callable[[Situation, GoFacts], str | None]) -> Rule:
    """A rule about Go programs: it does not hold for others."""
    return lambda situation: rule(situation, situation.facts.go) if situation.facts.go is not None else None


def of_process(rule: Callable[[Situation, Surroundings], str | None]) -> Rule:
    """A rule about processes: it does not hold for files."""
    return lambda situation: rule(situation, situation.process) if situation.process is not None else None


def of_linux_go(rule: Callable[[Situation, GoFacts], str | None]) -> Rule:
    """A rule about linking on Linux: Windows, macOS and the others link otherwise, and none of its limits holds."""
    return of_go(lambda situation, go: rule(situation, go) if situation.facts.os == "linux" else None)


def flag(key: str, otherwise: str, wanted: bool = True) -> Rule:
    """Holds when that yes-or-no fact of Go programs is `wanted`; the evidence is the fact's, else `otherwise`."""

    def rule(situation: Situation, go: GoFacts) -> str | None:
        return evidence(situation, f"go.{key}", otherwise) if getattr(go, key) is wanted else None

    return of_go(rule)


def evidence(situation: Situation, key: str, otherwise: str) -> str:
    """What the reader of the file noted for that fact, else `otherwise`."""
    return situation.facts.evidence.get(key) or otherwise


def seen(situation: Situation, key: str, otherwise: str) -> str:
    """What the reader of the process noted for that fact, else `otherwise`."""
    return (situation.process.evidence.get(key) if situation.process else "") or otherwise
