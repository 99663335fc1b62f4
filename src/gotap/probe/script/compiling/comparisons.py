"""Comparisons that are no comparisons of words: times with RFC 3339 texts, floats with numbers."""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime

from gotap.probe import ir
from gotap.probe.expression import ExpressionError
from gotap.probe.value import Value

#: time.Time (time/time.go, Go 1.18–1.27): wall's highest bit says that its seconds, since 1885, are in wall and that
#: ext is a monotonic clock's; else ext has the seconds since the year 1. wall's lowest 30 bits are nanoseconds.
_SINCE_1885 = (1884 * 365 + 1884 // 4 - 1884 // 100 + 1884 // 400) * 86400
_UNIX = 62135596800  # seconds from the year 1 to 1970
_NANOSECONDS = (1 << 30) - 1

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d:\d\d)")
_SIGN = 1 << 63


def time_comparison(operator: str, value: Value, text: str) -> ir.Word:
    """1 where a time.Time stands so to an RFC 3339 time."""
    seconds, nanoseconds = _instant(text)
    wall, ext = value.word(0), value.word(8, 8, True)
    in_wall = ir.Arithmetic(">>", ir.Arithmetic("<<", wall, ir.Const(1), False), ir.Const(31), False)
    own_seconds = ir.Conditional(
        ir.Compare("!=", ir.Arithmetic(">>", wall, ir.Const(63), False), ir.Const(0), False),
        ir.Add(in_wall, ir.Const(_SINCE_1885)),
        ext,
    )
    own = ir.Arithmetic("&", wall, ir.Const(_NANOSECONDS), False)
    same = ir.Compare("==", own_seconds, ir.Const(seconds), True)
    if operator in ("==", "!="):
        equal = ir.Logic("&&", same, ir.Compare("==", own, ir.Const(nanoseconds), True))
        return equal if operator == "==" else ir.Not(equal)
    beyond = ir.Compare(operator[0], own_seconds, ir.Const(seconds), True)
    return ir.Logic("||", beyond, ir.Logic("&&", same, ir.Compare(operator, own, ir.Const(nanoseconds), True)))


def _instant(text: str) -> tuple[int, int]:
    """Seconds since the year 1, and nanoseconds."""
    match = _RFC3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        zone = match[4].upper().replace("Z", "+00:00")
        when = datetime.fromisoformat(f"{match[1]}T{match[2]}{zone}").astimezone(UTC)
    except ValueError:
        raise ExpressionError(f'"{text}" is no time', 'write RFC 3339: "2026-11-21T10:43:18Z"') from None
    whole = when - datetime(1, 1, 1, tzinfo=UTC)
    return whole.days * 86400 + whole.seconds, int((match[3] or "").ljust(9, "0"))


def float_comparison(operator: str, value: Value, number: float) -> ir.Word:
    """1 where a float stands so to a number. A NaN is beyond all numbers: greater, or less if its sign is set."""
    size = value.type.size
    bits = value.word(0, size)
    if size == 4:
        bits = ir.Arithmetic("<<", bits, ir.Const(32), False)
        wanted = int.from_bytes(struct.pack("<f", number), "little") << 32
    else:
        wanted = int.from_bytes(struct.pack("<d", number), "little")
    if number == 0:  # -0 is 0
        bits = ir.Conditional(ir.Compare("==", bits, ir.Const(_SIGN), False), ir.Const(0), bits)
        wanted = 0
    # As integers, positive floats have the order of their bits, negative ones the reverse, below them.
    negative = ir.Arithmetic("^", bits, ir.Const((1 << 64) - 1), False)
    positive = ir.Arithmetic("|", bits, ir.Const(_SIGN), False)
    ordered = ir.Conditional(ir.Compare("!=", ir.Arithmetic(">>", bits, ir.Const(63), False), ir.Const(0), False),
                             negative, positive)  # fmt: skip
    limit = wanted ^ ((1 << 64) - 1) if wanted >> 63 else wanted | _SIGN
    return ir.Compare(operator, ordered, ir.Const(limit), False)
