// Receiver takes what observed programs send, OTLP over HTTP or the protocol of Datadog's agent, and answers 200, at as
// little cost as there can be. It prints `listening HOST:PORT`; GET /count answers with the spans that came by OTLP.
package main

import (
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
)

func main() {
	var spans atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		body, err := contents(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		spans.Add(count(body))
	})
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, spans.Load()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "{}")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, mux))
}

func contents(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	unzipped, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unzipped)
}

// count gives the number of spans: ExportTraceServiceRequest.resource_spans, 1, holds scope_spans, 2, which hold spans, 2
// (opentelemetry/proto/trace/v1/trace.proto, v1.0 to 1.9).
func count(request []byte) (spans int64) {
	messages(request, 1, func(resource []byte) {
		messages(resource, 2, func(scope []byte) {
			messages(scope, 2, func([]byte) { spans++ })
		})
	})
	return spans
}

// messages visits the fields with this number that hold bytes. What cannot be read ends it.
func messages(message []byte, number uint64, visit func([]byte)) {
	for len(message) > 0 {
		tag, size := binary.Uvarint(message)
		if size <= 0 || tag&7 != 2 {
			return // these messages have no other fields than strings and messages
		}
		length, more := binary.Uvarint(message[size:])
		if more <= 0 || length > uint64(len(message)-size-more) {
			return
		}
		if message = message[size+more:]; tag>>3 == number {
			visit(message[:length])
		}
		message = message[length:]
	}
}
