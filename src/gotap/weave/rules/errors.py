"""What can be wrong with rules; every message begins with the file and the line."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from itertools import islice

from gotap.errors import GotapError

#: Characters of a message and of an excerpt: names in them may be as long as the file.
_MOST_MESSAGE, _MOST_EXCERPT = 400, 100


class InvalidRule(GotapError):
    """Something is wrong at a line (counted from one; 0: the file as a whole) of a file of rules.

    `excerpt`: that line.
    """

    def __init__(self, file: str, line: int, message: str, remedy: str) -> None:
        message = _cut(message, _MOST_MESSAGE)
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}", _cut(remedy, _MOST_MESSAGE))
        self.file = file
        self.line = line
        self.excerpt = _excerpt(file, line)


class UnreadableRules(InvalidRule):
    """The file cannot be read, or is not text."""


class NotYaml(InvalidRule):
    """The text is not YAML, or YAML that is used in a way that no rule needs."""


class UnknownKey(InvalidRule):
    """A key, join point, piece of advice or choice that does not exist."""


class WrongShape(InvalidRule):
    """A mapping where a list is due, a number where text is due, a key that is missing or stands twice."""


class InvalidGoName(InvalidRule):
    """Not an identifier, an import path, a qualified name or a type of Go."""


class InvalidTemplate(InvalidRule):
    """A template that Go's text/template refuses, or that asks for what templates cannot tell."""


class DuplicateId(InvalidRule):
    """Two aspects of a file have one id."""


class InvalidToolFile(InvalidRule):
    """A tool file that is not Go as far as its imports."""


class MissingRules(InvalidRule):
    """A file, folder or package that another file names is not there."""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _excerpt(file: str, line: int) -> tuple[str, ...]:
    """The line, without what a terminal would obey; nothing where there is none."""
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            text = next(islice(stream, line - 1, None), "") if line else ""
    except OSError:
        return ()
    shown = "".join(character if character.isprintable() else " " for character in text).strip()
    return (f"    {_cut(shown, _MOST_EXCERPT)}",) if shown else ()


def suggestion(given: str, known: Collection[str]) -> str:
    """A remedy for a word that is not among the known ones."""
    near = get_close_matches(given, sorted(known), n=1, cutoff=0.6)
    listed = ", ".join(sorted(known))
    return f"Did you mean {near[0]!r}? Known are: {listed}" if near else f"Known are: {listed}"
