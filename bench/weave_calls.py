"""What a woven call costs: CPU time of the thread that calls, its allocations, up to the queue of finished spans."""

from __future__ import annotations

import os
import statistics
import subprocess

from bench.programs import NotPossible
from bench.weave_tools import WOVEN, Source, executable, receiver, sending_to

PROGRAM = Source("woven", WOVEN)
#: The queue takes all spans of a run and nothing is sent before its end: what is measured ends at the queue.
_HELD = {
    "OTEL_BSP_MAX_QUEUE_SIZE": "1000000",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1000000",
    "OTEL_BSP_SCHEDULE_DELAY": "600000",
}
_OTEL_OFF = {"OTEL_SDK_DISABLED": "true"}
_NEVER = {"OTEL_TRACES_SAMPLER": "always_off"}
_NONE = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
_ALL = {"OTEL_TRACES_SAMPLER": "always_on"}
#: Builder, what is said of it, its variables, and whether spans are finished, so that few calls are made.
VARIANTS: tuple[tuple[str, str, dict[str, str], bool], ...] = (
    ("plain", "plain", {}, False),
    ("gotap", "gotap, OTEL_SDK_DISABLED", _OTEL_OFF, False),
    ("gotap", "gotap, always_off", _NEVER, False),
    ("gotap", "gotap, ratio 0", _NONE, False),
    ("gotap", "gotap, always_on", _ALL, True),
    ("Orchestrion", "Orchestrion, DD_TRACE_ENABLED=false", {"DD_TRACE_ENABLED": "false"}, False),
    ("Orchestrion", "Orchestrion, sample rate 0", {"DD_TRACE_SAMPLE_RATE": "0"}, True),
    ("Orchestrion", "Orchestrion, sample rate 1", {"DD_TRACE_SAMPLE_RATE": "1"}, True),
)
#: What is called, by its name in the program, and what a plain call is called there.
CALLS = {
    "an empty function": "spanned",
    "a function with a context": "spanned-context",
    "ExecContext of database/sql, of a driver that does nothing": "sql",
}
#: ns and allocations, at most: the hook of an empty function.
MOST_IDLE, MOST_SPAN = 10.0, 400.0


def calls(rounds: int) -> str:
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    missing: set[str] = set()
    with receiver() as address:
        for number in range(rounds):
            for builder, label, variables, records in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                for name in CALLS.values():
                    if builder in missing:
                        continue
                    try:
                        count = 50_000 if records or name == "sql" else 5_000_000
                        one = _cost(builder, name, count, variables | _HELD | sending_to(address))
                        found.setdefault((label, name), []).append(one)
                    except NotPossible as reason:
                        print(f"  {reason}", flush=True)
                        missing.add(builder)
    lines = ["| ns (allocations) a call | " + " | ".join(CALLS) + " |", "| --- |" + " --- |" * len(CALLS)]
    for _, label, _, _ in VARIANTS:
        cells = [_told(label, name, found) for name in CALLS.values()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _told(label: str, name: str, found: dict[tuple[str, str], list[tuple[float, float]]]) -> str:
    if (label, name) not in found:
        return "not available"
    base = statistics.median(cost for cost, _ in found["plain", name])
    cost, allocated = (statistics.median(one) for one in zip(*found[label, name], strict=True))
    if label == "plain":
        return f"{cost:.1f} ({allocated:.0f})"
    met = ""
    if name == "spanned" and label.startswith("gotap"):
        most = MOST_SPAN if "always_on" in label else MOST_IDLE
        met = f", {'met' if cost - base <= most else 'NOT MET'}: {most:.0f}"
    return f"{cost - base:+.1f} ({allocated:.0f}{met})"


def _cost(builder: str, name: str, count: int, variables: dict[str, str]) -> tuple[float, float]:
    """ns and allocations of a call."""
    words = [str(executable(PROGRAM, builder)), name, str(count)]
    done = subprocess.run(words, env=dict(os.environ) | variables, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise NotPossible(f"{' '.join(words)} failed: {done.stderr}")
    nanoseconds, allocations = done.stdout.split()[:2]
    return float(nanoseconds), float(allocations)
