"""Conversions of database/sql: which database it is, the query without its literals, its summary, how it failed.

Sources: OpenTelemetry's semantic conventions 1.44.0, docs/db (database-spans.md: Sanitization of db.query.text,
Generating a summary of the query; sql.md).
"""

from __future__ import annotations

from collections.abc import Collection

from gotap.probe.convert_errors import go_error
from gotap.probe.convert_registry import ELLIPSIS, Cut, Result, register, shown
from gotap.probe.convert_sql_lexer import Kind, Token, tokens_of
from gotap.probe.convert_sql_summary import summary_of

#: What is behind database/sql when the driver does not tell: some SQL database.
_OTHER = "other_sql"

_VALUES = (Kind.LITERAL, Kind.PLACEHOLDER)


@register(Result.TEXT)
def db_system(driver: str | None, *, systems: Collection[str] = ()) -> str:
    """`db.system.name` from the type of a driver or of its connector: by the longest entry that fits its package.

    An entry `PACKAGE=SYSTEM` is for that package and those below it (`github.com/jackc/pgx=postgresql`).
    """
    package = (driver or "").partition("[")[0].removeprefix("*").rpartition(".")[0]
    longest, found = "", _OTHER
    for entry in systems:
        prefix, _, system = entry.partition("=")
        if (package == prefix or package.startswith(prefix + "/")) and len(prefix) > len(longest):
            longest, found = prefix, system
    return found


def _traits(driver: str | None, systems: Collection[str], dialects: Collection[str]) -> frozenset[str] | None:
    """Of the dialect behind a driver (see gotap.probe.convert_sql_lexer); an entry is `SYSTEM=TRAIT TRAIT…`.

    None: the dialect is not known.
    """
    system = db_system(driver, systems=systems)
    for entry in dialects:
        name, _, traits = entry.partition("=")
        if name == system:
            return frozenset(traits.split())
    return None


@register(Result.TEXT)
def sql_text(
    query: str | None, driver: str | None = None, *, systems: Collection[str] = (), dialects: Collection[str] = ()
) -> str | None:
    """`db.query.text`: each literal a `?`, comments dropped, blanks made one; lists of values behind IN made one value.

    Ends with … where the query was cut, or where its dialect leaves open what a quote means.
    """
    if not query:
        return None
    pieces: list[str] = []
    stopped = isinstance(query, Cut)
    values = _List()
    for token in tokens_of(query, _traits(driver, systems, dialects)):
        if token.kind is Kind.STOP:
            stopped = True
            break
        comma, repeated = values.next(query, token)
        if repeated:
            continue
        if comma:
            pieces.append(",")
        if token.blank and pieces:
            pieces.append(" ")
        pieces.append("?" if token.kind is Kind.LITERAL else query[token.start : token.end])
    if stopped:
        pieces.append(ELLIPSIS)
    return "".join(pieces) or None


class _List:
    """Where in `IN (value, value, …)` a query is: 1 behind IN, 2 behind (, 3 behind a value, 4 behind a comma."""

    def __init__(self) -> None:
        self._place = 0

    def next(self, query: str, token: Token) -> tuple[bool, bool]:
        """(a comma was held back and is needed now, the token is left out)."""
        place, mark = self._place, query[token.start] if token.kind is Kind.MARK else ""
        value = token.kind in _VALUES
        if place == 1 and mark == "(":
            self._place = 2
        elif place in (2, 4) and value:
            self._place = 3
            return False, place == 4
        elif place == 3 and mark == ",":
            self._place = 4
            return False, True
        else:
            self._place = int(token.word == "IN")
            return place == 4, False
        return False, False


@register(Result.TEXT)
def sql_summary(
    query: str | None, driver: str | None = None, *, systems: Collection[str] = (), dialects: Collection[str] = ()
) -> str | None:
    """`db.query.summary`: the operations and what they work on, in order, as written, in at most 255 bytes."""
    return summary_of(query, _traits(driver, systems, dialects)) if query else None


@register(Result.TEXT)
def db_status(code: str | None, number: int | None = None) -> str | None:
    """`db.response.status_code`: the database's own code (SQLSTATE), or its error number, of which 0 is none."""
    if code:
        return shown(code)
    return str(number) if number else None


@register(Result.TEXT)
def db_error(
    code: str | None,
    number: int | None = None,
    type_name: str | None = None,
    message: str | None = None,
    errno: int | None = None,
    *,
    names: Collection[str] = (),
    timeout: Collection[str] = (),
    canceled: Collection[str] = (),
) -> str | None:
    """`error.type` of a database client: the database's code, a known error's name, else as for any Go error.

    An entry of `names` is `NAME=MESSAGE` (`database/sql.ErrTxDone=sql: transaction has already …`).
    """
    if not type_name:
        return None
    if status := db_status(code, number):
        return status
    if message and not isinstance(message, Cut):
        for entry in names:
            name, _, known = entry.partition("=")
            if known == message:
                return name
    return go_error(type_name, message, errno, timeout=timeout, canceled=canceled)
