"""Go's literals: numbers, durations, texts and runes, from the words of a Lexer to values."""

from __future__ import annotations

import re

#: Nanoseconds.
_UNITS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_DURATION_PART = re.compile(r"([0-9][0-9_]*)(?:\.([0-9]+))?([a-zµμ]+)")
_FLOAT = re.compile(r"[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*")
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34, "'": 39}
_ESCAPE = re.compile(r"\\(?:([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)

MOST_INTEGER = (1 << 64) - 1
_MOST_DURATION = (1 << 63) - 1
_MOST_DIGITS = 40


class Malformed(ValueError):
    """What is wrong with a literal, `at` so many characters behind its begin."""

    def __init__(self, message: str, remedy: str, at: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.at = at


def number(word: str, shown: str) -> int | float:
    """`word` as Go reads it; `shown` is how messages name it."""
    is_whole = _INTEGER.fullmatch(word) is not None
    if not is_whole and not _FLOAT.fullmatch(word):
        raise Malformed(f"{shown} is no number", "write 42, 0x2a, 0b101, 0o17, 1_000, 2.5, 1e6 or 100ms")
    try:
        value = int(word, 0) if is_whole else float(word)
    except ValueError:  # 010, 1__0, 1_.5, or thousands of digits
        remedy = "octal numbers begin with 0o, and an _ stands between digits"
        raise Malformed(f"{shown} is no number", remedy) from None
    if isinstance(value, int) and value > MOST_INTEGER:
        raise Malformed(f"{shown} is more than 64 bits hold", f"the greatest number is {MOST_INTEGER}")
    if value == float("inf"):
        raise Malformed(f"{shown} is more than a float64 holds", "write a smaller number")
    return value


def duration(word: str, shown: str) -> int:
    """`1m30s` → nanoseconds."""
    total = 0
    for whole, fraction, unit in _DURATION_PART.findall(word):
        if len(whole) + len(fraction) > _MOST_DIGITS:
            raise Malformed(f"{shown} has too many digits", "write fewer")
        behind_point, rest = divmod(int(fraction or 0) * _UNITS[unit], 10 ** len(fraction))
        if rest:
            raise Malformed(f"{shown} is not a whole number of nanoseconds", "round it")
        total += int(whole.replace("_", "")) * _UNITS[unit] + behind_point
    if total > _MOST_DURATION:
        raise Malformed(f"{shown} is more than a time.Duration holds", "the longest is about 292 years")
    return total


def text(word: str) -> bytes:
    """`"…"` or a raw text between backquotes → its bytes. Bytes of the script that are not UTF-8 stay as they are."""
    if word.startswith("`"):
        return word[1:-1].replace("\r", "").encode("utf-8", "surrogateescape")  # as Go's
    return b"".join(_pieces(word))


def rune(word: str) -> int:
    """`'x'` → its code point, or the byte that \\x or an octal escape names."""
    inner = word[1:-1]
    escaped = _ESCAPE.fullmatch(inner)
    if escaped is not None:
        return _escape(escaped, word)
    if len(inner) != 1 or inner == "\\":
        raise Malformed("a rune is one character between single quotes", 'texts stand between double quotes: "…"')
    return ord(inner)


def position_in_text(word: str, index: int) -> int:
    """Where in the literal `word` the character `index` of its value (decoded as UTF-8, surrogateescape) is written."""
    if word.startswith("`"):
        return 1 + index
    place, decoded = 1, 0
    while place < len(word) - 1 and decoded < index:
        match = _ESCAPE.match(word, place)
        place = match.end() if match else place + 1
        decoded += 1
    return place


def _pieces(word: str) -> list[bytes]:
    pieces, place = [], 1
    while True:
        match = _ESCAPE.search(word, place, len(word) - 1)
        plain = word[place : match.start() if match else len(word) - 1]
        pieces.append(plain.encode("utf-8", "surrogateescape"))
        if match is None:
            return pieces
        value = _escape(match, word)
        is_byte = match[1] is not None or match[2] is not None
        pieces.append(bytes([value]) if is_byte else chr(value).encode())
        place = match.end()


def _escape(match: re.Match[str], word: str) -> int:
    octal, byte, short, long, simple = match.groups()
    if simple is not None:
        if simple not in _SIMPLE or simple == {'"': "'", "'": '"'}[word[0]]:
            remedy = r"write \n \t \r \a \b \f \v \\ \" \x41 \101 \u00e9"
            raise Malformed(f"`\\{simple}` is not an escape of Go's", remedy, match.start())
        return _SIMPLE[simple]
    value = int(octal, 8) if octal is not None else int(byte or short or long, 16)
    if (octal is not None and value > 0xFF) or value > 0x10FFFF or 0xD800 <= value < 0xE000:
        remedy = r"bytes end at \377 and \xff, characters at \U0010ffff"
        raise Malformed(f"`{match[0]}` is not a character", remedy, match.start())
    return value
