"""A verdict as a person reads it: at most a screen of 24 lines for a target, marks that need no colour. Pure.

`width` is the terminal's, 0 for an output that is none: then no line is folded.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from gotap.image.facts.model import Facts, GoFacts
from gotap.sinks.sanitize import printable
from gotap.verdict.model import Answer, Finding, OperationCoverage, Situation, Verdict
from gotap.verdict.woven import packages

#: A screen, less the line of the prompt.
SCREEN = 23
_LONGEST = 4096
_MARKS = {True: "ok", False: "no", "partly": "~~"}
_FLAGS = ("cgo", "race", "msan", "asan", "cover", "vendored", "trimpath", "obfuscated")


def summary(target: str, situation: Situation, verdict: Verdict, width: int) -> list[str]:
    """Identity, mechanisms, what limits them with the remedies, and by name what does not matter to gotap."""
    lines = folded(f"{target}: {identity(situation)}", width)[:3] + woven(situation, width)
    lines += [line for name, answer in verdict.mechanisms.items() for line in mechanism(name, answer, situation, width)]
    others = [one.id for one in verdict.conditions if not one.matters]
    tail = folded(f"  also, and no hindrance: {', '.join(others)} (-v)", width, "    ") if others else []
    limiting = [one for one in verdict.conditions if one.matters]
    return lines + _limits(limiting, width, SCREEN - len(lines) - len(tail)) + tail


def _limits(limiting: list[Finding], width: int, room: int) -> list[str]:
    """As many whole entries as there is room for; the rest is counted."""
    lines: list[str] = []
    for place, one in enumerate(limiting):
        entry = [*folded(f"  {one.id}: {one.message}", width, "    "), *_remedy(one, width)]
        last = place + 1 == len(limiting)
        if width and len(lines) + len(entry) + (not last) > room:
            return [*lines, f"  and {len(limiting) - place} more (-v)"]
        lines += entry
    return lines


def _remedy(finding: Finding, width: int) -> list[str]:
    """Never folded, so that it can be copied; a long one takes several lines of the terminal all the same."""
    text = f"    → {printable(finding.remedy)}"
    if not finding.remedy:
        return []
    return [text[at : at + width] for at in range(0, len(text), width)] if width else [text]


def mechanism(name: str, answer: Answer, situation: Situation, width: int) -> list[str]:
    told = coverage(name, situation) if answer.works else ""
    if answer.because:
        told += f"{'; ' if told else ''}{', '.join(answer.because)}"
    return folded(f"  {_MARKS[answer.works]}  {name:<11}  {told}".rstrip(), width, " " * 19)[:2]


def coverage(mechanism: str, situation: Situation) -> str:
    """What the mechanism watches, and at which sites: `http.server: 16 emulated, 13 single-step sites`; springboards
    `http.server: 24 sites, 23 jumps`; hooks `http.server: 24 sites`; weaving `http.server: by gotap go build`.
    """
    if mechanism == "weave":
        return _weaving(situation)
    found = situation.coverage
    watched = [] if found is None else found.hooked if mechanism == "hook" else found.bound
    if not watched:
        return ""
    if mechanism == "uprobe":
        told = f"{counted_costs(watched)} sites"
    else:
        jumps = {one.address: one for operation in watched for one in operation.jumps}
        told = f"{len(jumps)} sites"
        if mechanism == "springboard":
            told += f", {sum(one.springboard for one in jumps.values())} jumps"
    return f"{', '.join(one.name for one in watched)}: {told}"


def _weaving(situation: Situation) -> str:
    """Which operations are woven in, and which would be."""
    go, coverage = situation.facts.go, situation.coverage
    there = [one.name for one in coverage.operations if one.present] if coverage is not None else []
    inside = packages(go.woven.operations) if go is not None and go.woven is not None else {}
    others = [name for name in there if name not in inside]
    told = [f"{', '.join(inside)}: woven in"] if inside else []
    told += [f"{', '.join(others)}: by gotap go build"] if others else []
    return "; ".join(told) or "by gotap go build"


def counted_costs(operations: Iterable[OperationCoverage]) -> str:
    """`16 emulated, 13 single-step`."""
    costs: Counter[str] = Counter()
    for one in operations:
        costs.update(one.by_cost)
    return ", ".join(f"{count} {cost}" for cost, count in sorted(costs.items()))


# -- identity -----------------------------------------------------------------------------------------------------


def identity(situation: Situation) -> str:
    """One line: what it is, for which machine, how it was put together, who runs it."""
    facts = situation.facts
    words = _go_words(facts, facts.go) if facts.go is not None else [facts.language, platform(facts)]
    process = situation.process
    if process is not None:
        words.insert(0, process.name)
        words += [f"container {process.container.id[:12]}"] if process.container else []
    return ", ".join(words)


def woven(situation: Situation, width: int) -> list[str]:
    """What a woven program tells of itself: `woven by gotap 0.1.0, catalogue 4f0c…: http.server in net/http`."""
    go = situation.facts.go
    if go is None or go.woven is None:
        return []
    who = f"gotap {go.woven.version or 'of an unknown version'}"
    who += f", catalogue {go.woven.catalogue}" if go.woven.catalogue else ""
    into = [f"{name} in {' and '.join(where)}" for name, where in packages(go.woven.operations).items()]
    inert = "; inert by its variables" if situation.inert else ""
    return folded(f"  woven by {who}: {', '.join(into) or 'no operation of the catalogue'}{inert}", width)[:3]


def platform(facts: Facts) -> str:
    return f"{facts.os or facts.format}/{facts.arch or 'unknown'}"


def version_word(go: GoFacts) -> str:
    text = go.version_text or (f"go{go.version}" if go.version else "Go of an unknown version")
    return text if go.compiler == "gc" else f"{go.compiler}, {text}"


def _go_words(facts: Facts, go: GoFacts) -> list[str]:
    words = [version_word(go)]
    if go.package or go.module:
        words.append(go.package or (go.module.path if go.module else ""))
    words.append(f"{platform(facts)} {go.build_mode or ''}".rstrip())
    words += [go.linkage] if go.linkage else []
    words += [f"{go.linker} linker"] if go.linker else []
    words += [go.libc + (" inside" if go.libc_inside else "")] if go.libc else []
    words += [name for name in _FLAGS if getattr(go, name)]
    words += [f"FIPS {go.fips}"] if go.fips else []
    words += [f"packed by {go.packed}"] if go.packed else []
    words += [{True: "symbols", False: "stripped"}[go.symtab]] if go.symtab is not None else []
    words += [{True: "DWARF", False: "no DWARF"}[go.dwarf]] if go.dwarf is not None else []
    words += [f"{go.functions:,} functions"] if go.functions else []
    return words


# -- everything ---------------------------------------------------------------------------------------------------


def everything(situation: Situation, verdict: Verdict, width: int) -> Iterator[str]:
    """All facts with their evidence, and every condition that holds, for -v."""
    for title, values, evidence in _groups(situation):
        yield f"{title}:"
        for name, value in values.items():
            why = evidence.get(f"{title}.{name}") or evidence.get(name) or ""
            yield from folded(f"  {name}: {_value(value)}{f'  ({why})' if why else ''}", width, "    ")
    if verdict.conditions:
        yield "conditions:"
    for one in verdict.conditions:
        yield from folded(f"  {one.id}: {one.message}", width, "    ")
        yield from folded(f"    evidence: {one.evidence}", width, "      ")
        effects = ", ".join(f"{name} {effect}" for name, effect in _by_effect(one).items())
        yield from folded(f"    effects: {effects or 'none'}", width, "      ")
        if one.vendor:
            yield from folded(f"    other agents: {one.vendor}", width, "      ")
        yield from _remedy(one, width)


def _by_effect(finding: Finding) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for mechanism, effect in finding.mechanisms.items():
        if effect != "none":
            found.setdefault(effect, []).append(mechanism)
    return {effect: " and ".join(mechanisms) for effect, mechanisms in found.items()}


def _groups(situation: Situation) -> Iterator[tuple[str, dict[str, object], dict[str, str]]]:
    facts = situation.facts
    plain = msgspec.structs.asdict(facts)
    del plain["go"], plain["evidence"]
    yield "file", plain, facts.evidence
    if facts.go is not None:
        yield "go", msgspec.structs.asdict(facts.go), facts.evidence
    if situation.process is not None:
        values = msgspec.structs.asdict(situation.process)
        del values["evidence"]
        yield "process", values, situation.process.evidence


def _value(value: object) -> str:
    """As words; `-` for what is not there or not known, which the evidence tells apart."""
    match value:
        case bool():
            return "yes" if value else "no"
        case str() | int():
            return str(value) or "-"
        case Struct():
            return _value(msgspec.structs.asdict(value))
        case dict():
            return ", ".join(f"{key}={_value(item)}" for key, item in value.items()) or "-"
        case list() | tuple():
            return ", ".join(map(_value, value)) or "-"
        case _:
            return "-"


def safe_line(text: str) -> str:
    """The text made safe to print, cut where nobody reads on: a name may have a megabyte."""
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def folded(text: str, width: int, indent: str = "    ") -> list[str]:
    """The text made safe, as lines of at most `width`."""
    safe = safe_line(text)
    if not width or len(safe) <= width:
        return [safe]
    return textwrap.wrap(safe, width, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False)
