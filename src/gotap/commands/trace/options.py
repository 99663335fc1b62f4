"""Options of `gotap trace`, and what of them does not go together."""

from __future__ import annotations

import argparse

from gotap.commands.mechanisms import add_via_argument
from gotap.commands.options import Destinations, count, destination, duration
from gotap.errors import GotapError
from gotap.probe.script.limits import Limits

#: Functions and places that one script may probe, unless told otherwise.
MOST_PROBES = 1000

#: The share of one core that probes may cost, unless told otherwise.
OVERHEAD = 0.05

_DEFAULTS = Limits()


class UsageError(GotapError):
    """Options that make no sense, or not together."""


def add_trace_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "gotap trace [-p TARGET | -c COMMAND] [OPTION …] PROGRAM [ARGUMENT …]\n"
        "       gotap trace [-p TARGET | -c COMMAND] [OPTION …] --tool NAME [ARGUMENT …]\n"
        "       gotap trace [-p TARGET | FILE] -l [PATTERN] [-v]"
    )
    parser.add_argument("program", nargs="*", metavar="PROGRAM",
                        help="a script, or the file that holds one (*.gt), with what it takes as $1, $2")  # fmt: skip
    parser.add_argument("-p", "--pid", metavar="PID|NAME|PATH", help="the process to trace")
    parser.add_argument("-c", "--command", metavar="COMMAND", help="start this command and trace it from its beginning")
    parser.add_argument("--tool", metavar="NAME", help="run a ready script; `list` shows them")
    parser.add_argument("-l", "--list", nargs="?", const="*", metavar="PATTERN",
                        help="list what can be probed in an executable, or in the process of -p")  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="of -l: signatures, sites, cost; else arguments and results are not cut")  # fmt: skip
    add_via_argument(parser)
    _add_output(parser)
    _add_limits(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout, as --to json")
    parser.add_argument("--to", action=Destinations, type=destination, metavar="terminal|json|otlp|FILE.jsonl",
                        help="where events and maps go; may be repeated (default: terminal)")  # fmt: skip
    parser.add_argument("--duration", type=duration, metavar="TIME", help="stop after this time: 500ms, 10s, 1m30s, 2h")
    parser.add_argument("--count", type=count, metavar="N", help="stop after N events")
    parser.add_argument("--graph", action="store_true",
                        help="show what the functions call, indented, with durations")  # fmt: skip
    parser.add_argument("--within", metavar="PATTERN",
                        help="of --graph: functions to show (default: those of the same package)")  # fmt: skip


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-overhead", type=overhead, default=OVERHEAD, metavar="PERCENT|off",
                        help="share of a core that probes may cost; then they are thinned (default: 5%%)")  # fmt: skip
    parser.add_argument("--max-probes", type=count, default=MOST_PROBES, metavar="N",
                        help=f"probe at most N functions and places (default: {MOST_PROBES})")  # fmt: skip
    parser.add_argument("--max-string", type=count, default=_DEFAULTS.text, metavar="BYTES",
                        help=f"of a string (default: {_DEFAULTS.text})")  # fmt: skip
    parser.add_argument("--max-elements", type=count, default=_DEFAULTS.elements, metavar="N",
                        help=f"of a slice, an array, a map (default: {_DEFAULTS.elements})")  # fmt: skip
    parser.add_argument("--max-depth", type=depth, default=_DEFAULTS.depth, metavar="N",
                        help=f"pointers that are followed (default: {_DEFAULTS.depth})")  # fmt: skip
    parser.add_argument("--max-bytes", type=count, default=_DEFAULTS.total, metavar="BYTES",
                        help=f"of one event (default: {_DEFAULTS.total})")  # fmt: skip


def overhead(text: str) -> float | None:
    """A share of one core; None: no limit."""
    if text == "off":
        return None
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 < share < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no share of a core: give a percentage such as 5%, or off")
    return share


def depth(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no depth: give a whole number from 0")
    return int(text)


def limits(arguments: argparse.Namespace) -> Limits:
    return Limits(arguments.max_string, arguments.max_elements, arguments.max_depth, arguments.max_bytes)


def destinations(arguments: argparse.Namespace) -> list[str]:
    """What --to and --json name, each once; the terminal if nothing is."""
    chosen = [*(arguments.to or []), *(["json"] if arguments.json else [])]
    return list(dict.fromkeys(chosen)) or ["terminal"]


def check(arguments: argparse.Namespace) -> None:
    """Raises UsageError for what does not go together."""
    if arguments.pid is not None and arguments.command is not None:
        raise UsageError("-p and -c both name what to trace", "give one of them")
    if {"terminal", "json"} <= set(destinations(arguments)):
        raise UsageError("terminal and json both write to stdout", "give --to FILE.jsonl in place of json")
    if arguments.list is not None:
        return
    if arguments.tool is None and not arguments.program:
        raise UsageError("no program is given", "gotap trace -p PID 'main.handler'; `gotap trace --help` tells more")
    if arguments.within is not None and not arguments.graph:
        raise UsageError("--within says which functions --graph shows", "add --graph")
