"""Words of expressions and scripts, one at a time, so that a parser may read what lies between them in its own way."""

from __future__ import annotations

import re
from collections.abc import Callable

from gotap.errors import GotapError

#: Blanks, comments, and a line end behind a backslash. Blanks that come with text copied from web pages count too.
_BLANK = re.compile(
    r"""(?:[ \t\r\f\v\xa0\ufeff]++
    | //[^\n]*+
    | /\*(?:[^*]|\*(?!/))*+\*/
    | \\\r?\n)*+""",
    re.VERBOSE,
)
_TOKEN = re.compile(
    r"""(?P<newline>\n)
    | (?P<duration>(?>[0-9][0-9_]*+(?:\.[0-9]++)?+(?:ns|us|µs|μs|ms|s|m|h))++(?!\w))
    | (?P<number>[0-9][0-9_]*+(?:\.[0-9][0-9_]*+)?+[eE][-+]?[0-9]++(?!\w)|[0-9]\w*+(?:\.\w++)?+)
    | (?P<text>"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|`[^`]*+`)
    | (?P<rune>'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+')
    | (?P<name>[^\W\d]\w*+|~(?:recv\b|[ar][0-9]++))
    | (?P<local>\$[^\W\d]\w*+)
    | (?P<map>@(?:[^\W\d]\w*+)?+)
    | (?P<operator><<=|>>=|\+\+|--|[-+*/%&|^:]=|<<|>>|&&|\|\||==|!=|<=|>=|\.\.|[-+*/%&|^!<>=.,:;()\[\]{}?])""",
    re.VERBOSE,
)
_QUOTES = {'"': '"', "`": "`", "'": "'", "“": '"', "”": '"', "‘": "'", "’": "'"}

#: Blanks within a line, and the mark that some editors put before the first one.
_BLANKS = " \t\r\f\v\xa0\ufeff"

#: Words longer than this are cut in messages.
_MOST_SHOWN = 40


class Lexer:
    """`kind` (a group of _TOKEN, or "end") and `token` are the word at `start`; `position` is where it ends.

    Line ends are words of their own, except inside parentheses and brackets (`nesting` of them). `fail` makes the error
    for a place: (index of the character, message, remedy).
    """

    def __init__(self, text: str, fail: Callable[[int, str, str], GotapError], position: int = 0) -> None:
        self.text = text
        self.fail = fail
        self.position = position
        self.start = position
        self.kind = ""
        self.token = ""
        self.nesting = 0

    def advance(self) -> None:
        """To the next word."""
        if self.kind == "operator":
            self.nesting += {"(": 1, "[": 1, ")": -1, "]": -1}.get(self.token, 0)
        self.skip_blanks()
        while self.nesting > 0 and self.text.startswith("\n", self.position):
            self.position += 1
            self.skip_blanks()
        self.start = self.position
        if self.start == len(self.text):
            self.kind, self.token = "end", ""
            return
        match = _TOKEN.match(self.text, self.start)
        if match is None:
            raise self.unreadable()
        self.kind = match.lastgroup or ""
        self.token = match[0]
        self.position = match.end()

    def skip_blanks(self) -> None:
        """Over blanks and comments within the line, and over a line that begins with #."""
        while True:
            match = _BLANK.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if not self.text.startswith("#", self.position) or not self.begins_line():
                break
            end = self.text.find("\n", self.position)
            self.position = end if end >= 0 else len(self.text)
        if self.text.startswith("/*", self.position):
            remedy = "close it by */, or put a blank between / and *"
            raise self.fail(self.position, "the comment is not closed", remedy)

    def skip_lines(self) -> bool:
        """Over blanks, comments and line ends; whether there was a line end."""
        self.skip_blanks()
        before = self.position
        while self.text.startswith("\n", self.position):
            self.position += 1
            self.skip_blanks()
        return self.position > before

    def begins_line(self) -> bool:
        line = self.text.rfind("\n", 0, self.position) + 1
        return not self.text[line : self.position].strip(_BLANKS)

    def unreadable(self) -> GotapError:
        character = self.text[self.start]
        quote = _QUOTES.get(character)
        if quote == character:
            return self.fail(self.start, "the text is not closed", f"close it by {quote} in the same line")
        if quote is not None:
            return self.fail(self.start, f"`{character}` is a typographic quote", f"write {quote}")
        remedy = "variables are named: $name" if character == "$" else ""
        return self.fail(self.start, f"unexpected {shown(character)}", remedy)


def shown(token: str) -> str:
    """A word as messages show it."""
    if token == "\n":
        return "end of line"
    return f"`{token}`" if len(token) <= _MOST_SHOWN else f"`{token[:_MOST_SHOWN]}…`"
