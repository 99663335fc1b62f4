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

import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import lru_cache

from msgspec import Struct

_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_BLANKS = frozenset(" \t\n\r\f\v")
#: What may stand before a `:` or a `.` that begins neither a parameter nor a number.
_VALUE_ENDS = frozenset("[])}\"'`:?$@")
#: Words that are part of the text that follows at once.
_PREFIXES = frozenset(("E", "N", "B", "X"))
_CLOSING = {"[": "]", "{": "}", "(": ")", "<": ">"}
#: Words behind which SQLite's "…" can only be a name.
_BEFORE_NAMES = frozenset(("FROM", "JOIN", "INTO", "UPDATE", "TABLE", "AS"))

#: Runs of characters, each of one class: taken at one go, and nothing is looked at twice.
_SPACE = re.compile(r"[ \t\n\r\f\v]*").match
_NAME = re.compile("[A-Za-z0-9_\x80-\U0010ffff]*").match
_WORD = re.compile("[A-Za-z0-9_\x80-\U0010ffff$@]*").match
_WORD_WITH_HASH = re.compile("[A-Za-z0-9_\x80-\U0010ffff$@#]*").match
_NUMBER = re.compile("(?:[A-Za-z0-9_\x80-\U0010ffff.]|(?<=[eE])[+-](?=[0-9]))*").match
_NUMERALS = re.compile("[0-9]*").match
_UNTIL = {"'": re.compile(r"[^'\\]*").match, '"': re.compile(r'[^"\\]*').match}
_NO_COMMENT_MARK = re.compile("[^*/]*").match

#: Texts whose tokens are kept: each is masked and summed up.
_KEPT = 128


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
    word: str = ""  # a WORD in capitals, if it is ASCII and so may be a keyword


@lru_cache(maxsize=_KEPT)
def tokens_of(text: str, traits: frozenset[str] | None) -> tuple[Token, ...]:
    """The tokens of one statement, or of several, in order. `traits` None: the dialect is not known."""
    return tuple(_Lexer(text, traits).tokens())


def _is_letter(char: str) -> bool:
    """Whether names may begin with it; "" is no letter."""
    return char in _LETTERS or char >= "\x80"


def _capitals(word: str) -> str:
    """A word in capitals, "" if it cannot be a keyword."""
    return word.upper() if word.isascii() else ""


class _Lexer:
    def __init__(self, text: str, traits: frozenset[str] | None) -> None:
        self._text = text
        self._unknown = traits is None
        self._traits = traits or frozenset()
        self._hash = "hash" in self._traits
        self._backslash = "backslash" in self._traits
        self._words_go_on = _WORD if self._unknown or self._hash else _WORD_WITH_HASH
        self._at = 0
        self._stopped = False
        # The last two tokens, if they were words: ("", "IS"), ("DISTINCT", "FROM").
        self._words = ("", "")

    def tokens(self) -> Iterator[Token]:
        text, size = self._text, len(self._text)
        while True:
            before = self._at
            self._skip()
            start = self._at
            if start >= size and not self._stopped:
                return
            kind = Kind.STOP if self._stopped else self._scan(text[start])
            if self._stopped:
                yield Token(Kind.STOP, start, start, False)
                return
            word = _capitals(text[start : self._at]) if kind is Kind.WORD else ""
            self._words = self._words[1], word
            yield Token(kind, start, self._at, start > before, word)

    def _peek(self, ahead: int = 0) -> str:
        """A character from here on, "" behind the end."""
        at = self._at + ahead
        return self._text[at : at + 1]

    def _before(self, at: int) -> str:
        return self._text[at - 1 : at] if at else ""

    # Blanks and comments

    def _skip(self) -> None:
        text = self._text
        while not self._stopped:
            found = _SPACE(text, self._at)
            assert found is not None
            self._at = found.end()
            char = self._peek()
            if (char == "#" and self._hash) or (char == "-" and self._dashes_comment()):
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end + 1
            elif char == "/" and self._peek(1) == "*":
                self._comment()
            else:
                return

    def _dashes_comment(self) -> bool:
        """Whether a `--` that begins a comment is here; for MySQL `5--1` is 6."""
        if self._peek(1) != "-":
            return False
        behind = self._peek(2)
        blank = behind == "" or behind in _BLANKS
        if self._unknown and not blank:
            self._stopped = True
        return blank or not self._hash

    def _comment(self) -> None:
        """Past a comment in /* */; one that does not end takes the rest."""
        text, size = self._text, len(self._text)
        nested = "nested" in self._traits
        depth, at = 1, self._at + 2
        while at < size and depth:
            found = _NO_COMMENT_MARK(text, at)
            assert found is not None
            at = found.end()
            pair = text[at : at + 2]
            if pair == "/*" and self._unknown:
                self._stopped = True
                return
            if pair == "/*" and nested:
                depth += 1
                at += 2
            elif pair == "*/":
                depth -= 1
                at += 2
            else:
                at += 1
        self._at = min(at, size)

    # Tokens

    def _scan(self, char: str) -> Kind:
        """Goes past the token that begins here, with this character."""
        if _is_letter(char) or char == "@" or (char == "#" and not self._unknown and _is_letter(self._peek(1))):
            return self._word()
        if char in _DIGITS or (char == "." and self._peek(1) in _DIGITS and not self._after_value()):
            return self._number()
        if char == "'" or (char == '"' and self._quotes_text()):
            return self._literal(char, self._backslash, self._unknown)
        if char in ('"', "`"):
            return self._name(char)
        if char == "[" and "brackets" in self._traits:
            return self._name("]")
        if char == "$":
            return self._dollar()
        if char == "?" or (char == ":" and self._names_parameter()):
            self._at += 1
            self._past(_NAME if char == ":" else _NUMERALS)
            return Kind.PLACEHOLDER
        if self._unknown and (char == "#" or (char == "/" and self._peek(1) == "/")):
            self._stopped = True
        self._at += 1
        return Kind.MARK

    def _names_parameter(self) -> bool:
        """Whether a name or a number stands behind the colon here, and nothing before it that it could belong to."""
        behind = self._peek(1)
        return (_is_letter(behind) or behind in _DIGITS) and not self._after_value()

    def _past(self, run: Callable[[str, int], re.Match[str] | None]) -> None:
        """Goes past a run of characters, which may be empty."""
        found = run(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _after_value(self) -> bool:
        """Whether the character before is the end of a name or a value."""
        char = self._before(self._at)
        return _is_letter(char) or char in _DIGITS or char in _VALUE_ENDS

    def _word(self) -> Kind:
        start = self._at
        self._at += 1
        self._past(self._words_go_on)
        word = _capitals(self._text[start : self._at])
        if word in ("TRUE", "FALSE"):
            return Kind.LITERAL
        if self._peek() == "'":
            if word in _PREFIXES:
                return self._literal("'", word == "E" or self._backslash, self._unknown and word != "E")
            if word in ("Q", "NQ"):
                return self._quoted_freely()
        return Kind.PLACEHOLDER if self._text[start] == "@" else Kind.WORD

    def _number(self) -> Kind:
        """All that hangs together: 0x1F, 1_000, 1.5e-3; a word that hangs on it, too."""
        self._past(_NUMBER)
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
        text, size, at, until = self._text, len(self._text), self._at + 1, _UNTIL[quote]
        escaped = False
        while True:
            found = until(text, at)
            assert found is not None
            escaped = escaped and found.end() == at
            at = found.end() + 1
            if at > size:
                break
            if text[at - 1] == "\\":
                escaped = not escaped
                continue
            if escaped and doubtful:
                self._stopped = True
                break
            if not (escaped and backslash):
                if text[at : at + 1] != quote:
                    break
                at += 1
            escaped = False
        self._at = min(at, size)
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
        text, start = self._text, self._at
        self._at += 1
        if self._peek() in _DIGITS:
            if "money" in self._traits:
                return self._number()
            self._past(_NUMERALS)
            return Kind.PLACEHOLDER
        self._past(_NAME)
        if self._peek() == "$":
            tag = text[start : self._at + 1]
            end = text.find(tag, self._at + 1)
            self._at = len(text) if end < 0 else end + len(tag)
            return Kind.LITERAL
        return Kind.PLACEHOLDER if self._at > start + 1 else Kind.MARK
