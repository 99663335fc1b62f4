"""printf's formats, from text to pieces. What a verb makes of a value is the output's business."""

from __future__ import annotations

import re

from msgspec import Struct

from gotap.errors import GotapError
from gotap.probe.lexer import shown

#: Verbs by how formats write them → what they are. C's i is d.
_VERBS = {verb: verb for verb in "duxXsqvtpfc"} | {"i": "d"}

#: The widest field, and the most digits behind a point.
MOST_WIDTH = 1024

_DIRECTIVE = re.compile(r"%([-+ 0#]*)([0-9]*)(?:(\.)([0-9]*))?((?:hh?|ll?|[jzt](?=[diuxX]))?)(.?)", re.DOTALL)


class FormatError(GotapError):
    """A format that cannot be read; `at` is the index of the directive in the format."""

    def __init__(self, message: str, remedy: str, at: int) -> None:
        super().__init__(message, remedy)
        self.at = at


class Plain(Struct, frozen=True):
    """Text that is printed as it is."""

    text: str


class Directive(Struct, frozen=True):
    """What one argument is printed by. `verb`: one of d u x X s q v t p f c, each as in Go's fmt; u is d, unsigned.

    `plus` of v: with the names of fields; of numbers: always a sign. `zero`: filled up with zeros. `left`: blanks are
    behind. `space`: a blank where a sign would be. `sharp`: with 0x, of q with backquotes where possible.
    `at`: index in the format.
    """

    verb: str
    plus: bool = False
    zero: bool = False
    left: bool = False
    space: bool = False
    sharp: bool = False
    width: int | None = None
    precision: int | None = None
    at: int = -1


Piece = Plain | Directive


def parse_format(text: str) -> tuple[Piece, ...]:
    """Pieces in their order; of plain ones no two are neighbours. Raises FormatError."""
    pieces: list[Piece] = []
    plain = ""
    place = 0
    while (percent := text.find("%", place)) >= 0:
        plain += text[place:percent]
        match = _DIRECTIVE.match(text, percent)
        assert match is not None
        place = match.end()
        if match[0] == "%%":
            plain += "%"
            continue
        if plain:
            pieces.append(Plain(plain))
            plain = ""
        pieces.append(_directive(match))
    plain += text[place:]
    return (*pieces, Plain(plain)) if plain else tuple(pieces)


def directives(pieces: tuple[Piece, ...]) -> list[Directive]:
    """Those that take an argument, in the order of the arguments."""
    return [piece for piece in pieces if isinstance(piece, Directive)]


def _directive(match: re.Match[str]) -> Directive:
    flags, width, point, precision, _length, verb = match.groups()
    at = match.start()
    written = shown(match[0])
    if not verb:
        raise FormatError("the format ends within a directive", "a percent sign is written %%", at)
    if verb in "*[":
        raise FormatError(f"{written}: width and order stand in the format", "write the width as a number: %10s", at)
    if verb not in _VERBS:
        raise FormatError(
            f"{written} is not a directive",
            "write %d %u %x %X %s %q %v %+v %t %p %f %c, or %% for a percent sign",
            at,
        )
    numbers = [number[:6] for number in (width, precision or "")]
    if any(number and int(number) > MOST_WIDTH for number in numbers):
        raise FormatError(f"{written} is wider than {MOST_WIDTH}", "write a smaller number", at)
    return Directive(
        _VERBS[verb], "+" in flags, "0" in flags, "-" in flags, " " in flags, "#" in flags,
        int(width) if width else None, (int(precision) if precision else 0) if point else None, at,
    )  # fmt: skip
