"""Options that `run` and `attach` share."""

from __future__ import annotations

import argparse
import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")

#: What --to takes, beside files.
DESTINATIONS = ("terminal", "otlp", "json")


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        action="append",
        type=destination,
        metavar="terminal|otlp|json|FILE.jsonl",
        help="where spans and metrics go; may be repeated (default: terminal). otlp obeys OTEL_EXPORTER_OTLP_*; "
        "json is OTLP/JSON lines on stdout",
    )
    parser.add_argument("--duration", type=duration, metavar="TIME", help="stop after this time: 500ms, 10s, 1m30s, 2h")
    parser.add_argument("--count", type=count, metavar="N", help="stop after N spans")
    parser.add_argument(
        "--redact",
        action="append",
        default=[],
        metavar="KEY",
        help="also redact the values of this query key; may be repeated",
    )


def destination(text: str) -> str:
    if text in DESTINATIONS or text.endswith(".jsonl"):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no destination: give terminal, otlp, json or a file named *.jsonl")


def duration(text: str) -> float:
    """Seconds of Go's notation: `1m30s`."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give a number with ms, s, m or h, such as 10s or 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to watch: give more than 0")
    return seconds


def count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no count: give a whole number from 1")
    return int(text)
