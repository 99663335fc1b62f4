"""What a woven client sends besides: traceparent and tracestate, and nothing that its own program could notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from otlp_server import collector
from weavecases import go, module, run, spans

PROGRAM = """package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

var seen []http.Header

func main() {
	record := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Clone())
		io.Copy(w, r.Body)
	})
	one := httptest.NewServer(record)
	two := httptest.NewUnstartedServer(record)
	two.EnableHTTP2 = true
	two.StartTLS()
	for _, server := range []*httptest.Server{one, two} {
		client := server.Client()
		for i := 0; i < 3; i++ {
			body := strings.NewReader("body")
			request, _ := http.NewRequestWithContext(context.Background(), "POST", server.URL+"/a", body)
			request.Header.Set("Traceparent", "00-11111111111111111111111111111111-2222222222222222-00")
			request.Header.Set("Tracestate", "mine=1")
			ask(client.Transport, request, "body")
			request, _ = http.NewRequest("GET", server.URL+"/b", nil)
			ask(client.Transport, request, "")
		}
		proxied(client, server.URL)
		own(client.Transport.(*http.Transport), server.URL)
	}
	for _, header := range seen {
		fmt.Println("sent", strings.Join(header["Traceparent"], "+"), strings.Join(header["Tracestate"], "+"))
	}
	one.Close()
	two.Close()
}

func ask(transport http.RoundTripper, request *http.Request, expected string) {
	before := fmt.Sprint(request.Header)
	response, err := transport.RoundTrip(request)
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	body, _ := io.ReadAll(response.Body)
	if response.Request != request || string(body) != expected || fmt.Sprint(request.Header) != before {
		fmt.Println("differs", response.Request == request, string(body), request.Header)
	}
}

// proxied asks through a program's own transport around another.
func proxied(client *http.Client, to string) {
	parsed, _ := url.Parse(to)
	response, err := client.Do(&http.Request{Method: "GET", URL: parsed})
	fmt.Println("proxied", response.StatusCode, err)
}
"""
CONNECTIONS = """//go:build go1.26

package main

import (
	"context"
	"net/http"
	"net/url"
)

func own(transport *http.Transport, to string) {
	parsed, _ := url.Parse(to)
	connection, err := transport.NewClientConn(context.Background(), parsed.Scheme, parsed.Host)
	if err != nil {
		panic(err)
	}
	request, _ := http.NewRequest("GET", to+"/own", nil)
	ask(connection, request, "")
	connection.Close()
}
"""
NO_CONNECTIONS = '//go:build !go1.26\n\npackage main\n\nimport "net/http"\n\nfunc own(*http.Transport, string) {}\n'


@pytest.mark.parametrize(
    "version", ["1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in ("1.21.13", "1.24.13", "1.27.4"))]
)
def test_headers_are_sent_and_nothing_else_changes(version: str, tmp_path: Path) -> None:
    files = {"main.go": PROGRAM, "conn.go": CONNECTIONS, "noconn.go": NO_CONNECTIONS}
    app = module(tmp_path / "app", files)
    done = go(app, "build", "-o", "program", ".", GOTOOLCHAIN=f"go{version}")
    assert done.code == 0, done.err
    with collector() as received:
        ran = run(app / "program", to=received)
        found = spans(received)
    assert go(app, "build", "-o", "plain", ".", woven=False, GOTOOLCHAIN=f"go{version}").code == 0
    plain = run(app / "plain").out.splitlines()
    assert ran.code == 0, ran.err
    assert "failed" not in ran.out
    own = [line for line in ran.out.splitlines() if not line.startswith("sent")]
    assert own == [line for line in plain if not line.startswith("sent")]
    clients = {one.span_id.hex(): one for one in found if one.kind == one.SPAN_KIND_CLIENT}
    servers = [one for one in found if one.kind == one.SPAN_KIND_SERVER]
    sent = [line.split()[1:] for line in ran.out.splitlines() if line.startswith("sent")]
    assert len(sent) == len(servers) == len(clients) == (16 if version >= "1.26" else 14)
    for parent, *state in sent:
        _, trace, span, flags = parent.split("-")
        assert (clients[span].trace_id.hex(), flags, state) == (trace, "01", [])
    assert {one.parent_span_id.hex() for one in servers} == set(clients)


def test_the_program_may_switch_it_off(tmp_path: Path) -> None:
    files = {"main.go": PROGRAM, "conn.go": CONNECTIONS, "noconn.go": NO_CONNECTIONS}
    app = module(tmp_path / "app", files)
    assert go(app, "build", "-o", "program", ".").code == 0
    own = ["sent 00-11111111111111111111111111111111-2222222222222222-00 mine=1", "sent "]
    for settings in ({"OTEL_SDK_DISABLED": "true"}, {"OTEL_PROPAGATORS": "none"}):
        ran = run(app / "program", **settings)
        lines = [line.rstrip() for line in ran.out.splitlines() if line.startswith("sent")]
        assert lines[:2] == [line.rstrip() for line in own], (settings, ran.out)
        assert len(lines) == 16
