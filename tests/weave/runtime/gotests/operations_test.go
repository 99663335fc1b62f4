package gotaprt

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

var (
	serving = &Class{
		Library: "net/http", Name: "http.server", Kind: Server, Scope: true,
		SpanName:   []Part{{Key: 0, Instead: map[string]string{"_OTHER": "HTTP"}}, {Text: " "}, {Key: 1}},
		Attributes: []string{"http.request.method", "http.route", "http.response.status_code", "error.type"},
	}
	asking = &Class{
		Library: "net/http", Name: "http.client", Kind: Client, SpanName: []Part{{Key: 0}}, Attributes: []string{"http.request.method"},
	}
	querying = &Class{
		Library: "database/sql", Name: "sql.query", Kind: Client, SpanName: []Part{{Text: "query"}}, Attributes: []string{"db.query.text"},
	}
)

func named(name string) []Value { return []Value{textOf(name)} }

// begun begins an operation that has to begin.
func begun(t *testing.T, c *Class, ctx context.Context, headers map[string][]string) (context.Context, *Operation) {
	t.Helper()
	op := &Operation{}
	below, ok := c.Begin(op, ctx, headers, nil)
	if !ok {
		t.Error(c.Name, "does not begin")
	}
	return below, op
}

func TestFinishedOperations(t *testing.T) {
	found := with(samplers["always_on"], func() {
		for _, values := range [][]Value{
			{textOf("GET"), textOf("/users/{id}"), intOf(200), {}},
			{textOf("_OTHER"), {}, intOf(500), textOf("500")},
			{{}, textOf("/x")},
			nil,
		} {
			_, op := begun(t, serving, nil, map[string][]string{})
			if !op.Recording() {
				t.Error("not recorded")
			}
			op.Finish(values)
			op.Finish(named("again"))
		}
	})
	names, failed, counts := []string{}, []bool{}, []int{}
	for _, r := range found {
		names, failed, counts = append(names, r.name), append(failed, r.failed), append(counts, len(r.attributes))
		if r.scope != "net/http" || r.kind != Server || r.end < r.start || r.start == 0 {
			t.Error("record:", r)
		}
	}
	if strings.Join(names, ",") != "GET /users/{id},HTTP,/x," {
		t.Errorf("names: %q", names)
	}
	if len(found) != 4 || failed[0] || !failed[1] || counts[0] != 3 || counts[1] != 3 || counts[2] != 1 || counts[3] != 0 {
		t.Error("failed:", failed, "attributes:", counts)
	}
}

func TestOperationsAreParentsIfTheyAreScopes(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["parentbased_always_on"], func() {
			ctx, server := begun(t, serving, context.Background(), map[string][]string{"Traceparent": {remoteParent + "01"}, "Tracestate": {"a=1", "b=2"}})
			if FromContext(ctx) == nil || Current() != FromContext(ctx) {
				t.Error("a scope is not current")
			}
			below, client := begun(t, asking, ctx, nil)
			if below != ctx || Current() != FromContext(ctx) {
				t.Error("what is no scope is current")
			}
			header, state := client.Headers()
			if header[:36] != remoteParent[:36] || state != "a=1,b=2" {
				t.Error("headers:", header, state)
			}
			_, span := Begin(nil, "span")
			span.End()
			done := make(chan bool)
			go func() {
				_, child := Begin(nil, "child")
				child.End()
				done <- true
			}()
			<-done
			client.Finish(named("client"))
			_, after := Begin(nil, "after")
			after.End()
			server.Finish([]Value{textOf("server")})
			if Current() != nil {
				t.Error("a span is left on the goroutine")
			}
		}))
		server := found["server"]
		if !server.remote || hexadecimal(server.parentID[:]) != remoteParent[36:52] {
			t.Error("server:", server)
		}
		for _, name := range []string{"client", "span", "child", "after"} {
			if found[name].parentID != server.spanID || found[name].traceID != server.traceID {
				t.Error(name, "is no child of the server's span")
			}
		}
	})
}

func TestWhatIsRemoteHasNoParentOnItsGoroutine(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["parentbased_always_on"], func() {
			ctx, span := Begin(context.Background(), "span")
			for name, headers := range map[string]map[string][]string{
				"none": {}, "two": {"Traceparent": {remoteParent + "01", remoteParent + "01"}}, "bad": {"Traceparent": {"00-"}},
			} {
				op := &Operation{}
				if _, ok := serving.BeginRemote(op, nil, headers, nil); !ok {
					t.Fatal("does not begin")
				}
				op.Finish(named(name))
			}
			op := &Operation{}
			serving.BeginRemote(op, ctx, nil, nil)
			op.Finish(named("context"))
			span.End()
		}))
		for _, name := range []string{"none", "two", "bad"} {
			if one := found[name]; one.parentID != ([8]byte{}) || one.link != nil || one.remote {
				t.Error(name, "is no root")
			}
		}
		if found["context"].parentID != found["span"].spanID {
			t.Error("the context's span is not the parent")
		}
	})
}

func TestTheSameOperationBeginsOnce(t *testing.T) {
	withLocal(func() {
		found := with(samplers["always_on"], func() {
			_, server := begun(t, serving, nil, map[string][]string{})
			if _, ok := serving.Begin(&Operation{}, nil, map[string][]string{}, nil); ok {
				t.Error("an open operation begins again")
			}
			elsewhere := *serving // in another package
			if _, ok := elsewhere.Begin(&Operation{}, nil, map[string][]string{}, nil); ok {
				t.Error("an open operation of another package begins again")
			}
			if serving.Open() != server || elsewhere.Open() != nil || asking.Open() != nil {
				t.Error("open operations")
			}
			done := make(chan bool)
			go func() {
				if serving.Open() != nil {
					t.Error("an inherited operation is found")
				}
				_, inner := begun(t, serving, nil, map[string][]string{})
				if serving.Open() != inner {
					t.Error("the goroutine's own is not found")
				}
				inner.Finish(named("inner"))
				if serving.Open() != nil {
					t.Error("a finished operation is found")
				}
				done <- true
			}()
			<-done
			server.Finish(named("server"))
			_, again := begun(t, serving, nil, map[string][]string{})
			again.Discard()
			again.Finish(named("discarded"))
		})
		if len(found) != 2 {
			t.Error("spans:", len(found))
		}
	})
}

func TestSubjects(t *testing.T) {
	withLocal(func() {
		with(samplers["always_on"], func() {
			var one, other int
			op, nested := &Operation{}, &Operation{}
			if _, ok := asking.Begin(op, nil, nil, unsafe.Pointer(&one)); !ok {
				t.Error("does not begin")
			}
			if _, ok := asking.Begin(nested, nil, nil, unsafe.Pointer(&one)); ok {
				t.Error("the same subject begins again")
			}
			if _, ok := asking.Begin(nested, nil, nil, unsafe.Pointer(&other)); !ok {
				t.Error("another subject does not begin")
			}
			if _, ok := asking.Begin(&Operation{}, nil, nil, unsafe.Pointer(&one)); ok {
				t.Error("the outer subject begins again")
			}
			if asking.Open() != nested {
				t.Error("the innermost is not found")
			}
			nested.Finish(nil)
			if asking.Open() != op {
				t.Error("the outer one is not found")
			}
			op.Finish(nil)
		})
	})
}

func TestOperationsOfDifferentClassesNest(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["always_on"], func() {
			_, server := begun(t, serving, nil, map[string][]string{})
			_, query := begun(t, querying, nil, nil)
			_, client := begun(t, asking, nil, nil)
			_, span := Begin(nil, "span")
			if serving.Open() != server || querying.Open() != query || asking.Open() != client {
				t.Error("not all are open")
			}
			query.Finish(nil) // before what is inside of it
			if serving.Open() != server || querying.Open() != nil || asking.Open() != client {
				t.Error("the others are not open")
			}
			span.End()
			client.Finish(named("client"))
			if serving.Open() != server || asking.Open() != nil {
				t.Error("the outermost is not open")
			}
			server.Finish(named("server"))
			if current() != nil {
				t.Error("a span is left on the goroutine")
			}
		}))
		for _, name := range []string{"query", "client", "span"} {
			if found[name].parentID != found["server"].spanID {
				t.Error(name, "is no child of the server's")
			}
		}
	})
}

func TestOperationsThatEndElsewhere(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["always_on"], func() {
			_, server := begun(t, serving, nil, map[string][]string{})
			_, query := begun(t, querying, nil, nil)
			_, client := begun(t, asking, nil, nil)
			done := make(chan bool)
			go func() { // inherits the client's
				client.Finish(named("client"))
				_, span := Begin(nil, "elsewhere")
				span.End()
				done <- true
			}()
			<-done
			if asking.Open() != nil || querying.Open() != query || serving.Open() != server {
				t.Error("what is around an operation that ended elsewhere is not open")
			}
			_, span := Begin(nil, "span")
			span.End()
			query.Finish(nil)
			server.Finish(named("server"))
		}))
		for _, name := range []string{"client", "query", "span", "elsewhere"} {
			if found[name].parentID != found["server"].spanID {
				t.Error(name, "is no child of the server's")
			}
		}
	})
}

func TestGoroutinesOutliveOperations(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["always_on"], func() {
			_, server := begun(t, serving, nil, map[string][]string{})
			_, client := begun(t, asking, nil, nil)
			leafEnded, scopeEnded, done := make(chan bool), make(chan bool), make(chan bool)
			go func() { // as connections of a client are served
				<-leafEnded
				_, span := Begin(nil, "between")
				span.End()
				leafEnded <- true
				<-scopeEnded
				_, span = Begin(nil, "late")
				span.End()
				done <- true
			}()
			client.Finish(named("client"))
			leafEnded <- true
			<-leafEnded
			server.Finish(named("server"))
			scopeEnded <- true
			<-done
		}))
		if found["between"].parentID != found["server"].spanID {
			t.Error("an ended operation that is no scope hides what is around it")
		}
		if late := found["late"]; late.parentID != ([8]byte{}) || late.link == nil || late.link.spanID != found["server"].spanID {
			t.Error("late is no root with a link")
		}
	})
}

func TestOperationsThatAreNotSampled(t *testing.T) {
	withLocal(func() {
		found := with(samplers["parentbased_always_off"], func() {
			ctx, server := begun(t, serving, context.Background(), map[string][]string{})
			_, client := begun(t, asking, ctx, nil)
			if server.Recording() || client.Recording() || server.Measured() {
				t.Error("values are wanted")
			}
			header, _ := client.Headers()
			if !strings.HasSuffix(header, "-00") || header[3:35] != hexadecimal(server.span.traceID[:]) {
				t.Error("passed on:", header)
			}
			_, span := Begin(ctx, "span")
			span.End()
			if asking.Open() != client || serving.Open() != server {
				t.Error("not open")
			}
			client.Finish(nil)
			server.Finish(nil)
			if current() != nil {
				t.Error("a span is left on the goroutine")
			}
		})
		if len(found) != 0 {
			t.Error("recorded:", len(found))
		}
		// A leaf that is not sampled says nothing of what is begun under it.
		low := sampler{1, true}
		found = with(low, func() {
			_, client := begun(t, asking, nil, nil)
			sampling, roots = samplers["always_on"], true
			_, span := Begin(nil, "span")
			span.End()
			client.Finish(nil)
		})
		if len(found) != 1 || found[0].parentID != ([8]byte{}) {
			t.Error("recorded:", len(found))
		}
	})
}

func TestWithoutGoroutinesOfTheirOwn(t *testing.T) {
	found := byName(with(samplers["always_on"], func() {
		ctx, server := begun(t, serving, context.Background(), map[string][]string{})
		if serving.Open() != nil {
			t.Error("found without a goroutine's value")
		}
		_, client := begun(t, asking, ctx, nil)
		client.Finish(named("client"))
		server.Finish(named("server"))
	}))
	if found["client"].parentID != found["server"].spanID {
		t.Error("the context does not carry the operation")
	}
	inert = true
	defer func() { inert = false }()
	if _, ok := serving.Begin(&Operation{}, nil, nil, nil); ok {
		t.Error("disabled, and begins")
	}
	if _, ok := serving.BeginRemote(&Operation{}, nil, nil, nil); ok {
		t.Error("disabled, and begins")
	}
	var none *Operation
	none.Finish(nil)
	none.Discard()
	(&Operation{}).Finish(nil)
	if parent, _ := none.Headers(); parent != "" || none.Recording() || none.Measured() {
		t.Error("no operation is something")
	}
}

func TestOperationsOfManyGoroutinesLeaveNothing(t *testing.T) {
	count := 100000
	if testing.Short() {
		count = 5000
	}
	withLocal(func() {
		with(sampler{1 << 50, true}, func() {
			_, server := begun(t, serving, nil, map[string][]string{})
			before := heap()
			var all sync.WaitGroup
			for i := 0; i < count; i++ {
				all.Add(1)
				go func() {
					_, op := begun(t, asking, nil, nil)
					op.Finish(nil)
					all.Done()
				}()
				if i&63 == 63 {
					all.Wait()
				}
				if i&1023 == 1023 {
					queue.take(nil)
				}
			}
			all.Wait()
			queue.take(nil)
			if after := heap(); after > before+1<<20 {
				t.Error("kept:", after-before)
			}
			server.Finish(nil)
		})
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestOperationsAtOnce(t *testing.T) {
	withLocal(func() {
		with(samplers["always_on"], func() {
			queue.limit = 1 << 40
			var all sync.WaitGroup
			ctx, server := begun(t, serving, context.Background(), map[string][]string{})
			for i := 0; i < 8; i++ {
				all.Add(1)
				go func() {
					defer all.Done()
					for j := 0; j < 50; j++ {
						_, client := begun(t, asking, ctx, nil)
						serving.Open()
						ended := make(chan bool)
						go func() {
							asking.Open()
							_, span := Begin(nil, "span")
							span.End()
							client.Finish(named("client"))
							ended <- true
						}()
						asking.Open()
						querying.Open()
						<-ended
					}
				}()
			}
			server.Finish(named("server"))
			all.Wait()
		})
	})
}

func TestAnnotationsFromOtherGoroutines(t *testing.T) {
	type routed struct {
		Operation
		route string
	}
	c := *serving
	c.At = func(op *Operation, place int, panicked any) {
		op.Finish(named((*routed)(unsafe.Pointer(op)).route))
	}
	annotate := func(route string) {
		if op := c.Annotate(); op != nil {
			(*routed)(unsafe.Pointer(op)).route = route
			op.Annotated()
		}
	}
	withLocal(func() {
		found := byName(with(samplers["always_on"], func() {
			for i := 0; i < 100; i++ { // a handler that is given up on goes on
				op := &routed{route: "none"}
				c.Begin(&op.Operation, nil, map[string][]string{}, nil)
				done := make(chan bool)
				go func() {
					annotate("late")
					done <- true
				}()
				c.End(0, nil)
				<-done
			}
			op := &routed{}
			c.Begin(&op.Operation, nil, map[string][]string{}, nil)
			_, client := begun(t, asking, nil, nil)
			done := make(chan bool)
			go func() {
				annotate("child's")
				inner := &routed{}
				c.Begin(&inner.Operation, nil, map[string][]string{}, nil)
				annotate("inner")
				c.End(0, nil)
				done <- true
			}()
			<-done
			client.Discard()
			c.End(0, nil)
			annotate("nothing is open")
			c.End(0, nil)
		}))
		if found["child's"] == nil || found["inner"] == nil {
			t.Error("annotations are lost")
		}
	})
}
