"""The summary of a SQL query: its operations and their targets, `INSERT shipping_details SELECT orders`.

No parser of SQL: it follows the words that begin operations and those behind which a table's name stands. What it does
not know gives less, never a literal. After OpenTelemetry's semantic conventions 1.44.0, docs/db/database-spans.md,
Generating a summary of the query.
"""

from __future__ import annotations

from msgspec import Struct

from gotap.probe.convert_registry import Cut
from gotap.probe.convert_sql_lexer import Kind, Token, tokens_of


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Bytes of a summary at most (semconv: characters).
_LONGEST = 255

#: Operations behind which their target stands.
_TARGETED = _words(
    "INSERT REPLACE MERGE UPSERT UPDATE DELETE TRUNCATE CALL EXEC EXECUTE USE COPY TABLE"
)
#: Those whose targets may be several, with commas between.
_LISTED = _words("UPDATE DELETE TRUNCATE")
#: Operations that may stand inside a statement that begins with WITH or EXPLAIN.
_CHANGES = _words("INSERT UPDATE DELETE MERGE REPLACE UPSERT")
_PREFIXES = _words("WITH EXPLAIN DESCRIBE DESC")
#: Statements whose other words say nothing: names of users, permissions, free text.
_OPAQUE = _words("GRANT REVOKE COMMENT DO")

_DEFINITIONS = _words("CREATE ALTER DROP")
_DEFINED = _words("TABLE VIEW INDEX SEQUENCE SCHEMA DATABASE TYPE FUNCTION PROCEDURE TRIGGER")
#: What has a body of statements of its own.
_WITH_BODY = _words("FUNCTION PROCEDURE TRIGGER")
_MODIFIERS = _words(
    "OR REPLACE TEMP TEMPORARY GLOBAL LOCAL UNLOGGED UNIQUE MATERIALIZED RECURSIVE VIRTUAL FOREIGN EXTERNAL FULLTEXT "
    "SPATIAL CLUSTERED NONCLUSTERED"
)

#: Words that may stand before a target.
_BEFORE_TARGETS = _words(
    "INTO FROM TABLE ONLY LATERAL IF NOT EXISTS ON CONCURRENTLY OVERWRITE IGNORE LOW_PRIORITY HIGH_PRIORITY DELAYED "
    "QUICK OR REPLACE ROLLBACK ABORT FAIL IMMEDIATE OUTFILE DUMPFILE TOP"
)
_JOINS = _words("JOIN STRAIGHT_JOIN")
#: Words that end a list of tables.
_AFTER_TABLES = _words(
    "WHERE GROUP ORDER HAVING LIMIT OFFSET FETCH FOR WINDOW QUALIFY UNION INTERSECT EXCEPT MINUS SET VALUES RETURNING "
    "OUTPUT DEFAULT"
)


def summary_of(query: str, traits: frozenset[str] | None) -> str | None:
    """The summary; `traits` are those of the dialect, None if it is not known. None: there is nothing to tell."""
    summary = _Summary(query)
    for token in tokens_of(query, traits):
        if summary.complete or token.kind is Kind.STOP:
            break
        summary.add(token)
    return summary.text()


class _Level(Struct):
    """Between two parentheses, or outside of all."""

    clauses: bool  # a FROM here is one of a query, and not of EXTRACT(YEAR FROM …)
    tables: bool = False  # behind a comma here stands a table


class _Summary:
    def __init__(self, query: str) -> None:
        self._query = query
        self._parts: list[str] = []
        self._size = 0
        self._target: tuple[int, int] | None = None  # seen so far, `schema.` or `schema.table`
        self._before = ""  # the token before: a word in capitals, a mark, or ""
        self.complete = False  # nothing that follows is wanted
        self._begin()

    def _begin(self) -> None:
        """A statement begins."""
        self._verb = ""
        self._levels = [_Level(clauses=True)]
        self._expected = self._parenthesis = False  # a target may stand here; and behind a parenthesis, too
        self._pending = False  # the operation that WITH or EXPLAIN stands before is still to come
        self._defining = False  # behind CREATE, before the kind of thing
        self._opaque = False

    def text(self) -> str | None:
        self._end_target()
        return " ".join(self._parts) or None

    def add(self, token: Token) -> None:
        if self._target is not None and not token.blank and self._continues_target(token):
            self._target = self._target[0], token.end
            self._before = self._query[token.start : token.end] if token.kind is Kind.MARK else ""
            return
        self._end_target()
        if token.kind is Kind.MARK:
            self._before = self._query[token.start]
            self._mark(self._before)
            return
        if self._opaque:
            pass
        elif token.kind is Kind.WORD:
            self._word(token.word, token)
        elif token.kind is Kind.NAME and self._expected:
            self._begin_target(token)
        else:
            self._expected = False
        self._before = token.word

    # Targets

    def _continues_target(self, token: Token) -> bool:
        if token.kind is Kind.MARK:
            return self._query[token.start] == "."
        return self._before == "." and token.kind in (Kind.WORD, Kind.NAME)

    def _begin_target(self, token: Token) -> None:
        self._target = token.start, token.end
        self._expected = False

    def _end_target(self) -> None:
        if self._target is not None:
            start, end = self._target
            self._target = None
            self._emit(start, end)
            if self._verb in _WITH_BODY:
                self.complete = True

    def _emit(self, start: int, end: int) -> None:
        """Adds a word or a target; one that was cut, or that is too much, ends the summary."""
        text = self._query[start:end].rstrip(".")
        size = self._size + len(text.encode("utf-8", "replace")) + bool(self._parts)
        if size > _LONGEST or (isinstance(self._query, Cut) and end == len(self._query)):
            self.complete = True
        if not self.complete:
            self._parts.append(text)
            self._size = size

    def _expect(self, *, listed: bool, parenthesis: bool = True) -> None:
        self._expected, self._parenthesis = True, parenthesis
        self._levels[-1].tables = listed

    # Marks

    def _mark(self, mark: str) -> None:
        if mark == ";":
            self._begin()
        elif mark in "([":
            self._expected = self._expected and self._parenthesis and mark == "("
            self._levels.append(_Level(clauses=False, tables=self._expected))
        elif mark in ")]":
            if len(self._levels) > 1:
                self._levels.pop()
            self._expected = False
        else:
            self._expected = mark == "," and self._levels[-1].tables
            self._parenthesis = True

    # Words

    def _word(self, word: str, token: Token) -> None:
        if self._verb == "":
            self._operation(word, token)
        elif self._defining:
            self._definition(word, token)
        elif word == "SELECT":
            self._emit(token.start, token.end)
            self._levels[-1] = _Level(clauses=True)
            self._expected = False
            self._pending = self._pending and len(self._levels) > 1
        elif self._pending and word in _CHANGES and (len(self._levels) == 1 or self._before == "("):
            self._pending = len(self._levels) > 1
            self._operation(word, token)
        elif word in _AFTER_TABLES and self._before != ".":
            self._expected = self._levels[-1].tables = False
        elif word == "FROM" and self._is_clause():
            self._expect(listed=True)
        elif word in _JOINS or (word == "APPLY" and self._before in ("CROSS", "OUTER")):
            self._expected = self._parenthesis = True
        elif word == "INTO":
            self._expect(listed=False)
        elif word == "USING" and self._verb in ("DELETE", "MERGE"):
            self._expect(listed=True, parenthesis=False)
        elif self._expected and word not in _BEFORE_TARGETS:
            self._begin_target(token)

    def _is_clause(self) -> bool:
        """Whether a FROM here names tables: not in EXTRACT(YEAR FROM …), IS DISTINCT FROM …, COPY … FROM …."""
        copied = self._verb == "COPY" and len(self._levels) == 1
        return self._levels[-1].clauses and self._before != "DISTINCT" and not copied

    def _operation(self, word: str, token: Token) -> None:
        """The first word of a statement, or the operation behind WITH or EXPLAIN."""
        self._verb = word or "?"
        self._levels[-1].clauses = True
        if word != "WITH":
            self._emit(token.start, token.end)
        if word in _PREFIXES:
            self._pending = True
        elif word in _TARGETED:
            self._expect(listed=word in _LISTED)
        self._defining = word in _DEFINITIONS
        self._opaque = word in _OPAQUE

    def _definition(self, word: str, token: Token) -> None:
        """Behind CREATE, ALTER or DROP."""
        if word in _MODIFIERS:
            return
        self._defining = False
        self._emit(token.start, token.end)
        if word in _DEFINED:
            self._expect(listed=self._verb == "DROP")
            self._verb = word
        else:
            self._opaque = True
