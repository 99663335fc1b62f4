"""Texts of others made safe to print: what a request or a program brings along must not steer the terminal."""

from __future__ import annotations

import codecs
import re

#: ECMA-48 sequences: CSI, the strings OSC, DCS, SOS, PM and APC with their end, and two-character escapes.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)

#: Characters of an unfinished line that are kept, at least as many as a terminal is wide.
_LONGEST = 4096

_WIDTH_OF_TAB = 8


def printable(text: str) -> str:
    """The text on one line; what controls, reorders or hides characters is escaped as in a Go string: `\\x1b`.

    Unicode's own judgement (`str.isprintable`): no control, format (bidirectional, zero-width), surrogate, private or
    unassigned character, and no separator but the blank.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    code = ord(character)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


_UNQUOTED = re.compile(r'[^ "\\]+')


def field_value(text: str) -> str:
    """The same as one word of a line of words; what would not come back as it was is quoted as in Go."""
    if text.isprintable() and _UNQUOTED.fullmatch(text):
        return text
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


class LineFeed:
    """Cuts what a program writes into lines that are safe to print: colours and cursor movements are left out.

    Sequences and characters may be torn between two calls. A carriage return begins the line anew, as progress bars do.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` ends."""
        *lines, self._open = (self._open + self._decoder.decode(data)).split("\n")
        if len(self._open) > _LONGEST:
            self._open = self._open[:_LONGEST]
        return [_shown(line) for line in lines]

    @property
    def open_line(self) -> str:
        """What has come of the next line so far; empty when nothing has."""
        return _shown(self._open)


def _shown(line: str) -> str:
    text = _SEQUENCE.sub("", line).rstrip("\r").rpartition("\r")[2]
    return printable(text.expandtabs(_WIDTH_OF_TAB))
