"""What weaving costs: builds, calls, servers and sizes of woven programs, beside plain Go and Orchestrion in the same
run."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bench.weave_build import build
from bench.weave_calls import calls
from bench.weave_server import server
from bench.weave_size import size

PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "size": lambda _: size(),
    "calls": lambda arguments: calls(arguments.rounds),
    "server": lambda arguments: server(arguments.rounds, arguments.seconds),
    "build": lambda arguments: build(arguments.rounds, arguments.program or ["woven", "delve"]),
}


def run(arguments: argparse.Namespace) -> None:
    for part in arguments.part or PARTS:
        print(f"\n-- {part}", flush=True)
        print(PARTS[part](arguments), flush=True)
