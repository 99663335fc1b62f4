package gotaprt

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"
)

// emptyMeters makes this test's histograms the only ones.
func emptyMeters(t testing.TB) {
	before, beforeCounts, beforeExemplars := meters.histograms, counts, exemplars
	t.Cleanup(func() {
		counts, exemplars = beforeCounts, beforeExemplars
		meters.histograms = before
	})
	counts, exemplars = true, true
	meters.histograms = nil
}

func serverClass() *Class {
	return &Class{
		Library: "net/http", Name: "http.server", Kind: Server, Metric: "http.server.request.duration",
		Attributes: []string{"http.request.method", "url.path", "http.response.status_code", "url.scheme", "http.route", "error.type"},
		Dimensions: []int{0, 2, 3, 4, 5},
	}
}

func request(method, path string, status int64, route string) []Value {
	return []Value{textOf(method), textOf(path), intOf(status), textOf("http"), textOf(route), {}}
}

// totals gives for the points of all histograms the values of their keys as text, with what was counted.
func totals(last bool) map[string]sums {
	found := map[string]sums{}
	for _, h := range known() {
		t, _, _ := h.period(last)
		for _, p := range t.points() {
			text := h.name
			for i, v := range p.values {
				if v.kind != noValue {
					text += fmt.Sprint(" ", h.keys[i], "=", v.text, v.number)
				}
			}
			found[text] = p.collect(last)
		}
	}
	return found
}

func TestSetsOfAttributesAreToldApart(t *testing.T) {
	emptyMeters(t)
	// The same operation in another package, with a key more and in another order.
	other := &Class{
		Library: "net/http", Name: "http.server", Metric: "http.server.request.duration",
		Attributes: []string{"server.port", "url.scheme", "http.route", "http.request.method", "http.response.status_code"},
		Dimensions: []int{0, 1, 2, 3, 4},
	}
	c := serverClass()
	for i := 0; i < 3; i++ {
		c.measure(&Operation{}, request("GET", fmt.Sprint("/", i), 200, "/{n}"), 0.01)
	}
	c.measure(&Operation{}, request("GET", "/", 404, ""), 0.01)
	other.measure(&Operation{}, []Value{{}, textOf("http"), textOf("/{n}"), textOf("GET"), intOf(200)}, 10.5)
	other.measure(&Operation{}, []Value{intOf(80), textOf("http"), textOf("/{n}"), textOf("GET"), intOf(200)}, 0.005)
	if len(known()) != 1 {
		t.Error(len(known()), "histograms")
	}
	const set = "http.server.request.duration http.request.method=GET0 http.response.status_code=%d url.scheme=http0 http.route=%s"
	found := totals(false)
	both := found[fmt.Sprintf(set, 200, "/{n}0")]
	if both.count != 4 || both.min != 0.01 || both.max != 10.5 || math.Abs(both.sum-10.53) > 1e-9 {
		t.Error(both)
	}
	if both.buckets[bucketOf(durationBounds, 0.01)] != 3 || both.buckets[len(durationBounds)] != 1 {
		t.Error(both.buckets)
	}
	if one := found[fmt.Sprintf(set, 404, "0")]; one.count != 1 {
		t.Error(found)
	}
	if one := found[fmt.Sprintf(set, 200, "/{n}0")+" server.port=80"]; one.count != 1 || one.buckets[0] != 1 {
		t.Error(found)
	}
}

func TestMoreSetsThanThereIsRoomForAreOne(t *testing.T) {
	emptyMeters(t)
	c := serverClass()
	for round := 0; round < 2; round++ {
		for i := int64(0); i < setLimit+100; i++ {
			c.measure(&Operation{}, request("GET", "/", i, "/"), 0.01)
		}
	}
	found := totals(false)
	if len(found) != setLimit+1 {
		t.Error(len(found), "points")
	}
	if overflow := found["http.server.request.duration"]; overflow.count != 200 {
		t.Error(overflow)
	}
}

func TestNothingIsLostBetweenCollections(t *testing.T) {
	emptyMeters(t)
	c := serverClass()
	nothingIsLost(t, 20000, func(i int64) {
		c.measure(&Operation{}, request("GET", "/", i&7, "/"), 0.01)
	})
}

// nothingIsLost collects again and again while goroutines count so many operations each.
func nothingIsLost(t *testing.T, each int64, countOne func(i int64)) {
	const goroutines = 8
	var wait sync.WaitGroup
	for g := 0; g < goroutines; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := int64(0); i < each; i++ {
				countOne(i)
			}
		}()
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	count := uint64(0)
	gather := func() {
		for _, one := range totals(true) {
			count += one.count
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			gather()
		}
	}
	if gather(); count != goroutines*uint64(each) {
		t.Error(count, "of", goroutines*uint64(each))
	}
}

func TestTheLastSampledOperationOfABucketIsItsExemplar(t *testing.T) {
	emptyMeters(t)
	c := serverClass()
	for i, seconds := range []float64{0.001, 0.002, 3, 0.003} {
		s := newSpan(nil, nil)
		s.spanID[0] = byte(i + 1)
		op := &Operation{span: s, start: time.Duration(i)}
		if i == 3 {
			s.record = nil // not sampled
		} else if s.record == nil {
			s.record = &record{}
		}
		c.measure(op, request("GET", "/", 200, "/"), seconds)
	}
	for _, one := range totals(false) {
		if one.exemplars[0].spanID[0] != 2 || one.exemplars[0].seconds != 0.002 || one.exemplars[10].spanID != [8]byte{} {
			t.Error(one.exemplars)
		}
		if last := one.exemplars[bucketOf(durationBounds, 3)]; last.spanID[0] != 3 {
			t.Error(last)
		}
	}
	exemplars = false
	other := serverClass()
	other.Library = "other"
	other.measure(&Operation{span: newSpan(nil, nil)}, request("GET", "/", 200, "/"), 1)
	if known()[1].table.Load().points()[0].collect(false).exemplars != nil {
		t.Error("there is an exemplar")
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	emptyMeters(t)
	c := serverClass()
	op := &Operation{span: newSpan(nil, nil)}
	if allocations := testing.AllocsPerRun(1000, func() {
		values := [6]Value{textOf("GET"), textOf("/"), intOf(200), textOf("http"), textOf("/x"), {}}
		c.measure(op, values[:], 0.01)
	}); allocations != 0 {
		t.Error(allocations)
	}
}

func BenchmarkMeasure(b *testing.B) {
	emptyMeters(b)
	c := serverClass()
	op := &Operation{span: newSpan(nil, nil)}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			values := [6]Value{textOf("GET"), textOf("/"), intOf(200), textOf("http"), textOf("/x/{id}/y"), {}}
			c.measure(op, values[:], 0.03)
		}
	})
}
