"""A script's text, and errors that point into it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from gotap.errors import GotapError

#: What a script on the command line is called.
COMMAND_LINE = "script"

#: Columns of the source line that an excerpt shows.
_WIDTH = 100
#: Characters of a message: names in it may be as long as the script.
_MOST_MESSAGE = 200
_TAB = 8


class ScriptError(GotapError):
    """What is wrong with a script, and where: `line` and `column` count from 1, in characters; 0: it is not known.

    `excerpt`: the source line, and a caret below the place.
    """

    def __init__(
        self, message: str, remedy: str, line: int = 0, column: int = 0, excerpt: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, remedy)
        self.line = line
        self.column = column
        self.excerpt = excerpt


class Source(Struct, frozen=True):
    text: str
    name: str = COMMAND_LINE

    def error(self, at: int, message: str, remedy: str = "") -> ScriptError:
        """An error at the character with this index; -1: it has no place.

        The place is named where the caret alone does not tell it: in scripts of several lines, and in files.
        """
        message, remedy = _cut(message), _cut(remedy)
        if at < 0:
            return ScriptError(message, remedy)
        begin = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", begin)
        line = self.text[begin : end if end >= 0 else len(self.text)].rstrip("\r")
        number, column = self.text.count("\n", 0, at) + 1, at - begin
        if self.name != COMMAND_LINE or "\n" in self.text.strip():
            message = f"{self.name}:{number}:{column + 1}: {message}"
        return ScriptError(message, remedy, number, column + 1, _excerpt(line, min(column, len(line))))


def _cut(message: str) -> str:
    return message if len(message) <= _MOST_MESSAGE else f"{message[:_MOST_MESSAGE]}…"


class _Text(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def name(self) -> str: ...


def error_at(source: _Text | str, at: int, message: str, remedy: str = "") -> ScriptError:
    """An error at a place of a script, which is given as its tree, its Source, or its text alone."""
    if isinstance(source, str):
        return Source(source).error(at, message, remedy)
    return Source(source.text, source.name).error(at, message, remedy)


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean count?`, or nothing when no known word is like this one."""
    import difflib  # 3 ms, of errors only

    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(word.casefold()[:100], folded, n=2, cutoff=0.65)
    return f"did you mean {' or '.join(folded[one] for one in near)}?" if near else ""


def _excerpt(line: str, column: int) -> tuple[str, ...]:
    """The line as a terminal shows it, and a caret below the character at `column`; of long lines what is around it."""
    first = max(0, column - _WIDTH * 2 // 3) if len(line) > _WIDTH else 0
    shown, caret, width = ("…", 1, 1) if first else ("", 0, 0)
    for index, character in enumerate(line[first : first + _WIDTH], first):
        if index == column:
            caret = width
        cell = _cell(character, width)
        shown += cell[0]
        width += cell[1]
    if column >= first + len(line[first : first + _WIDTH]):
        caret = width
    if len(line) > first + _WIDTH:
        shown += "…"
    return f"    {shown}", f"    {' ' * caret}^"


def _cell(character: str, column: int) -> tuple[str, int]:
    """How a character is shown, and how many columns it takes."""
    if character == "\t":
        width = _TAB - column % _TAB
        return " " * width, width
    if not character.isprintable():
        return "\N{REPLACEMENT CHARACTER}", 1
    if unicodedata.category(character) in ("Mn", "Me"):
        return character, 0
    return character, 2 if unicodedata.east_asian_width(character) in "WF" else 1
