"""Client spans of database/sql over the real kernel: every method is one span, by every mechanism."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

import gobuild
from endtoend_requests import one
from goservers import Server, serving
from postgres import postgres
from sql_requests import CALLS, CONTEXTS, asked
from watching import Span, Watch, watching

SELECT = "SELECT a, 'secret' FROM t WHERE b = $1 AND c IN (1, 2, 3)"
MASKED = "SELECT a, ? FROM t WHERE b = $1 AND c IN (?)"


def call(server: Server, watch: Watch, on: str, do: str, query: str, **parameters: object) -> Span:
    """The span of one call."""
    asked(server, "/call", on=on, do=do, query=query, **parameters)
    return one(watch.take("client"))


@pytest.fixture(scope="module")
def program(go: str) -> Iterator[Server]:
    with serving(gobuild.build("sqlcalls", go)) as server:
        yield server


@pytest.fixture(scope="module")
def program_watch(program: Server) -> Iterator[Watch]:
    with watching(program.pid) as watch:
        yield watch


@pytest.fixture
def watch(program_watch: Watch) -> Iterator[Watch]:
    program_watch.take()
    yield program_watch
    assert program_watch.losses() == {}


# One call, one span


def check_every_method(server: Server, watch: Watch) -> None:
    for on, do in CALLS:
        asked(server, "/call", on=on, do=do, query=SELECT, arg="x")
        spans = watch.take()
        [request] = [span for span in spans if span.kind == "server"]
        [span] = [span for span in spans if span.kind == "client"]
        assert span.attributes == {
            "db.system.name": "other_sql",
            "db.query.text": MASKED,
            "db.query.summary": "SELECT t",
        }, (on, do)
        assert (span.name, span.operation, span.error) == ("SELECT t", "db.client", False)
        assert span.is_child_of(request), (on, do)
        assert request.start <= span.start <= span.end <= request.end


def test_every_method_is_one_span_below_its_request(program: Server, watch: Watch) -> None:
    check_every_method(program, watch)


@pytest.mark.parametrize("mechanism", ["springboard", "hook"])
@pytest.mark.parametrize("mode", ["plain", "pie_stripped"])
def test_every_mechanism_sees_the_same(mechanism: str, mode: str) -> None:
    executable = gobuild.build("sqlcalls", gobuild.NEWEST, mode=mode)
    with serving(executable) as server, watching(server.pid, via=mechanism) as watch:
        check_every_method(server, watch)
        assert watch.losses() == {}


@pytest.mark.parametrize("mode", ["stripped", "pie_stripped", pytest.param("race", marks=pytest.mark.matrix)])
def test_how_it_was_built_does_not_matter(go: str, mode: str) -> None:
    with serving(gobuild.build("sqlcalls", go, mode=mode)) as server, watching(server.pid) as watch:
        check_every_method(server, watch)


def test_what_is_no_query_is_no_span(program: Server, watch: Watch) -> None:
    assert asked(program, "/quiet")["Error"] == ""
    assert [span.kind for span in watch.take()] == ["server"]


@pytest.mark.parametrize(("on", "attempts"), [("DB", 3), ("Stmt", 3), ("Conn", 1), ("Tx", 1)])
@pytest.mark.parametrize("do", ["QueryContext", "ExecContext"])
def test_retries_are_inside(program: Server, watch: Watch, on: str, attempts: int, do: str) -> None:
    """The pool tries two connections that it has, and a new one; Conn and Tx have but theirs."""
    answer = asked(program, "/call", on=on, do=do, query="UPDATE t SET a = 1", bad=attempts - 1)
    assert (answer["Attempts"], answer["Error"]) == (attempts, "")
    span = one(watch.take("client"))
    assert span["error.type"] is None
    span = call(program, watch, on, do, "UPDATE t SET a = 1", bad=attempts)
    assert span["error.type"] == "database/sql/driver.ErrBadConn"
    assert span.error


@pytest.mark.parametrize("on", ["DB", "Conn", "Tx"])
def test_drivers_that_prepare_on_the_way(program: Server, watch: Watch, on: str) -> None:
    for do in CONTEXTS:
        assert call(program, watch, on, do, "prepare x").name == "prepare"


def test_a_driver_that_calls_database_sql_itself_makes_two_operations(program: Server, watch: Watch) -> None:
    for on, do in CALLS:
        asked(program, "/call", on=on, do=do, query="nested x")
        inner, outer = sorted(watch.take("client"), key=lambda span: span.end - span.start)
        assert (outer.name, inner.name) == ("nested", "UPDATE nothing"), (on, do)
        assert outer.start <= inner.start <= inner.end <= outer.end


# What went wrong


@pytest.mark.parametrize(
    ("on", "query", "parameters", "error"),
    [
        ("DB", "fail a", {}, "*errors.errorString"),
        ("DB", "wait a", {"canceled": 1}, "canceled"),
        ("DB", "wait a", {"timeout": 1}, "timeout"),
        ("Stmt", "wait a", {"timeout": 1}, "timeout"),
        ("ClosedDB", "SELECT a", {}, "database/sql.errDBClosed"),
        ("ClosedConn", "SELECT a", {}, "database/sql.ErrConnDone"),
        ("DoneTx", "SELECT a", {}, "database/sql.ErrTxDone"),
    ],
)
def test_errors(program: Server, watch: Watch, on: str, query: str, parameters: Mapping[str, int], error: str) -> None:
    for do in CONTEXTS:
        span = call(program, watch, on, do, query, **parameters)
        assert span["error.type"] == error
        assert span.error
        assert span["db.query.text"] == query


def test_a_statement_that_never_was(program: Server, watch: Watch) -> None:
    """It has no database, and no query: the span says which kind of operation failed, and how."""
    span = call(program, watch, "BrokenStmt", "QueryContext", "SELECT a")
    assert span.attributes == {"db.system.name": "other_sql", "error.type": "database/sql.ErrTxDone"}
    assert span.name == "other_sql"


# Texts


@pytest.mark.parametrize("length", [1023, 1024, 1025, 5000])
def test_long_queries_keep_1024_bytes_and_show_the_cut(program: Server, watch: Watch, length: int) -> None:
    query = "SELECT a FROM t WHERE " + " OR ".join(f"column_{i:04} = $1" for i in range(300))
    found = call(program, watch, "DB", "QueryContext", query[:length])
    assert found["db.query.text"] == (query[:length] if length <= 1024 else query[:1024] + "…")
    assert found["db.query.summary"] == "SELECT t"


@pytest.mark.parametrize("on", ["DB", "Stmt"])
def test_a_text_that_is_cut_inside_a_literal_shows_nothing_of_it(program: Server, watch: Watch, on: str) -> None:
    query = "SELECT a FROM t WHERE b = 'secret" + "s" * 2000 + "'"
    assert call(program, watch, on, "QueryContext", query)["db.query.text"] == "SELECT a FROM t WHERE b = ?…"


def test_an_empty_query_has_no_text(program: Server, watch: Watch) -> None:
    span = call(program, watch, "DB", "ExecContext", "-- nothing")
    assert span.attributes == {"db.system.name": "other_sql"}
    assert span.name == "other_sql"


def test_a_database_that_was_opened_by_a_connector(program: Server, watch: Watch) -> None:
    assert asked(program, "/connector", query="UPDATE t SET a = 1")["Error"] == ""
    assert one(watch.take("client")).name == "UPDATE t"


# A real database


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as source:
        yield source


@pytest.mark.parametrize("via", ["uprobe", "hook"])
def test_postgresql(go: str, database: str, via: str) -> None:
    executable = gobuild.build("sqlcalls", go)
    arguments = "-driver=postgres", f"-source={database}"
    with serving(executable, *arguments) as server, watching(server.pid, via=via) as watch:
        check_postgresql(server, watch)
        assert watch.losses() == {}


def check_postgresql(server: Server, watch: Watch) -> None:
    def said(on: str, do: str, query: str, **parameters: object) -> tuple[str, object, object]:
        span = call(server, watch, on, do, query, **parameters)
        assert span["db.system.name"] == "postgresql"
        assert span["db.response.status_code"] in (None, span["error.type"])
        assert span.error == (span["error.type"] is not None)
        return span.name, span["db.query.text"], span["error.type"]

    assert said("DB", "Exec", "DROP TABLE IF EXISTS people") == (
        "DROP TABLE people", "DROP TABLE IF EXISTS people", None,
    )  # fmt: skip
    create = "CREATE TABLE people (name text PRIMARY KEY, age int)"
    assert said("DB", "ExecContext", create) == ("CREATE TABLE people", create, None)
    insert = "INSERT INTO people (name, age) VALUES ($1, 42)"
    masked = "INSERT INTO people (name, age) VALUES ($1, ?)"
    assert said("Stmt", "ExecContext", insert, arg="Ada") == ("INSERT people", masked, None)
    assert said("DB", "ExecContext", insert, arg="Ada") == ("INSERT people", masked, "23505")
    assert said("Tx", "QueryContext", "SELECT nothing FROM people")[2] == "42703"
    assert said("Conn", "QueryRowContext", "SELECT name FROM people WHERE age = 42") == (
        "SELECT people", "SELECT name FROM people WHERE age = ?", None,
    )  # fmt: skip
    assert said("DB", "Exec", "DO $$BEGIN RAISE query_canceled; END$$") == ("DO", "DO ?", "57014")
    assert said("DB", "QueryContext", "SELECT 1", canceled=1)[2] == "canceled"
