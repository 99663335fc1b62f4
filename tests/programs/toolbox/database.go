package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
)

func init() { sql.Register("shelf", shelf{}) }

// shelf is a database that knows no table but tea.
type shelf struct{}

func (shelf) Open(string) (driver.Conn, error)         { return shelf{}, nil }
func (shelf) Close() error                             { return nil }
func (shelf) Begin() (driver.Tx, error)                { return shelf{}, nil }
func (shelf) Commit() error                            { return nil }
func (shelf) Rollback() error                          { return nil }
func (shelf) Prepare(text string) (driver.Stmt, error) { return statement{text}, nil }
func (shelf) QueryContext(_ context.Context, text string, _ []driver.NamedValue) (driver.Rows, error) {
	return statement{text}.Query(nil)
}
func (shelf) ExecContext(_ context.Context, text string, _ []driver.NamedValue) (driver.Result, error) {
	return statement{text}.Exec(nil)
}

type statement struct{ text string }

func (statement) Close() error  { return nil }
func (statement) NumInput() int { return -1 }
func (s statement) Query([]driver.Value) (driver.Rows, error) {
	return noRows{}, s.check()
}
func (s statement) Exec([]driver.Value) (driver.Result, error) {
	return driver.ResultNoRows, s.check()
}

//go:noinline
func (s statement) check() error {
	if !strings.Contains(s.text, " tea") {
		return errors.New("no such table")
	}
	return nil
}

type noRows struct{}

func (noRows) Columns() []string         { return nil }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }

func query(string) error {
	db, err := sql.Open("shelf", "")
	if err != nil {
		return err
	}
	defer db.Close()
	for i := 0; i < 3; i++ {
		rows, err := db.Query("SELECT price FROM tea WHERE id = ?", i)
		if err != nil {
			return err
		}
		rows.Close()
	}
	db.Exec("UPDATE salt SET price = 1") // there is no such table
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	tx.Exec("DELETE FROM tea WHERE price > ?", 100)
	tx.Commit()
	prepared, err := db.Prepare("INSERT INTO tea VALUES (?)")
	if err != nil {
		return err
	}
	defer prepared.Close()
	_, err = prepared.Exec(7)
	return err
}
