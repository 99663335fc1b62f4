"""What a request costs a net/http server, CPU time of its process, with as many requests as it can answer."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.measure import alternate
from bench.programs import Load, NotPossible, Service
from bench.weave_calls import PROGRAM
from bench.weave_tools import executable, receiver, sending_to


def _ratio(ratio: str) -> dict[str, str]:
    return {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}


#: Builder and variables of each server, and how many percent more than plain a request may cost.
SERVERS: dict[str, tuple[str, dict[str, str], float | None]] = {
    "plain": ("plain", {}, None),
    "gotap, OTEL_SDK_DISABLED": ("gotap", {"OTEL_SDK_DISABLED": "true"}, None),
    "gotap, always_off": ("gotap", {"OTEL_TRACES_SAMPLER": "always_off"}, None),
    "gotap, 10 %": ("gotap", _ratio("0.1"), 3.0),
    "gotap, 10 %, no metrics": ("gotap", _ratio("0.1") | {"OTEL_METRICS_EXPORTER": "none"}, None),
    "gotap, all": ("gotap", _ratio("1.0"), 10.0),
    "Orchestrion, 10 %": ("Orchestrion", {"DD_TRACE_SAMPLE_RATE": "0.1"}, None),
    "Orchestrion, all": ("Orchestrion", {"DD_TRACE_SAMPLE_RATE": "1"}, None),
}
PATHS = ("/hello", "/query")


def server(rounds: int, seconds: float) -> str:
    load = Load(0)
    lines = [f"| µs a request, {load} | " + " | ".join(PATHS) + " |", "| --- |" + " --- |" * len(PATHS)]
    cells: dict[str, list[str]] = {}
    with ExitStack() as stack:
        address = stack.enter_context(receiver())
        running: dict[str, Service] = {}
        for name, (builder, variables, _) in SERVERS.items():
            try:
                program = executable(PROGRAM, builder)
            except NotPossible as reason:
                print(f"  {reason}", flush=True)
                continue
            running[name] = stack.enter_context(_started(program, variables | sending_to(address)))
        for path in PATHS:
            for one in running.values():
                load.run(one.url(path), 0.3)  # warm
            variants = {name: lambda one=one, path=path: _request(one, path, load, seconds)
                        for name, one in running.items()}  # fmt: skip
            values = alternate(variants, rounds)
            base = values["plain"]
            for name in running:
                more = values[name].less(base)
                percent = 100 * more.median / base.median
                most = SERVERS[name][2] if path == "/hello" else None
                met = "" if most is None else f", {'met' if percent <= most else 'NOT MET'}: {most:g} %"
                text = base.text("µs") if name == "plain" else f"{more.text('µs', 2, '+')}: {percent:+.1f} %{met}"
                cells.setdefault(name, []).append(text)
    arrived = _arrived(Load(500), 500)
    if arrived != 1:
        raise NotPossible(f"{arrived:.3f} spans a request arrive at a rate that loses none")
    told = f"\nOf all spans {100 * _arrived(load, 30_000):.0f} % arrive at full load."
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(row) + " |" for name, row in cells.items()), told])


@contextmanager
def _started(program: Path, variables: Mapping[str, str]) -> Iterator[Service]:
    environment = {**os.environ, **variables}
    with subprocess.Popen(
        [program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Service(process.pid, program, process.stdout.readline().split()[-1])
        finally:
            process.terminate()  # a woven one sends what it has, for a second at most


def _request(target: Service, path: str, load: Load, seconds: float) -> float:
    """µs of the server's CPU time."""
    before = target.cpu()
    done = load.run(target.url(path), seconds)
    return (target.cpu() - before) / done.requests / 1e3


def _arrived(load: Load, requests: int) -> float:
    """Spans that a receiver has got for a request when the server has ended, which sends what it still has."""
    builder, variables, _ = SERVERS["gotap, all"]
    with receiver() as address:
        with _started(executable(PROGRAM, builder), variables | sending_to(address)) as target:
            load.make(target.url("/hello"), requests)
        return _count(address) / requests


def _count(address: str) -> int:
    with urllib.request.urlopen(f"http://{address}/count") as answer:
        return int(answer.read())
