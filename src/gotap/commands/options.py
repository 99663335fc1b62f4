"""Options that `run` and `attach` share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from gotap.commands.mechanisms import add_via_argument

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")

#: What --to takes, beside files.
DESTINATIONS = ("terminal", "otlp", "json")


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    add_via_argument(parser)
    parser.add_argument(
        "--to",
        action=Destinations,
        type=destination,
        metavar="terminal|otlp|json|FILE.jsonl",
        help="where spans and metrics go; may be repeated (default: terminal). otlp obeys OTEL_EXPORTER_OTLP_*; "
        "json is OTLP/JSON lines on stdout, so it does not go with terminal, which writes there too",
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


class Destinations(argparse.Action):
    """Collects what --to names, and refuses two of them on stdout: nobody could tell their lines apart."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        chosen = [*(getattr(namespace, self.dest) or []), values]
        if {"terminal", "json"} <= set(chosen):
            raise argparse.ArgumentError(
                self, "terminal and json both write to stdout: give --to FILE.jsonl in place of json"
            )
        setattr(namespace, self.dest, chosen)


def destination(text: str) -> str:
    if text in DESTINATIONS or re.search(r"[^/]\.jsonl$", text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is no destination: give terminal, otlp, json or a file named *.jsonl (spans.jsonl)"
    )


def duration(text: str) -> float:
    """Seconds of Go's notation: `1m30s`."""
    parts = _PART.findall(text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0 or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time to watch: give numbers with ms, s, m or h, such as 500ms, 10s or 1m30s, "
            "together more than 0"
        )
    return seconds


def count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no count: give a whole number from 1")
    return int(text)
