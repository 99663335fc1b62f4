// Woven is what `python -m bench weave` builds plain, woven by gotap and woven by Orchestrion: a net/http server on a
// database/sql driver of its own, of the standard library alone.
//
//	woven             serves GET /hello, which answers "hello", and GET /query, which asks the database; it prints
//	                  `listening HOST:PORT` when it accepts
//	woven NAME CALLS  makes so many calls and prints what one costs: `NANOSECONDS ALLOCATIONS`
package main

import (
	"database/sql"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	database, err := sql.Open("nothing", "")
	if err != nil {
		log.Fatal(err)
	}
	if len(os.Args) == 3 {
		count, err := strconv.Atoi(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(measure(callOf(os.Args[1], database), count))
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, handler(database)))
}

func handler(database *sql.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	mux.HandleFunc("GET /query", func(w http.ResponseWriter, r *http.Request) {
		if _, err := database.ExecContext(r.Context(), statement, 1); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		io.WriteString(w, "done\n")
	})
	return mux
}
