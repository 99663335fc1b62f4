"""SQL in tokens, as far as masking and summing up need it: linear time, one pass, every decision by an ASCII character.

What a quote, a backslash or a `#` means differs from one database to the next, and a wrong guess would show the inside
of a text. So each dialect says what it has (its traits), and where the dialect is not known, the tokens end at the
first character that two databases read in two ways. The traits:

- `backslash`: `\\` escapes in texts
- `strings`: "…" is a text; `either`: it is a text or a name (SQLite)
- `hash`: `#` begins a comment, and `--` does so only before a blank (MySQL)
- `brackets`: […] is a name
- `nested`: comments nest
- `money`: `$1` is a number (SQL Server), elsewhere it is a parameter

Sources: PostgreSQL 18 §4.1, MySQL 9 §11.1 and §11.7, SQLite lang_keywords and quirks, T-SQL "Constants", "Comments" and
"Identifiers", Oracle 23 SQL Language Reference "Literals".
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

_BLANKS = frozenset(" \t\n\r\f\v")
_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
#: What may stand before a `:` or a `.` that begins neither a parameter nor a number.
_VALUE_ENDS = frozenset("[])}\"'`:?$@")
#: Words that are part of the text that follows at once.
_PREFIXES = frozenset(("E", "N", "B", "X"))
_CLOSING = {"[": "]", "{": "}", "(": ")", "<": ">"}
#: Words behind which SQLite's "…" can only be a name.
_BEFORE_NAMES = frozenset(("FROM", "JOIN", "INTO", "UPDATE", "TABLE", "AS"))


class Kind(Enum):
    WORD = "word"  # a keyword or a name without quotes
    NAME = "name"  # a quoted name, with its quotes
    LITERAL = "literal"  # number, text, truth value; with prefix and quotes
    PLACEHOLDER = "placeholder"  # ? ?1 $1 $name :1 :name @name
    MARK = "mark"  # one character of anything else
    STOP = "stop"  # what follows cannot be told: the last token


class Token(Struct, frozen=True):
    kind: Kind
    start: int
    end: int
    blank: bool  # blanks or comments before it


def is_letter(char: str) -> bool:
    """Whether names may begin with it; "" is no letter."""
    return char in _LETTERS or char >= "\x80"


class Lexer:
    """Gives the tokens of one statement, or of several, in order."""

    def __init__(self, text: str, traits: frozenset[str] | None) -> None:
        """`traits` None: the dialect is not known."""
        self._text = text
        self._unknown = traits is None
        self._traits = traits or frozenset()
        self._at = 0
        self._stopped = False
        # The last two tokens, if they were words, in capitals: ("", "IS"), ("DISTINCT", "FROM").
        self._words = ("", "")

    def tokens(self) -> Iterator[Token]:
        while True:
            before = self._at
            self._skip()
            start = self._at
            if start >= len(self._text) and not self._stopped:
                return
            kind = Kind.STOP if self._stopped else self._scan()
            if self._stopped:
                yield Token(Kind.STOP, start, start, False)
                return
            token = Token(kind, start, self._at, start > before)
            self._words = (self._words[1], upper(self._text[start : self._at]) if kind is Kind.WORD else "")
            yield token

    def _peek(self, ahead: int = 0) -> str:
        """A character from here on, "" behind the end."""
        at = self._at + ahead
        return self._text[at] if at < len(self._text) else ""

    def _before(self, at: int) -> str:
        return self._text[at - 1] if at else ""

    # Blanks and comments

    def _skip(self) -> None:
        while (char := self._peek()) and not self._stopped:
            if char in _BLANKS:
                self._at += 1
            elif (char == "#" and "hash" in self._traits) or (char == "-" and self._dashes_comment()):
                self._to_line_end()
            elif char == "/" and self._peek(1) == "*":
                self._comment()
            else:
                return

    def _dashes_comment(self) -> bool:
        """Whether a `--` that begins a comment is here; for MySQL `5--1` is 6."""
        if self._peek(1) != "-":
            return False
        blank = self._peek(2) == "" or self._peek(2) in _BLANKS
        if self._unknown and not blank:
            self._stopped = True
        return blank or "hash" not in self._traits

    def _to_line_end(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end + 1

    def _comment(self) -> None:
        """Past a comment in /* */; one that does not end takes the rest."""
        depth = 0
        while self._at < len(self._text):
            pair = self._text[self._at : self._at + 2]
            if pair == "/*" and (depth == 0 or "nested" in self._traits):
                depth += 1
                self._at += 2
            elif pair == "/*" and self._unknown:
                self._stopped = True
                return
            elif pair == "*/":
                depth -= 1
                self._at += 2
                if depth == 0:
                    return
            else:
                self._at += 1

    # Tokens

    def _scan(self) -> Kind:
        """Goes past the token that begins here."""
        char = self._peek()
        if is_letter(char) or char == "@" or (char == "#" and not self._unknown and is_letter(self._peek(1))):
            return self._word()
        if char in _DIGITS or (char == "." and self._peek(1) in _DIGITS and not self._after_value()):
            return self._number()
        if char == "'":
            return self._literal("'", "backslash" in self._traits, self._unknown)
        if char == '"' and self._quotes_text():
            return self._literal('"', "backslash" in self._traits, self._unknown)
        if char in ('"', "`"):
            return self._name(char)
        if char == "[" and "brackets" in self._traits:
            return self._name("]")
        if char == "$":
            return self._dollar()
        if char == "?" or (char == ":" and not self._after_value() and self._continues(self._peek(1))):
            self._at += 1
            while self._peek() in _DIGITS if char == "?" else self._continues(self._peek()):
                self._at += 1
            return Kind.PLACEHOLDER
        if self._unknown and (char == "#" or (char == "/" and self._peek(1) == "/")):
            self._stopped = True
        self._at += 1
        return Kind.MARK

    def _continues(self, char: str) -> bool:
        return is_letter(char) or char in _DIGITS

    def _after_value(self) -> bool:
        """Whether the character before is the end of a name or a value."""
        char = self._before(self._at)
        return self._continues(char) or char in _VALUE_ENDS

    def _word(self) -> Kind:
        start = self._at
        others = "$@" if self._unknown or "hash" in self._traits else "$@#"
        self._at += 1
        while (char := self._peek()) and (self._continues(char) or char in others):
            self._at += 1
        word = upper(self._text[start : self._at])
        if self._peek() == "'":
            if word in _PREFIXES:
                return self._literal("'", word == "E" or "backslash" in self._traits, self._unknown and word != "E")
            if word in ("Q", "NQ"):
                return self._quoted_freely()
        if word in ("TRUE", "FALSE"):
            return Kind.LITERAL
        return Kind.PLACEHOLDER if word.startswith("@") else Kind.WORD

    def _number(self) -> Kind:
        """All that hangs together: 0x1F, 1_000, 1.5e-3; a word that hangs on it, too."""
        self._at += 1
        while char := self._peek():
            exponent = char in "+-" and self._before(self._at) in "eE" and self._peek(1) in _DIGITS
            if not (self._continues(char) or char == "." or exponent):
                break
            self._at += 1
        return Kind.LITERAL

    def _quotes_text(self) -> bool:
        """Whether the "…" here is, or may be, a text."""
        if "either" not in self._traits:
            return self._unknown or "strings" in self._traits
        if self._before(self._at) == "." or (self._words[1] in _BEFORE_NAMES and self._words[0] != "DISTINCT"):
            return False
        end = self._text.find('"', self._at + 1)
        return end < 0 or self._text[end + 1 : end + 2] != "."

    def _literal(self, quote: str, backslash: bool, doubtful: bool) -> Kind:
        """A text from its opening quote on; one that does not end takes the rest.

        A quote behind an odd number of backslashes ends it in one dialect and not in the other: `doubtful`, stop.
        """
        self._at += 1
        escaped = False
        while char := self._peek():
            self._at += 1
            if char == "\\":
                escaped = not escaped
                continue
            if char == quote:
                if escaped and doubtful:
                    self._stopped = True
                    break
                if not (escaped and backslash):
                    if self._peek() != quote:
                        break
                    self._at += 1
            escaped = False
        return Kind.LITERAL

    def _quoted_freely(self) -> Kind:
        """Oracle's q'[…]', with any character in place of the brackets."""
        mark = self._peek(1)
        end = self._text.find(_CLOSING.get(mark, mark) + "'", self._at + 2)
        self._at = len(self._text) if end < 0 else end + 2
        return Kind.LITERAL

    def _name(self, quote: str) -> Kind:
        """A quoted name, in which the closing quote is doubled; one that does not end is doubtful."""
        self._at += 1
        while self._peek():
            end = self._text.find(quote, self._at)
            if end < 0:
                break
            self._at = end + 1
            if self._peek() != quote:
                return Kind.NAME
            self._at += 1
        self._stopped = True
        return Kind.NAME

    def _dollar(self) -> Kind:
        """A parameter, or a text between two $tag$; one that does not end takes the rest."""
        start = self._at
        self._at += 1
        if self._peek() in _DIGITS:
            if "money" in self._traits:
                return self._number()
            while self._peek() in _DIGITS:
                self._at += 1
            return Kind.PLACEHOLDER
        while self._continues(self._peek()):
            self._at += 1
        if self._peek() == "$":
            tag = self._text[start : self._at + 1]
            end = self._text.find(tag, self._at + 1)
            self._at = len(self._text) if end < 0 else end + len(tag)
            return Kind.LITERAL
        return Kind.PLACEHOLDER if self._at > start + 1 else Kind.MARK


def upper(word: str) -> str:
    """A word in capitals, "" if it cannot be a keyword."""
    return word.upper() if word.isascii() else ""
