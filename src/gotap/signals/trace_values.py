"""Values of events as text and as JSON, by what their Part says they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gotap.probe.script.bound import Part, PartKind
from gotap.signals.stacks import Frame, stack_lines
from gotap.signals.values import to_json, to_text
from gotap.signals.values.model import Duration, Text, Time
from gotap.signals.values.text import rfc3339 as time_text

#: Makes a text of the program safe for where it goes.
Clean = Callable[[str], str]

#: Seconds from the year 1 to 1970 (Go's time.Time counts from there).
_UNIX = 62_135_596_800

_SCALARS = (bool, int, float)


def as_json(part: Part, value: Any) -> Any:
    """What JSON holds: plain objects for msgspec."""
    if part.kind is PartKind.TIME and isinstance(value, int):
        return rfc3339(value)
    if value is None or isinstance(value, (str, *_SCALARS)):
        return value
    if isinstance(value, list):
        return [frame_json(frame) for frame in value]
    return to_json(value)


def frame_json(frame: Frame) -> dict[str, Any]:
    shown: dict[str, Any] = {"func": frame.function, "file": frame.file, "line": frame.line}
    return shown | {"inlined": True} if frame.inlined else shown


def as_text(part: Part, value: Any, clean: Clean) -> str:
    """As `print` and `%v` show it: strings as they are."""
    if isinstance(value, str):
        return clean(value)
    return _shown(part, value, clean)


def as_operand(part: Part, value: Any, clean: Clean) -> str:
    """As a call's line shows it: strings in quotes."""
    if isinstance(value, str) and part.kind in (PartKind.TEXT, PartKind.VALUE, PartKind.CONSTANT):
        return quoted(value)
    if isinstance(value, Text):
        cut = f"…(len {value.length})" if len(value.content) < value.length else ""
        return quoted(value.content.decode("utf-8", "surrogateescape")) + cut
    return clean(value) if isinstance(value, str) else _shown(part, value, clean)


def _shown(part: Part, value: Any, clean: Clean) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if part.kind is PartKind.DURATION and isinstance(value, int):
        return to_text(Duration(value))
    if part.kind is PartKind.TIME and isinstance(value, int):
        return rfc3339(value)
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return stack_text(value, clean)
    return clean(to_text(value))


def stack_text(frames: list[Frame], clean: Clean) -> str:
    """One frame a line, innermost first, each line after a newline."""
    return "".join(f"\n{line}" for line in stack_lines(frames, clean))


def quoted(text: str) -> str:
    """As strconv.Quote writes it (Go 1.27, strconv/quote.go)."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_escape, text))}"'


_NAMED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_NAMED |= {'"': '\\"', "\\": "\\\\"}


def _escape(character: str) -> str:
    if named := _NAMED.get(character):
        return named
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def rfc3339(nanoseconds: int) -> str:
    """Unix nanoseconds in UTC, as time.RFC3339Nano of Go writes them."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time_text(Time(seconds + _UNIX, rest))
