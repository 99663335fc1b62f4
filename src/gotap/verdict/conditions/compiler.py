"""Compiler, version and variant."""

from __future__ import annotations

import re

from gotap.image.facts.model import GoFacts
from gotap.verdict.conditions.rules import INSIDE, NO_CODE, evidence, flag, of_go
from gotap.verdict.filling import rebuild, toolchain
from gotap.verdict.model import LIMITS, RULES_OUT, Condition, Situation

#: The first and the last Go release that the tests build programs with, look into, and write jumps into.
OLDEST, NEWEST = (1, 18), (1, 27)
#: What remedies propose. Since Go 1.21 the first release of a line is called .0.
PROPOSED = "1.27.0"

_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def release(version: str | None) -> tuple[int, int] | None:
    """(1, 26) of "1.26.8"."""
    match = _RELEASE.match(version or "")
    return (int(match[1]), int(match[2])) if match else None


def _not_gc(situation: Situation, go: GoFacts) -> str | None:
    return evidence(situation, "go.compiler", f"compiled by {go.compiler}") if go.compiler != "gc" else None


def _too_old(situation: Situation, go: GoFacts) -> str | None:
    found = release(go.version)
    if go.compiler != "gc" or found is None or found >= OLDEST:
        return None
    return evidence(situation, "go.version", f"Go {go.version}")


def _newer(situation: Situation, go: GoFacts) -> str | None:
    found = release(go.version)
    if go.compiler != "gc" or found is None or found <= NEWEST:
        return None
    return evidence(situation, "go.version", f"Go {go.version}")


def _unofficial(situation: Situation, go: GoFacts) -> str | None:
    """Experiments (`X:`) are options of an official release."""
    text = go.version_text or go.version or ""
    if go.compiler != "gc":
        return None
    if go.toolchain:
        return f"{text}: a toolchain of {go.toolchain}"
    if "devel" in text or re.search(r"\d(rc|beta)\d", text) or "+" in text:
        return f"{text} is no stable release"
    return None


def _fips(situation: Situation, go: GoFacts) -> str | None:
    return evidence(situation, "go.fips", f"FIPS variant {go.fips}") if go.fips else None


def _stable(situation: Situation) -> str:
    """The build with the release that an unofficial one is closest to; with a later one if it was never released."""
    version = (situation.facts.go.version or "") if situation.facts.go else ""
    match, line = _RELEASE.match(version), release(version)
    closest = PROPOSED
    if match is not None and line is not None and line <= NEWEST and "devel" not in version:
        closest = match[0] if match[3] or line < (1, 21) else f"{match[0]}.0"
    return rebuild(environment=toolchain(closest))(situation)


CONDITIONS = (
    Condition(
        id="not-gc",
        holds=of_go(_not_gc),
        effects={**NO_CODE, "weave": RULES_OUT},
        message="compiled by {compiler}, which has neither Go's calling convention nor its tables: gotap will see it "
        "at its sockets, by the network mechanism",
        remedy=rebuild(flags=("-compiler=gc",)),
        vendor="Rejected: the toolchain must be gc; gccgo and others are not supported",
    ),
    Condition(
        id="too-old",
        holds=of_go(_too_old),
        effects=NO_CODE,
        message="built by {version}; before Go 1.18 arguments and tables were laid out otherwise",
        remedy=rebuild(environment=toolchain(PROPOSED)),
    ),
    Condition(
        id="newer-than-checked",
        holds=of_go(_newer),
        effects={"uprobe": LIMITS, **dict.fromkeys(INSIDE, RULES_OUT)},
        message=f"built by {{version}}; gotap was checked up to Go {NEWEST[0]}.{NEWEST[1]}, and what does not fit is "
        "left out; jumps are written into it with --force only, at the risk that it crashes",
        remedy="pip install --upgrade gotap",
    ),
    Condition(
        id="unofficial-release",
        holds=of_go(_unofficial),
        message="not a stable release of the Go project; gotap reads what is in the binary, whoever built it",
        remedy=_stable,
        vendor="Only official, stable Go releases are supported",
    ),
    Condition(
        id="fips",
        holds=of_go(_fips),
        message="built with FIPS cryptography; gotap does not touch cryptography, and reads its version rightly",
        remedy=rebuild(environment={"GOFIPS140": "off", "GOEXPERIMENT": ""}),
        vendor="FIPS builds by a modified OpenSSL toolchain are supported from OneAgent 1.295 on",
    ),
    Condition(
        id="race",
        holds=flag("race", "built with -race"),
        message="built with the race detector; it is watched as any other program, by jumps too",
        remedy=rebuild(without=("-race",)),
        vendor="Rejected: binaries built with -race",
    ),
)
