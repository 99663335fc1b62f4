"""What a start does not load, which is most of what makes it quick."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from goservers import Server
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]

#: Module → what would bring it along unasked.
NOT_LOADED = {
    "dataclasses": "value classes that are compiled at every start",
    "numpy.ma": "np.unique",
    "logging": "concurrent.futures",
    "tempfile": "importlib.resources, a second file for the playground",
    "shutil": "argparse, to learn the terminal's width",
    "ssl": "a destination that is not https",
    "rich": "a terminal that is not there",
    "gotap.image.types.dwarf": "types that the runtime's metadata has",
    "gotap.sinks.otlp": "a destination that was not chosen",
}


def imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))


def test_attaching_loads_no_more_than_it_needs(server: Server) -> None:
    loaded = imported("-m", "gotap", "attach", str(server.pid), "--to", "json", "--duration", "1ms")
    assert {"numpy", "gotap.observe.watch"} <= loaded
    loaded -= imported("-c", "pass")  # what the interpreter's site brings along by itself
    assert {name: why for name, why in NOT_LOADED.items() if name in loaded} == {}


#: The same for `gotap trace`, of a script that prints calls.
NOT_LOADED_TO_TRACE = {
    "dataclasses": "value classes that are compiled at every start",
    "numpy.ma": "np.unique",
    "logging": "concurrent.futures",
    "tempfile": "importlib.resources",
    "difflib": "suggestions of an error",
    "ssl": "a destination that is not https",
    "rich": "a live table",
    "gotap.observe.watch": "what attach and run have of their own",
    "gotap.sinks.otlp": "a destination that was not chosen",
    "gotap.sinks.otlp_json": "a destination that was not chosen",
    "gotap.signals.maps": "maps, of which the script has none",
    "gotap.commands.trace.graph": "--graph",
    "gotap.commands.trace.servers": "traceid",
    "gotap.process.symbols": "functions of C",
}


def test_tracing_loads_no_more_than_it_needs(server: Server) -> None:
    loaded = imported("-m", "gotap", "trace", "-p", str(server.pid), "--duration", "1ms", "main.descend:entry")
    assert {"numpy", "gotap.observe.tracing.tracer"} <= loaded
    loaded -= imported("-c", "pass")
    assert {name: why for name, why in NOT_LOADED_TO_TRACE.items() if name in loaded} == {}
