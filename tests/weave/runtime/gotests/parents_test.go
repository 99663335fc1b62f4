package gotaprt

import (
	"context"
	"sync"
	"testing"
)

const remoteParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"

type key struct{}

func TestContextsCarrySpans(t *testing.T) {
	found := byName(with(samplers["parentbased_always_on"], func() {
		outside := context.WithValue(context.Background(), key{}, "value")
		ctx, root := Begin(outside, "root", "a", "1", "odd")
		if ctx.Value(key{}) != "value" || FromContext(ctx) != root {
			t.Error("the context does not carry what it should")
		}
		cancelled, cancel := context.WithCancel(ctx)
		_, child := BeginKind(context.WithValue(cancelled, key{}, "other"), Client, "child")
		cancel()
		child.End()
		root.End()
		root.End()
		_, late := Begin(ctx, "late")
		late.End()
	}))
	if len(found) != 3 {
		t.Fatal("spans:", len(found))
	}
	root, child, late := found["root"], found["child"], found["late"]
	if root.parentID != ([8]byte{}) || len(root.attributes) != 1 || root.attributes[0].text != "1" {
		t.Error("root:", root)
	}
	if child.traceID != root.traceID || child.parentID != root.spanID || child.kind != Client {
		t.Error("child:", child)
	}
	if late.parentID != root.spanID || late.link != nil {
		t.Error("the span of a context is the parent even when it has ended")
	}
}

func TestNilSpansAndContextsDoNothing(t *testing.T) {
	var s *Span
	s.SetString("k", "v")
	s.SetName("n")
	s.Fail("x")
	s.EndWith(context.Canceled)
	s.End()
	EndCall(&s, nil)
	if trace, span := s.IDs(); trace+span != "" || s.IsRecording() || FromContext(nil) != nil {
		t.Error("a nil span is something")
	}
	found := with(samplers["always_on"], func() {
		ctx, root := Begin(nil, "root")
		if ctx != nil {
			t.Error("a context from nothing")
		}
		root.End()
	})
	if len(found) != 1 {
		t.Error("spans:", len(found))
	}
}

func TestGoroutinesInheritSpans(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["parentbased_always_on"], func() {
			_, root := Begin(nil, "root")
			begun, rootEnded, done := make(chan bool), make(chan bool), make(chan bool)
			go func() {
				_, child := Begin(nil, "child")
				_, grandchild := Begin(nil, "grandchild")
				grandchild.End()
				child.End()
				begun <- true
				<-rootEnded
				_, late := Begin(nil, "late")
				_, below := Begin(nil, "below")
				below.End()
				late.End()
				_, later := Begin(nil, "later")
				later.End()
				done <- true
			}()
			<-begun
			root.End()
			rootEnded <- true
			<-done
			if Current() != nil {
				t.Error("a span is left on the goroutine")
			}
			_, next := Begin(nil, "next")
			next.End()
		}))
		root := found["root"]
		if found["child"].parentID != root.spanID || found["grandchild"].parentID != found["child"].spanID {
			t.Error("a goroutine does not inherit the span")
		}
		for _, name := range []string{"late", "later"} {
			late := found[name]
			if late.traceID == root.traceID || late.parentID != ([8]byte{}) || late.link == nil || late.link.spanID != root.spanID {
				t.Error(name, "is no trace of its own with a link")
			}
		}
		if found["below"].parentID != found["late"].spanID || found["below"].link != nil {
			t.Error("below is no child of late")
		}
		if next := found["next"]; next.link != nil || next.parentID != ([8]byte{}) {
			t.Error("next is no root")
		}
	})
}

func TestContextsWinOverGoroutines(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["parentbased_always_on"], func() {
			ctx, one := Begin(context.Background(), "one")
			_, two := Begin(context.Background(), "two")
			_, three := Begin(ctx, "three")
			_, four := Begin(context.Background(), "four")
			four.End()
			three.End()
			two.End()
			one.End()
		}))
		if found["two"].parentID != found["one"].spanID || found["three"].parentID != found["one"].spanID {
			t.Error("parents of two and three")
		}
		if found["four"].parentID != found["three"].spanID {
			t.Error("a context without a span leaves it to the goroutine")
		}
	})
}

func TestSpansThatEndElsewhere(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["parentbased_always_on"], func() {
			_, outer := Begin(nil, "outer")
			_, inner := Begin(nil, "inner")
			ending, done := make(chan *Span), make(chan bool)
			setGoroutineLabel(nil)
			go func() { // started under no span, like a pool's
				(<-ending).End()
				done <- true
			}()
			Local.Set(inner)
			ending <- inner
			<-done
			_, next := Begin(nil, "next")
			next.End()
			outer.End()
			_, last := Begin(nil, "last")
			last.End()
		}))
		outer, next, last := found["outer"], found["next"], found["last"]
		if next.parentID != outer.spanID || next.link != nil {
			t.Error("what encloses a span that ended elsewhere is still there")
		}
		if last.parentID != ([8]byte{}) || last.link != nil {
			t.Error("last is no root")
		}
	})
}

func TestEndedSpansKeepNothingBeforeThem(t *testing.T) {
	withLocal(func() {
		found := with(samplers["parentbased_always_on"], func() {
			var begun, ended sync.WaitGroup
			begun.Add(101)
			ended.Add(101)
			var next func(int)
			next = func(left int) {
				_, s := Begin(nil, "s")
				if left > 0 {
					go next(left - 1)
				}
				begun.Done()
				begun.Wait()
				s.End()
				ended.Done()
			}
			next(100)
			ended.Wait()
		})
		for _, one := range found {
			if one.previous.load() != nil {
				t.Fatal("a chain of goroutines keeps all their spans")
			}
		}
	})
}

func TestOverlappingSpans(t *testing.T) {
	withLocal(func() {
		found := byName(with(samplers["parentbased_always_on"], func() {
			_, outer := Begin(nil, "outer")
			_, first := Begin(nil, "first")
			_, second := Begin(nil, "second")
			first.End()
			second.End()
			_, third := Begin(nil, "third")
			third.End()
			outer.End()
			if Current() != nil {
				t.Error("a span is left on the goroutine")
			}
		}))
		if found["third"].parentID != found["outer"].spanID {
			t.Error("third is no child of outer")
		}
	})
}

func TestWhatIsNotSampledStaysSo(t *testing.T) {
	withLocal(func() {
		found := with(samplers["parentbased_always_on"], func() {
			ctx, server := BeginRemote(context.Background(), Server, "server", remoteParent+"00", "k=v")
			if server.IsRecording() {
				t.Error("an unsampled parent is not obeyed")
			}
			passed := make(chan string)
			go func() {
				_, child := Begin(nil, "child")
				child.End()
				below, other := BeginKind(ctx, Client, "other")
				header, state := Headers(below, other)
				other.End()
				passed <- header[:36] + header[52:] + " " + state
			}()
			if header := <-passed; header != remoteParent[:36]+"-00 k=v" {
				t.Error("passed on:", header)
			}
			worker := make(chan context.Context)
			done := make(chan bool)
			setGoroutineLabel(nil)
			go func() { // started under no span, like a pool's
				below, work := Begin(<-worker, "work")
				_, more := Begin(nil, "more")
				_, again := Begin(below, "again")
				again.End()
				more.End()
				work.End()
				if current() != nil {
					t.Error("a span is left on the worker")
				}
				done <- true
			}()
			worker <- ctx
			<-done
			server.End()
		})
		if len(found) != 0 {
			t.Error("recorded:", len(found))
		}
	})
}

func TestRemoteParents(t *testing.T) {
	found := byName(with(samplers["parentbased_always_off"], func() {
		_, root := Begin(nil, "root")
		root.End()
		ctx, server := BeginRemote(context.Background(), Server, "server", remoteParent+"01", "rojo=00f067aa0ba902b7 , congo=t61rcWkgMzE")
		_, child := Begin(ctx, "child")
		child.End()
		server.End()
		_, other := BeginRemote(context.Background(), Server, "other", "garbage", "a=b")
		other.End()
	}))
	if len(found) != 2 {
		t.Fatal("spans:", len(found))
	}
	server, child := found["server"], found["child"]
	if hexadecimal(server.traceID[:]) != remoteParent[3:35] || hexadecimal(server.parentID[:]) != remoteParent[36:52] || !server.remote {
		t.Error("server:", server)
	}
	if child.parentID != server.spanID || child.remote || child.traceState != "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE" {
		t.Error("child:", child)
	}
}

func TestManyGoroutinesOnOneSpan(t *testing.T) {
	found := with(samplers["always_on"], func() {
		ctx, root := Begin(context.Background(), "root")
		var all sync.WaitGroup
		all.Add(8 * 101)
		for i := 0; i < 8; i++ {
			go func() {
				for j := int64(0); j < 100; j++ {
					_, child := Begin(ctx, "child")
					root.SetInt("n", j)
					root.Fail("x")
					child.SetBool("b", true)
					go func() {
						child.End()
						all.Done()
					}()
					child.SetFloat("f", 1)
				}
				all.Done()
			}()
		}
		all.Wait()
		root.End()
	})
	if len(found) != 801 {
		t.Error("spans:", len(found))
	}
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	before := queue.dropped.Load()
	found := with(samplers["always_on"], func() {
		for i := 0; i < 1234; i++ {
			_, s := Begin(nil, "s")
			s.End()
		}
	})
	if len(found) != 1000 || queue.dropped.Load()-before != 234 {
		t.Error("kept", len(found), "dropped", queue.dropped.Load()-before)
	}
}
