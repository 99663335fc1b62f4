"""Numbers and strings as Go writes them: strconv and package time, Go 1.18–1.27."""

from __future__ import annotations

import math

_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def quoted(text: str) -> str:
    """strconv.Quote."""
    return f'"{"".join(_ESCAPES.get(one) or (one if one.isprintable() else _escaped(one)) for one in text)}"'


def _escaped(one: str) -> str:
    code = ord(one)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def special_float(value: float) -> str | None:
    """What Go and our JSON call what is no number: NaN, +Inf, -Inf."""
    if math.isfinite(value):
        return None
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"


def float_text(value: float) -> str:
    """fmt's %v: the shortest digits, with an exponent below 1e-4 and from 1e6 on (strconv/ftoa.go, %g)."""
    if (special := special_float(value)) is not None:
        return special
    mantissa, _, exponent = f"{value!r}".partition("e")
    power = int(exponent or 0)
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return sign + "0"
    point = len(whole) + power - (len(whole + fraction) - len(digits))  # where the point stands before the digits
    digits = digits.rstrip("0")
    if not -4 <= point - 1 < 6:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if point - 1 < 0 else '+'}{abs(point - 1):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def complex_text(value: complex) -> str:
    imaginary = float_text(value.imag)
    plus = "" if imaginary[0] in "+-" else "+"
    return f"({float_text(value.real)}{plus}{imaginary}i)"


def duration_text(nanoseconds: int) -> str:
    """time.Duration.String."""
    sign = "-" if nanoseconds < 0 else ""
    rest = abs(nanoseconds)
    if rest < 1_000_000_000:
        if rest == 0:
            return "0s"
        for unit, size in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
            if rest < size * 1000:
                return f"{sign}{_fraction(rest, size)}{unit}"
    seconds, minutes = rest % 60_000_000_000, rest // 60_000_000_000
    text = f"{_fraction(seconds, 1_000_000_000)}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
    return sign + text


def _fraction(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).rjust(len(str(unit)) - 1, '0').rstrip('0')}"


def civil(seconds: int) -> tuple[int, int, int, int, int, int]:
    """(year, month, day, hour, minute, second) of seconds since January 1st of the year 1; any year."""
    days, rest = divmod(seconds, 86400)
    # Days since March 1st of the year 0, in eras of 400 years (Howard Hinnant, chrono-compatible date algorithms).
    era, day = divmod(days + 306, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day_of_month = day - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + 400 * era + (month <= 2), month, day_of_month, rest // 3600, rest % 3600 // 60, rest % 60
