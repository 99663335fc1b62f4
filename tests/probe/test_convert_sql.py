"""Nothing of a literal is told: random SQL of each dialect, whole, cut anywhere, and read without knowing its dialect.

Every literal and every comment holds a Z, and nothing else does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import SupportsIndex

import pytest

from gotap.probe.catalogue import libraries
from gotap.probe.convert import CONVERSIONS, Cut
from gotap.probe.convert_sql_lexer import Kind, tokens_of

[_LIBRARY] = [one for one in libraries() if one.name == "database/sql"]
PARAMS = dict(next(one.params for one in _LIBRARY.operations[0].attributes if one.conversion == "sql_text"))
DRIVERS = {
    "postgresql": "*github.com/lib/pq.Driver",
    "mysql": "*github.com/go-sql-driver/mysql.MySQLDriver",
    "sqlite": "*modernc.org/sqlite.Driver",
    "microsoft.sql_server": "*github.com/microsoft/go-mssqldb.Driver",
    "oracle.db": "*github.com/sijms/go-ora/v2.OracleDriver",
    "trino": "*github.com/trinodb/trino-go-client/trino.Driver",
}
#: What literals, names and comments are made of, besides the Z.
NASTY = [*"'\"`\\[]#$\né?:x ;/", "--", "/*", "*/", "$$", "$a$"]
WORDS = ["SELECT", "FROM", "WHERE", "IN", "INTO", "UPDATE", "IS", "DISTINCT", "AS", "E", "q", "n", "t", "a.b", "?"]
JOINS = [" ", "\n", ",", " = ", "(", ")", " ( ", "; ", " . "]

Choose = random.Random


def nasty(choose: Choose, *, without: tuple[str, ...] = ()) -> str:
    """A content with a Z somewhere in it; `without`: none of these stands in it."""
    parts = [one for one in choose.choices(NASTY, k=choose.randint(0, 5)) if not any(bad in one for bad in without)]
    parts.insert(choose.randint(0, len(parts)), "Z")
    return "".join(parts)


def doubled(quote: str, prefix: str = "") -> Callable[[Choose], str]:
    return lambda choose: f"{prefix}{quote}{nasty(choose).replace(quote, quote * 2)}{quote}"


def escaped(quote: str, prefix: str = "") -> Callable[[Choose], str]:
    def make(choose: Choose) -> str:
        content = nasty(choose).replace("\\", "\\\\")
        return f"{prefix}{quote}{content.replace(quote, choose.choice([quote * 2, chr(92) + quote]))}{quote}"

    return make


def name(opening: str, closing: str = "") -> Callable[[Choose], str]:
    """A quoted name: it is shown, so it has no Z."""
    closing = closing or opening
    return lambda choose: opening + nasty(choose).replace("Z", "z").replace(closing, closing * 2) + closing


def between(opening: str, closing: str, *without: str) -> Callable[[Choose], str]:
    return lambda choose: opening + nasty(choose, without=(*without, closing)) + closing


def nested(choose: Choose) -> str:
    inner = nasty(choose, without=("/", "*"))
    return f"/*{inner}/*{inner}*/{inner}*/"


COMMENTS = [between("/*", "*/", "/", "*"), between("-- ", "\n")]
NUMBERS = [lambda choose: choose.choice(["1Z", "0xZ", "1.5eZ"])]
SQL: dict[str, list[Callable[[Choose], str]]] = {
    "postgresql": [
        *COMMENTS, *NUMBERS, nested, between("--", "\n"), doubled("'"), doubled("'", "N"), doubled("'", "DATE"),
        escaped("'", "E"), escaped("'", "e"), name('"'), between("$$", "$$", "$"), between("$tag$", "$tag$", "$"),
    ],
    "mysql": [
        *COMMENTS, *NUMBERS, between("#", "\n"), escaped("'"), escaped('"'), escaped("'", "_utf8mb4"),
        escaped("'", "N"), name("`"),
    ],
    "sqlite": [
        *COMMENTS, *NUMBERS, between("--", "\n"), doubled("'"), doubled("'", "x"), name("`"), between("[", "]"),
    ],
    "microsoft.sql_server": [
        *COMMENTS, *NUMBERS, nested, between("--", "\n"), doubled("'"), doubled("'", "N"), name('"'), name("[", "]"),
        lambda choose: "$5Z",
    ],
    "oracle.db": [
        *COMMENTS, *NUMBERS, between("--", "\n"), doubled("'"), between("q'[", "]'", "]"), between("nq'!", "!'", "!"),
        name('"'),
    ],
    "trino": [*COMMENTS, *NUMBERS, between("--", "\n"), doubled("'"), name('"')],
}  # fmt: skip
SQL["sqlite"][-1] = lambda choose: "[" + nasty(choose, without=("]",)).replace("Z", "z") + "]"


def texts(system: str, count: int, seed: int, *, without: tuple[str, ...] = ()) -> Iterator[str]:
    choose = random.Random(f"{system} {seed}")
    while count:
        pieces = []
        for _ in range(choose.randint(1, 8)):
            word = choose.choice(WORDS) if choose.random() < 0.4 else choose.choice(SQL[system])(choose)
            pieces += [word, choose.choice(JOINS)]
        text = "".join(pieces)
        if not any(one in text for one in without):
            count -= 1
            yield text


def told(query: str, system: str) -> str:
    driver = DRIVERS.get(system, "")
    return "|".join(str(CONVERSIONS[one].function(query, driver, **PARAMS)) for one in ("sql_text", "sql_summary"))


@pytest.mark.parametrize("system", SQL)
def test_literals_are_not_told(system: str) -> None:
    for text in texts(system, 1500, 1):
        assert "Z" not in told(text, system), text


@pytest.mark.parametrize("system", SQL)
def test_literals_that_were_cut_are_not_told(system: str) -> None:
    for text in texts(system, 80, 2):
        for end in range(1, len(text)):
            assert "Z" not in told(Cut(text[:end]), system), text[:end]


@pytest.mark.parametrize("system", SQL)
def test_where_the_dialect_is_not_known_nothing_is_told_either(system: str) -> None:
    """What only SQL Server has is left out: a quote in [names] is a literal's anywhere else, and $5 a parameter."""
    for text in texts(system, 1500, 3, without=("[", "$5")):
        assert "Z" not in told(text, "none of these"), text
        assert "Z" not in told(Cut(text[: len(text) // 2]), "none of these"), text


@pytest.mark.parametrize("system", [*SQL, "unknown"])
def test_tokens_stand_one_after_the_other_and_leave_blanks_and_comments(system: str) -> None:
    traits = dict(entry.partition("=")[::2] for entry in PARAMS["dialects"])
    known = frozenset(traits[system].split()) if system in traits else None
    for text in texts(system if known is not None else "postgresql", 500, 4):
        at = 0
        for token in tokens_of(text, known):
            assert at <= token.start <= token.end <= len(text)
            assert token.kind is Kind.STOP or token.start < token.end
            assert token.blank == (token.start > at) or token.kind is Kind.STOP
            at = token.end


HOSTILE = ["'", "''", '"', "$a$", "/*", "--", "(", "[", "E'\\", "q'", "IN (1,", "SELECT a FROM "]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_texts_take_linear_time(piece: str) -> None:
    """Counted in characters looked at, by way of a text that counts."""

    class Counted(str):
        looked = 0

        def __getitem__(self, key: SupportsIndex | slice) -> str:
            Counted.looked += 1
            return super().__getitem__(key)

        def find(self, part: str, start: SupportsIndex | None = 0, end: SupportsIndex | None = None, /) -> int:
            found = super().find(part, start, end)
            Counted.looked += (len(self) if found < 0 else found) - (start.__index__() if start is not None else 0)
            return found

    def effort(times: int) -> int:
        Counted.looked = 0
        for system in (*DRIVERS, "unknown"):
            told(Counted(piece * times), system)
        return Counted.looked

    assert effort(400) <= 4.5 * effort(100) + 1000


def test_every_system_of_the_dialects_is_one_of_a_driver() -> None:
    systems = {entry.partition("=")[2] for entry in PARAMS["systems"]}
    assert {entry.partition("=")[0] for entry in PARAMS["dialects"]} <= systems
