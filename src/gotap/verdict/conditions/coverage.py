"""What of the catalogue is in the program."""

from __future__ import annotations

from gotap.verdict.conditions.rules import INSIDE, NO_CODE, Rule, evidence
from gotap.verdict.filling import rebuild
from gotap.verdict.model import LIMITS, RULES_OUT, Condition, Coverage, Situation
from gotap.verdict.woven import packages

#: Names that one line of evidence tells.
_TOLD = 3


def _some(texts: list[str]) -> str:
    more = f"; and {len(texts) - _TOLD} more" if len(texts) > _TOLD else ""
    return "; ".join(texts[:_TOLD]) + more


def _covered(situation: Situation) -> Coverage | None:
    coverage = situation.coverage
    return None if coverage is None or coverage.refused else coverage


def _missing(bound: bool) -> Rule:
    """Operations do not bind while others do, or while none does."""

    def rule(situation: Situation) -> str | None:
        coverage = _covered(situation)
        if coverage is None or bool(coverage.bound) is not bound:
            return None
        told = [*coverage.missing.items(), *(coverage.unwatched if bound else ())]
        return _some([f"{name}: {reason}" for name, reason in told]) or None

    return rule


def _inlined(situation: Situation) -> str | None:
    coverage = _covered(situation)
    if coverage is None:
        return None
    copies = {name: where for one in coverage.operations for name, where in one.inlined.items()}
    return _some([f"{name}: {where}" for name, where in copies.items()]) or None


def _jumps(situation: Situation) -> str | None:
    """Places of what is bound that fit no jump."""
    coverage = _covered(situation)
    if coverage is None:
        return None
    told = [f"{one.probe} at {one.address:#x}: {one.reason}" for operation in coverage.bound for one in operation.jumps
            if not (one.springboard and one.hook)]  # fmt: skip
    told += [f"{part}: {reason}" for part, reason in coverage.unhooked]
    return _some(list(dict.fromkeys(told))) or None


def _unhookable(situation: Situation) -> str | None:
    coverage = _covered(situation)
    if coverage is None or not coverage.bound or coverage.hooked:
        return None
    return _some([f"{one.name}: {one.unhooked}" for one in coverage.bound])


def _nothing_there(situation: Situation) -> str | None:
    coverage = _covered(situation)
    if coverage is None or any(one.present for one in coverage.operations):
        return None
    return "no function that the catalogue names is in it"


def _woven(situation: Situation) -> str | None:
    go = situation.facts.go
    if go is None or go.woven is None:
        return None
    into = [f"{name} in {' and '.join(where)}" for name, where in packages(go.woven.operations).items()]
    inert = ["the process's variables make it inert"] if situation.inert else []
    return _some([evidence(situation, "go.woven", "functions of gotap's runtime"), *inert, *into])


def _watches_itself(situation: Situation) -> str | None:
    coverage = _covered(situation)
    if coverage is None or coverage.bound or not coverage.woven:
        return None
    return _some([f"{one.name}: {one.reason}" for one in coverage.woven])


def _refused(situation: Situation) -> str | None:
    return (situation.coverage.refused or None) if situation.coverage is not None else None


CONDITIONS = (
    Condition(
        id="unreadable-tables",
        holds=_refused,
        effects=NO_CODE,
        message="Go's tables in it cannot be used to find functions",
        remedy=rebuild(),
    ),
    Condition(
        id="no-observable-library",
        holds=_nothing_there,
        effects=dict.fromkeys(("uprobe", "springboard", "hook", "weave"), RULES_OUT),
        message="it holds no library that gotap knows, so there is nothing to watch (`gotap inspect --libraries`)",
    ),
    Condition(
        id="watches-itself",
        holds=_watches_itself,
        effects=NO_CODE,
        message="all that gotap could watch is woven in, so that the program tells of it itself, unless it is started "
        "with OTEL_SDK_DISABLED=true; `gotap trace` takes it as it is",
        remedy="OTEL_SDK_DISABLED=true gotap run -- {file}",
    ),
    Condition(
        id="woven-in",
        holds=_woven,
        message="woven by `gotap go`: operations that are woven in the program tells of itself, and the live "
        "mechanisms leave them to it",
    ),
    Condition(
        id="nothing-binds",
        holds=_missing(bound=False),
        effects=NO_CODE,
        message="it holds a library that gotap knows, but no operation of it can be probed in this binary",
        remedy=rebuild(without=("-gcflags", "-ldflags")),
    ),
    Condition(
        id="unbound-operation",
        holds=_missing(bound=True),
        effects=dict.fromkeys(("uprobe", "springboard", "hook"), LIMITS),
        message="some operations cannot be probed in this binary; the others can",
        remedy=rebuild(without=("-gcflags", "-ldflags")),
    ),
    Condition(
        id="jumps",
        holds=_jumps,
        effects=dict.fromkeys(INSIDE, LIMITS),
        message="some places take no jump: springboards leave them to uprobes, and an operation that has such a place "
        "cannot be hooked",
        remedy="gotap inspect -v --libraries {file}",
    ),
    Condition(
        id="unhookable",
        holds=_unhookable,
        effects={"hook": RULES_OUT},
        message="each of its operations has a place that takes no jump, and a hook is a jump",
        remedy="gotap attach --via uprobe {pid}",
    ),
    Condition(
        id="inlined-away",
        holds=_inlined,
        effects=dict.fromkeys(("uprobe", "springboard", "hook"), LIMITS),
        message="functions were inlined into their callers; calls of these copies are not seen",
        remedy=rebuild(without=("-gcflags",), flags=("-gcflags=all=-l",)),
    ),
)
