"""An operation that a panic ends has failed: what its function had for results so far is none."""

from __future__ import annotations

from pathlib import Path

from otlp_server import collector
from weavecases import go, module, run, spans

DRIVER = """package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
)

var falls = true

type conn struct{}

func (conn) Open(string) (driver.Conn, error)    { return conn{}, nil }
func (conn) Prepare(string) (driver.Stmt, error) { return conn{}, nil }
func (conn) Begin() (driver.Tx, error)           { return nil, nil }
func (conn) Close() error                        { return nil }
func (conn) NumInput() int                       { return -1 }
func (conn) Exec([]driver.Value) (driver.Result, error) {
	if falls {
		panic("fell")
	}
	return driver.RowsAffected(1), nil
}
func (conn) Query([]driver.Value) (driver.Rows, error) { return nil, driver.ErrSkip }

func exec(db *sql.DB, query string) {
	defer func() { fmt.Println(query, recover()) }()
	db.ExecContext(context.Background(), query)
}

func main() {
	sql.Register("own", conn{})
	db, _ := sql.Open("own", "")
	exec(db, "UPDATE a SET b = 1")
	falls = false
	func() {
		defer func() { recover() }()
		defer exec(db, "INSERT INTO c VALUES (1)") // while a panic goes on around it
		panic("other")
	}()
	exec(db, "UPDATE a SET b = 1")
}
"""


def test_a_query_whose_driver_panics_has_failed(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": DRIVER})
    done = go(app, "build", "-o", "program", ".")
    assert done.code == 0, done.err
    with collector() as received:
        assert run(app / "program", to=received).out == (
            "UPDATE a SET b = 1 fell\nINSERT INTO c VALUES (1) <nil>\nUPDATE a SET b = 1 <nil>\n"
        )
        found = [
            (one.name, one.status.code, {a.key: a.value.string_value for a in one.attributes}.get("error.type"))
            for one in spans(received)
        ]
    assert found == [("UPDATE a", 2, "panic"), ("INSERT c", 0, None), ("UPDATE a", 0, None)]
