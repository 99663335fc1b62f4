package main

import (
	"context"
	"database/sql"
	"fmt"
)

// queryer is what DB, Tx and Conn have in common.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// background is what DB and Tx have besides.
type background interface {
	Query(query string, args ...any) (*sql.Rows, error)
	QueryRow(query string, args ...any) *sql.Row
	Exec(query string, args ...any) (sql.Result, error)
}

// receiver is what a method is called of.
type receiver struct {
	queryer   queryer
	statement *sql.Stmt
	closers   []func() error
}

func (r *receiver) close() {
	for i := len(r.closers) - 1; i >= 0; i-- {
		r.closers[i]()
	}
}

func (s *server) receiver(ctx context.Context, on, query string) (*receiver, error) {
	r := &receiver{}
	var err error
	switch on {
	case "DB":
		r.queryer = s.db
	case "ClosedDB":
		var db *sql.DB
		if db, err = sql.Open(s.name, s.source); err == nil {
			r.queryer, err = db, db.Close()
		}
	case "Conn", "ClosedConn":
		err = r.conn(ctx, s.db, on == "ClosedConn")
	case "Tx", "DoneTx":
		err = r.tx(ctx, s.db, on == "DoneTx")
	case "Stmt":
		r.statement, err = s.db.PrepareContext(ctx, query)
	case "StmtOfTx":
		if err = r.tx(ctx, s.db, false); err == nil {
			r.statement, err = r.queryer.(*sql.Tx).PrepareContext(ctx, query)
		}
	case "BrokenStmt":
		if err = r.tx(ctx, s.db, true); err == nil {
			r.statement = r.queryer.(*sql.Tx).StmtContext(ctx, nil)
		}
	default:
		err = fmt.Errorf("unknown receiver %q", on)
	}
	if r.statement != nil {
		r.queryer = nil
		r.closers = append(r.closers, r.statement.Close)
	}
	if err != nil {
		r.close()
	}
	return r, err
}

func (r *receiver) conn(ctx context.Context, db *sql.DB, closed bool) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	r.queryer = conn
	if closed {
		return conn.Close()
	}
	r.closers = append(r.closers, conn.Close)
	return nil
}

func (r *receiver) tx(ctx context.Context, db *sql.DB, done bool) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	r.queryer = tx
	if done {
		return tx.Rollback()
	}
	r.closers = append(r.closers, tx.Rollback)
	return nil
}

// do calls one method, and gives the error that it tells, be it by Rows or Row.
func (r *receiver) do(ctx context.Context, method, query string, args []any) error {
	if r.statement != nil {
		return doStatement(ctx, r.statement, method, args)
	}
	plain, _ := r.queryer.(background)
	switch method {
	case "Query":
		return drained(plain.Query(query, args...))
	case "QueryContext":
		return drained(r.queryer.QueryContext(ctx, query, args...))
	case "QueryRow":
		return scanned(plain.QueryRow(query, args...))
	case "QueryRowContext":
		return scanned(r.queryer.QueryRowContext(ctx, query, args...))
	case "Exec":
		_, err := plain.Exec(query, args...)
		return err
	case "ExecContext":
		_, err := r.queryer.ExecContext(ctx, query, args...)
		return err
	}
	return fmt.Errorf("unknown method %q", method)
}

func doStatement(ctx context.Context, statement *sql.Stmt, method string, args []any) error {
	switch method {
	case "Query":
		return drained(statement.Query(args...))
	case "QueryContext":
		return drained(statement.QueryContext(ctx, args...))
	case "QueryRow":
		return scanned(statement.QueryRow(args...))
	case "QueryRowContext":
		return scanned(statement.QueryRowContext(ctx, args...))
	case "Exec":
		_, err := statement.Exec(args...)
		return err
	case "ExecContext":
		_, err := statement.ExecContext(ctx, args...)
		return err
	}
	return fmt.Errorf("unknown method %q", method)
}

func drained(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

func scanned(row *sql.Row) error {
	var value any
	if err := row.Scan(&value); err != sql.ErrNoRows {
		return err
	}
	return nil
}
