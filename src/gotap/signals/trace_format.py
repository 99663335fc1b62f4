"""What printf and print write. Verbs are Go's (fmt, Go 1.27), and C's where bpftrace's users will type them: %u.

A value that is not available is told as such by every verb, and a verb that does not fit its value shows it as %v.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from gotap.probe.script.bound import Part, PartKind
from gotap.probe.script.language.format import Directive, Plain, parse_format
from gotap.signals.events import Events
from gotap.signals.trace_values import Clean, as_operand, as_text, quoted
from gotap.signals.values import Unavailable, to_text
from gotap.signals.values.model import Bytes, Text

_WORD = 1 << 64


def print_texts(events: Events, clean: Clean) -> list[str]:
    """What `print` writes: the values with blanks between them; a stack has lines of its own."""
    columns = [[as_text(field.part, value, clean) for value in field.values] for field in events.fields]
    rows = zip(*columns, strict=True) if columns else [("",)] * len(events)
    if any(field.part.kind is PartKind.STACK for field in events.fields):
        return [_in_lines(words) for words in rows]
    return [" ".join(words) for words in rows]


def _in_lines(words: Sequence[str]) -> str:
    text = words[0].removeprefix("\n")
    for before, word in itertools.pairwise(words):
        lines = word.startswith("\n")
        text += word if lines else f"\n{word}" if before.startswith("\n") else f" {word}"
    return text


def printf_texts(events: Events, clean: Clean) -> list[str]:
    """What `printf` writes for each event."""
    arguments = iter(events.fields)
    columns: list[list[str]] = []
    count = len(events)
    for piece in parse_format(events.spec.format):
        if isinstance(piece, Plain):
            columns.append([piece.text] * count)
        else:
            field = next(arguments)
            columns.append([verb(piece, field.part, value, clean) for value in field.values])
    return ["".join(words) for words in zip(*columns, strict=True)] if columns else [""] * count


def verb(piece: Directive, part: Part, value: Any, clean: Clean) -> str:
    """One value by one verb."""
    if isinstance(value, Unavailable):
        return _padded(piece, as_text(part, value, clean))
    if isinstance(value, int):
        text = _integer(piece, part, value, clean)
    elif isinstance(value, float):
        text = _float(piece, value)
    elif isinstance(value, str | Text | Bytes):
        text = _string(piece, part, value, clean)
    else:
        text = as_text(part, value, clean)[: piece.precision]
    return _padded(piece, text)


def _integer(piece: Directive, part: Part, value: int, clean: Clean) -> str:
    match piece.verb:
        case "d":
            return _digits(piece, value, "d")
        case "u":
            return _digits(piece, value % _WORD, "d")
        case "x" | "X":
            return _digits(piece, value, piece.verb)
        case "p":
            return f"0x{value % _WORD:x}"
        case "c" if 0 <= value <= 0x10FFFF:
            return clean(chr(value))
        case "q" if 0 <= value <= 0x10FFFF:
            return "'" + (quoted(chr(value))[1:-1] if value != ord("'") else "\\'") + "'"
        case "t":
            return "true" if value else "false"
        case "f":
            return _float(piece, float(value))
        case _ if part.kind in (PartKind.INT, PartKind.UINT) and not isinstance(value, bool):
            return _digits(piece, value, "d")
        case _:
            return as_text(part, value, clean)
    raise AssertionError


def _digits(piece: Directive, value: int, base: str) -> str:
    """A whole number; the precision is the least number of digits."""
    prefix = f"0{base}" if piece.sharp and base in "xX" else ""
    digits = f"{abs(value):{base}}"
    if piece.precision is not None:
        digits = digits.zfill(piece.precision)
    sign = _sign(piece, value < 0)
    if piece.zero and not piece.left and piece.precision is None and piece.width:
        digits = digits.zfill(piece.width - len(sign) - len(prefix))
    return sign + prefix + digits


def _sign(piece: Directive, negative: bool) -> str:
    if negative:
        return "-"
    return "+" if piece.plus and piece.verb != "v" else " " if piece.space else ""


def _float(piece: Directive, value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if piece.verb == "f":
        text = f"{abs(value):.{6 if piece.precision is None else piece.precision}f}"
    else:
        text = to_text(abs(value)) if piece.precision is None else f"{abs(value):.{piece.precision}g}"
    sign = _sign(piece, math.copysign(1.0, value) < 0)
    if piece.zero and not piece.left and piece.width:
        text = text.zfill(piece.width - len(sign))
    return sign + text


def _string(piece: Directive, part: Part, value: str | Text | Bytes, clean: Clean) -> str:
    if piece.verb in "xX":
        content = value.encode() if isinstance(value, str) else value.content
        digits = content[: piece.precision].hex()
        return digits.upper() if piece.verb == "X" else digits
    if piece.verb == "q":
        return as_operand(part, value, clean) if isinstance(value, Text) else quoted(as_text(part, value, str))
    text = as_text(part, value, clean)
    return text if piece.precision is None else text[: piece.precision]


def _padded(piece: Directive, text: str) -> str:
    width = piece.width or 0
    return text.ljust(width) if piece.left else text.rjust(width)
