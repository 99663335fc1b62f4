"""Time zones by rule, as in the TZ variable: what Go computes behind the last transition that it has a table of.

time/zoneinfo.go, tzset, Go 1.18–1.27; the rules are those of POSIX, with hours up to 167 (RFC 8536, 3.3).
"""

from __future__ import annotations

import re
from datetime import date

from msgspec import Struct

_NAME = r"(?:<(?P<{0}_quoted>[^<>]{{1,16}})>|(?P<{0}>[A-Za-z]{{3,16}}))"
_OFFSET = r"(?P<{0}>[+-]?\d{{1,3}}(?::\d{{1,2}}){{0,2}})"
_RULE = r"(?P<{0}>J\d{{1,3}}|\d{{1,3}}|M\d{{1,2}}\.\d\.\d)(?:/" + _OFFSET.replace("{0}", "{0}_time") + ")?"
_ZONE = re.compile(
    _NAME.format("standard") + _OFFSET.format("offset")
    + f"(?:{_NAME.format('summer')}(?:{_OFFSET.format('summer_offset')})?"
    + f"(?:,{_RULE.format('start')},{_RULE.format('end')})?)?",
    re.ASCII,
)  # fmt: skip
_DAY = 86400
_EPOCH = date(1970, 1, 1).toordinal()


class Zone(Struct, frozen=True):
    name: str
    offset: int  # seconds east of UTC


def zone_by_rule(rule: str, second: int) -> Zone | None:
    """The zone at a second since 1970; None for a rule that is none."""
    found = _ZONE.fullmatch(rule)
    if found is None:
        return None
    standard = Zone(found["standard_quoted"] or found["standard"], -_seconds(found["offset"]))
    name = found["summer_quoted"] or found["summer"]
    if name is None:
        return standard
    offset = found["summer_offset"]
    summer = Zone(name, -_seconds(offset) if offset else standard.offset + 3600)
    try:
        year = date.fromordinal(_EPOCH + second // _DAY).year
        since = second - _DAY * (date(year, 1, 1).toordinal() - _EPOCH)
        starts = _begin(year, found["start"] or "M3.2.0", found["start_time"]) - standard.offset
        ends = _begin(year, found["end"] or "M11.1.0", found["end_time"]) - summer.offset
    except (ValueError, OverflowError):  # years that Python's dates do not have
        return None
    if ends < starts:  # south of the equator
        return standard if ends <= since < starts else summer
    return summer if starts <= since < ends else standard


def _seconds(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    parts = [int(part) for part in text.lstrip("+-").split(":")]
    return sign * sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))


def _begin(year: int, rule: str, time: str | None) -> int:
    """Seconds from the year's start, by the clock, at which a rule takes effect."""
    at = _seconds(time) if time else 2 * 3600
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if rule.startswith("J"):  # 1 to 365, February 29th is never counted
        day = int(rule[1:]) - 1
        return (day + (leap and day >= 59)) * _DAY + at
    if not rule.startswith("M"):
        return int(rule) * _DAY + at
    month, week, weekday = (int(part) for part in rule[1:].split("."))
    if not 1 <= month <= 12:
        return at
    first = date(year, month, 1)
    days = (date(year + month // 12, month % 12 + 1, 1) - first).days
    day = (weekday - first.isoweekday()) % 7 + 7 * (week - 1)
    if day >= days:
        day -= 7
    return (first.timetuple().tm_yday - 1 + day) * _DAY + at
