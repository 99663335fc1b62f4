"""time.Time and time.Duration. The instant never needs more than the value; its zone is read from memory.

time/time.go, Go 1.18–1.27: wall (u64): bit 63 hasMonotonic, 33 bits of seconds since 1885, 30 bits of nanoseconds;
ext (i64): with a monotonic clock's reading that one, else seconds since the year 1; loc (*Location): nil is UTC.
"""

from __future__ import annotations

import struct

from gotap.signals.values.memory import Memory
from gotap.signals.values.model import Duration, Time, Told, Unavailable, Value
from gotap.signals.values.reading import View
from gotap.signals.values.zonerules import zone_by_rule

_HAS_MONOTONIC = 1 << 63
_NANOSECONDS = (1 << 30) - 1
_WALL_SECONDS = (1 << 33) - 1
#: Seconds from the year 1 to 1885 (wallToInternal).
_WALL_EPOCH = (1884 * 365 + 1884 // 4 - 1884 // 100 + 1884 // 400) * 86400
_MOST_OFFSET = 26 * 3600
_LONGEST_NAME = 64

#: Location: 0 name, 16 zone []zone, 40 tx []zoneTrans, 64 extend, 80 cacheStart, 88 cacheEnd, 96 cacheZone *zone.
_LOCATION = struct.Struct("<QQ QQQ QQQ QQ qq Q")
#: zone: name, offset int, isDST bool; 32 bytes. zoneTrans: when i64, index u8; 16 bytes.
_ZONE = struct.Struct("<QQq?7x")
_TRANSITION = 16
_MOST_TRANSITIONS = 1 << 12
_MOST_ZONES = 1 << 8  # a transition has the number of one in a byte


def decode_duration(view: View, at: int) -> Value:
    number = _signed(view, at)
    return number if isinstance(number, Unavailable) else Duration(number)


def _signed(view: View, at: int) -> int | Unavailable:
    word = view.word(at)
    return word if isinstance(word, Unavailable) or word < 1 << 63 else word - (1 << 64)


_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip


def decode_weekday(view: View, at: int) -> Value:
    return _named(view, at, _DAYS, 0)


def decode_month(view: View, at: int) -> Value:
    return _named(view, at, _MONTHS, 1)


def _named(view: View, at: int, names: tuple[str, ...], first: int) -> Value:
    number = _signed(view, at)
    if isinstance(number, Unavailable) or not first <= number < first + len(names):
        return number
    return Told(number, names[number - first])


def decode_time(view: View, at: int) -> Value:
    words = view.words(at, 2)
    if isinstance(words, Unavailable):
        return words
    wall, ext = words
    ext -= ext >> 63 << 64  # signed
    monotonic = None
    seconds, nanoseconds = ext, wall & _NANOSECONDS
    if wall & _HAS_MONOTONIC:
        monotonic = ext
        seconds = _WALL_EPOCH + (wall >> 30 & _WALL_SECONDS)
    location = view.word(at + 16)
    if isinstance(location, Unavailable) or location == 0:
        return Time(seconds, nanoseconds, monotonic=monotonic)
    zone = zone_at(location, seconds - _UNIX, view.run.memory, view.run.context.lasting)
    if zone is None:
        return Time(seconds, nanoseconds, monotonic=monotonic)
    return Time(seconds, nanoseconds, zone[1], zone[0], monotonic)


#: Seconds from the year 1 to 1970.
_UNIX = 62135596800


def zone_at(location: int, second: int, *memories: Memory) -> tuple[str, int] | None:
    """(abbreviation, seconds east of UTC) of a *Location at a second since 1970: (*Location).lookup.

    None where memory does not tell.
    """
    raw = _read(location, _LOCATION.size, memories)
    if raw is None:
        return None
    words = _LOCATION.unpack(raw)
    name_length, zones, zone_count, changes, change_count = words[1], words[2], words[3], words[5], words[6]
    extended, start, end, cached = words[9:13]
    if zone_count == 0:
        return ("UTC", 0) if name_length else None  # without a name it was not loaded yet: time.Local before first use
    if cached and start <= second < end:
        return _zone(cached, memories)
    if change_count > _MOST_TRANSITIONS or zone_count > _MOST_ZONES:
        return None
    table = _read(changes, _TRANSITION * change_count, memories) if change_count else b""
    if table is None:
        return None
    index = _transition(table, change_count, second)
    if index < 0:
        number = _first_zone(table, zones, zone_count, memories)
        return None if number is None else _zone(zones + _ZONE.size * number, memories)
    if index == change_count - 1 and extended:
        return _by_rule(words[8], extended, second, memories)
    number = table[_TRANSITION * index + 8]
    return _zone(zones + _ZONE.size * number, memories) if number < zone_count else None


def _first_zone(table: bytes, zones: int, count: int, memories: tuple[Memory, ...]) -> int | None:
    """The zone before the first transition: (*Location).lookupFirstZone."""
    used = table[8::_TRANSITION]
    if 0 not in used:
        return 0
    held = _read(zones, _ZONE.size * count, memories)
    if held is None:
        return None
    summer = [_ZONE.unpack_from(held, _ZONE.size * number)[3] for number in range(count)]
    if used[0] < count and summer[used[0]]:
        earlier = next((number for number in reversed(range(used[0])) if not summer[number]), None)
        if earlier is not None:
            return earlier
    return next((number for number in range(count) if not summer[number]), 0)


def _by_rule(address: int, length: int, second: int, memories: tuple[Memory, ...]) -> tuple[str, int] | None:
    text = _read(address, length, memories) if length <= _LONGEST_NAME else None
    found = zone_by_rule(text.decode("utf-8", "replace"), second) if text is not None else None
    return (found.name, found.offset) if found is not None else None


def _transition(table: bytes, count: int, second: int) -> int:
    """The last transition at or before a second, −1 for none."""
    low, high = -1, count
    while high - low > 1:
        middle = (low + high) // 2
        if second < int.from_bytes(table[_TRANSITION * middle : _TRANSITION * middle + 8], "little", signed=True):
            high = middle
        else:
            low = middle
    return low


def _zone(address: int, memories: tuple[Memory, ...]) -> tuple[str, int] | None:
    raw = _read(address, _ZONE.size, memories)
    if raw is None:
        return None
    name, length, offset, _ = _ZONE.unpack(raw)
    if abs(offset) > _MOST_OFFSET or length > _LONGEST_NAME:
        return None
    text = _read(name, length, memories) if length else b""
    return (text.decode("utf-8", "replace"), offset) if text is not None else None


def _read(address: int, size: int, memories: tuple[Memory, ...]) -> bytes | None:
    for memory in memories:
        found = memory.prefix(address, size)
        if len(found) == size:
            return found
    return None
