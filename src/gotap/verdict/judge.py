"""Which conditions hold of a situation, and what they leave of each mechanism. Pure."""

from __future__ import annotations

from gotap.verdict.conditions import ALL
from gotap.verdict.filling import filled
from gotap.verdict.model import (
    BUILT,
    LEAVES_ALONE,
    LIMITS,
    MECHANISMS,
    PLANNED,
    RULES_OUT,
    UNREADABLE,
    Answer,
    Condition,
    Finding,
    Situation,
    Verdict,
)


def judge(situation: Situation) -> Verdict:
    """The verdict on one target."""
    findings = tuple(found for one in ALL if (found := _finding(one, situation)) is not None)
    return Verdict(mechanisms={one: _answer(one, findings) for one in MECHANISMS}, conditions=findings)


def unreadable() -> dict[str, Answer]:
    """The answers for a target that could not be read."""
    return {one: Answer(False, (UNREADABLE,)) for one in MECHANISMS}


def _finding(condition: Condition, situation: Situation) -> Finding | None:
    evidence = condition.holds(situation)
    if evidence is None:
        return None
    remedy = condition.remedy
    return Finding(
        id=condition.id,
        evidence=evidence,
        message=filled(condition.message, situation),
        remedy=filled(remedy, situation, quote=True) if isinstance(remedy, str) else remedy(situation),
        mechanisms={one: condition.effects.get(one, LEAVES_ALONE) for one in MECHANISMS},
        vendor=condition.vendor,
    )


def _answer(mechanism: str, findings: tuple[Finding, ...]) -> Answer:
    """Ruled out beats limited; what limits a mechanism that is ruled out anyway is not among the reasons."""
    out = tuple(one.id for one in findings if one.mechanisms[mechanism] == RULES_OUT)
    if mechanism not in BUILT:
        return Answer(False, (PLANNED, *out))
    if out:
        return Answer(False, out)
    limits = tuple(one.id for one in findings if one.mechanisms[mechanism] == LIMITS)
    return Answer("partly", limits) if limits else Answer(True)
