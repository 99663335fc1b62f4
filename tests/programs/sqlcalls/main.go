// Sqlcalls serves HTTP, and calls database/sql as each request asks: with a driver of its own, which does what the query
// says, or with PostgreSQL.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	_ "github.com/lib/pq"
)

// answer is what the caller saw.
type answer struct {
	Attempts int64  // of the program's own driver, since the last answer
	Error    string // "": none
	Type     string
}

func main() {
	name := flag.String("driver", "calls", "calls or postgres")
	source := flag.String("source", "", "data source name")
	flag.Parse()
	db, err := sql.Open(*name, *source)
	if err != nil {
		log.Fatal(err)
	}
	inner, err := sql.Open("calls", "")
	if err != nil {
		log.Fatal(err)
	}
	below = inner
	s := &server{name: *name, source: *source, db: db}
	mux := http.NewServeMux()
	mux.HandleFunc("/call", s.call)
	mux.HandleFunc("/quiet", s.quiet)
	mux.HandleFunc("/connector", s.connector)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stdout, "listening http=%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, mux))
}

type server struct {
	name, source string
	db           *sql.DB
}

// call makes the calls of a request: `on` and `do` name the method, `query` and `arg` are its arguments, `n` says how
// often. `bad` is how many connections are bad from now on. `canceled` and `timeout` are about the context.
func (s *server) call(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	ctx := r.Context()
	if values.Get("canceled") != "" {
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		ctx = canceled
	}
	if values.Get("timeout") != "" {
		limited, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		ctx = limited
	}
	var arguments []any
	for _, one := range values["arg"] {
		arguments = append(arguments, one)
	}
	n, err := strconv.Atoi(values.Get("n"))
	if err != nil {
		n = 1
	}
	on, err := s.receiver(r.Context(), values.Get("on"), values.Get("query"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer on.close()
	if number, err := strconv.ParseInt(values.Get("bad"), 10, 64); err == nil {
		bad.Store(number)
	}
	attempts.Store(0)
	for i := 0; i < n && err == nil; i++ {
		err = on.do(ctx, values.Get("do"), values.Get("query"), arguments)
	}
	reply(w, err)
}

func reply(w http.ResponseWriter, err error) {
	out := answer{Attempts: attempts.Load()}
	if err != nil {
		out.Error, out.Type = err.Error(), fmt.Sprintf("%T", err)
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		log.Print(err)
	}
}

// quiet does what is no span.
func (s *server) quiet(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	err := s.db.PingContext(ctx)
	if err == nil {
		err = s.db.Ping()
	}
	for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
		if err != nil {
			break
		}
		var tx *sql.Tx
		if tx, err = s.db.BeginTx(ctx, nil); err != nil {
			break
		}
		var statement *sql.Stmt
		if statement, err = tx.Prepare("SELECT 1"); err == nil {
			err = statement.Close()
		}
		if ended := end(tx); err == nil {
			err = ended
		}
	}
	reply(w, err)
}

// connector opens a database by a connector in place of a name.
func (s *server) connector(w http.ResponseWriter, r *http.Request) {
	db := sql.OpenDB(connector{})
	defer db.Close()
	_, err := db.ExecContext(r.Context(), r.URL.Query().Get("query"))
	reply(w, err)
}
