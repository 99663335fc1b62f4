package gotaprt

import (
	"context"
	"testing"
)

// captured is what generated code makes of an operation: the operation, and columns.
type captured struct {
	Operation
	method, path, host, agent Text
	status                    Int
}

var (
	benched = &Class{
		Library: "net/http", Name: "http.server", Kind: Server, Scope: true,
		SpanName: []Part{{Key: 0, Instead: map[string]string{"_OTHER": "HTTP"}}, {Text: " "}, {Key: 1}},
		Attributes: []string{
			"http.requestHeaders.method", "http.route", "url.path", "url.scheme", "server.address", "server.port",
			"user_agent.original", "http.response.status_code", "error.type",
		},
	}
	requestHeaders = map[string][]string{"User-Agent": {"curl/8.5.0"}, "Accept": {"*/*"}}
)

//go:noinline
func serveRequest(ctx context.Context, headers map[string][]string) {
	op := &captured{}
	if _, ok := benched.Begin(&op.Operation, ctx, headers, nil); !ok {
		return
	}
	op.method, op.path, op.status = TextOf("GET", 32), TextOf("/users/7", 512), IntOf(200)
	op.host, op.agent = TextOf("example.com:8080", 128), TextOf("curl/8.5.0", 256)
	if !op.Recording() {
		op.Finish(nil)
		return
	}
	op.Finish([]Value{
		HTTPMethod(op.method, nil), RouteOfPattern(TextOf("GET /users/{id}", 256)), URLPath(op.path),
		SchemeFromTLS(BoolOf(false)), HostName(op.host), HostPort(op.host, Text{}), FromText(op.agent),
		HTTPStatus(op.status), HTTPServerError(op.status, Text{}, Text{}),
	})
}

// withFastIDs is withLocal with numbers of goroutines that cost what they cost in woven programs.
func withFastIDs(use func()) {
	withLocal(func() {
		Local.ID = func() uint64 { return 7 }
		use()
	})
}

func BenchmarkOperationUnsampled(b *testing.B) {
	withFastIDs(func() {
		benchmark(b, samplers["parentbased_always_off"], func() { serveRequest(context.Background(), requestHeaders) })
	})
}

func BenchmarkOperationUnsampledByRatio(b *testing.B) {
	withFastIDs(func() { benchmark(b, sampler{1, true}, func() { serveRequest(context.Background(), requestHeaders) }) })
}

func BenchmarkOperationUnsampledParent(b *testing.B) {
	withFastIDs(func() {
		headers := map[string][]string{"Traceparent": {remoteParent + "00"}}
		benchmark(b, samplers["parentbased_always_on"], func() { serveRequest(context.Background(), headers) })
	})
}

func BenchmarkOperationRecorded(b *testing.B) {
	withFastIDs(func() {
		benchmark(b, samplers["always_on"], func() { serveRequest(context.Background(), requestHeaders) })
	})
}

func BenchmarkOperationNested(b *testing.B) {
	withFastIDs(func() {
		op := &captured{}
		benched.Begin(&op.Operation, nil, requestHeaders, nil)
		benchmark(b, samplers["always_on"], func() { serveRequest(context.Background(), requestHeaders) })
		op.Discard()
	})
}

func BenchmarkOperationHeaders(b *testing.B) {
	op := &captured{}
	benched.Begin(&op.Operation, nil, requestHeaders, nil)
	benchmark(b, samplers["always_on"], func() { op.Headers() })
	op.Discard()
}

// alone begins and finishes an operation of three attributes, with what it captures in no more memory than that.
//
//go:noinline
func alone(ctx context.Context, values []Value) {
	op := &captured{}
	serving.Begin(&op.Operation, ctx, nil, nil)
	op.Finish(values)
}

func BenchmarkOperationAloneUnsampled(b *testing.B) {
	withFastIDs(func() { benchmark(b, sampler{1, true}, func() { alone(context.Background(), nil) }) })
}

func BenchmarkOperationAloneRecorded(b *testing.B) {
	values := []Value{textOf("GET"), textOf("/users/{id}"), intOf(200)}
	withFastIDs(func() { benchmark(b, samplers["always_on"], func() { alone(context.Background(), values) }) })
}

func BenchmarkCapturedAllocation(b *testing.B) {
	benchmark(b, samplers["always_on"], func() { kept = &captured{} })
}

var kept *captured
