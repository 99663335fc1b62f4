package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync/atomic"
)

// below is a database that the driver itself calls where the query begins with `nested`.
var below *sql.DB

// bad is how many of the next attempts find a bad connection, attempts how many there were.
var bad, attempts counter

// counter is an atomic.Int64, which Go 1.18 has not.
type counter struct{ value int64 }

func (c *counter) Load() int64           { return atomic.LoadInt64(&c.value) }
func (c *counter) Store(value int64)     { atomic.StoreInt64(&c.value, value) }
func (c *counter) Add(delta int64) int64 { return atomic.AddInt64(&c.value, delta) }

func init() { sql.Register("calls", &callsDriver{}) }

type callsDriver struct{}

func (*callsDriver) Open(string) (driver.Conn, error) { return &conn{}, nil }

type connector struct{}

func (connector) Connect(context.Context) (driver.Conn, error) { return &conn{}, nil }
func (connector) Driver() driver.Driver                        { return &callsDriver{} }

type conn struct{}

func (c *conn) Prepare(query string) (driver.Stmt, error) { return &stmt{query}, nil }
func (c *conn) Close() error                              { return nil }
func (c *conn) Begin() (driver.Tx, error)                 { return tx{}, nil }
func (c *conn) Ping(context.Context) error                { return nil }

// QueryContext leaves queries that begin with `prepare` to Prepare, as drivers may.
func (c *conn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if strings.HasPrefix(query, "prepare") {
		return nil, driver.ErrSkip
	}
	return rows{}, act(ctx, query)
}

func (c *conn) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	if strings.HasPrefix(query, "prepare") {
		return nil, driver.ErrSkip
	}
	return driver.RowsAffected(1), act(ctx, query)
}

// act does what a query says.
func act(ctx context.Context, query string) error {
	attempts.Add(1)
	if bad.Load() > 0 {
		bad.Add(-1)
		return driver.ErrBadConn
	}
	word := query
	if blank := strings.IndexByte(query, ' '); blank >= 0 {
		word = query[:blank]
	}
	switch word {
	case "fail":
		return errors.New("as asked")
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "panic":
		panic("as asked")
	case "nested":
		_, err := below.ExecContext(ctx, "UPDATE nothing")
		return err
	}
	return nil
}

type stmt struct{ query string }

func (s *stmt) Close() error                               { return nil }
func (s *stmt) NumInput() int                              { return -1 }
func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s *stmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s *stmt) QueryContext(ctx context.Context, _ []driver.NamedValue) (driver.Rows, error) {
	return rows{}, act(ctx, s.query)
}

func (s *stmt) ExecContext(ctx context.Context, _ []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), act(ctx, s.query)
}

type tx struct{}

func (tx) Commit() error   { return nil }
func (tx) Rollback() error { return nil }

type rows struct{}

func (rows) Columns() []string         { return []string{"value"} }
func (rows) Close() error              { return nil }
func (rows) Next([]driver.Value) error { return io.EOF }
