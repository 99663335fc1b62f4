package gotaprt

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

// columns is what generated code has in a struct of its own.
type columns struct {
	column_route  Text
	column_status Int
}

// counted is what generated code does with an operation that has captured this.
func counted(t testing.TB, c *Class, recent *Recent[columns], route string, status int64) {
	op := &Operation{}
	if _, ok := c.Begin(op, nil, nil, unsafe.Pointer(op)); !ok {
		t.Fatal("nothing began")
	}
	own := columns{TextOf(route, 64), IntOf(status)}
	place := 3*own.column_route.Place() + own.column_status.Place()
	if recent.Finish(op, &own, place) {
		return
	}
	values := request("GET", "/", status, own.column_route.shown())
	at := op.Finish(values)
	if recent.Wants(op, at, place) {
		own.column_route = own.column_route.Own()
		recent.Remember(own, at, place)
	}
}

func perSet(found map[string]sums) map[string]uint64 {
	counts := map[string]uint64{}
	for name, one := range found {
		counts[name[strings.Index(name, "status_code="):]] += one.count
	}
	return counts
}

func TestWhatIsLikeARecentOperationIsCountedWithIt(t *testing.T) {
	emptyMeters(t)
	with(samplers["always_off"], func() {
		c, recent := serverClass(), &Recent[columns]{}
		const rounds = 100
		for i := 0; i < rounds; i++ {
			for route := 0; route < 40; route++ { // more than there are places, some with the same
				counted(t, c, recent, fmt.Sprint("/", strings.Repeat("a", route%20), route), 200)
			}
			counted(t, c, recent, "/1", int64(200+i%2))
			if i%10 == 9 { // the points are closed
				for name, count := range perSet(totals(true)) {
					want := uint64(10)
					if strings.HasSuffix(name, "=/10") { // the route /1: every other time with this status
						want = 5
					}
					if count != want {
						t.Error(i, name, count)
					}
				}
			}
		}
		if found := totals(false); len(found) != 0 {
			for name, one := range found {
				if one.count != 0 {
					t.Error(name, one.count)
				}
			}
		}
	})
}

func TestNothingIsLostBetweenCollectionsOfRecentPoints(t *testing.T) {
	emptyMeters(t)
	with(samplers["always_off"], func() {
		c, recent := serverClass(), &Recent[columns]{}
		nothingIsLost(t, 5000, func(i int64) {
			counted(t, c, recent, fmt.Sprint("/", i&31), i&7)
		})
	})
}

func TestWhatIsRecordedIsNoRecentOperation(t *testing.T) {
	emptyMeters(t)
	with(samplers["always_on"], func() {
		c, recent := serverClass(), &Recent[columns]{}
		for i := 0; i < 10; i++ {
			counted(t, c, recent, "/x", 200)
		}
		for i := range recent.places {
			if recent.places[i].Load() != nil {
				t.Error("it is remembered")
			}
		}
		for _, one := range totals(false) {
			if one.count != 10 || one.exemplars == nil {
				t.Error(one)
			}
		}
	})
}

func TestWhatIsRememberedIsNobodyElsesMemory(t *testing.T) {
	emptyMeters(t)
	with(samplers["always_off"], func() {
		c, recent := serverClass(), &Recent[columns]{}
		memory := []byte("/one")
		counted(t, c, recent, unsafe.String(&memory[0], len(memory)), 200)
		copy(memory, "/two")
		counted(t, c, recent, unsafe.String(&memory[0], len(memory)), 200)
		counted(t, c, recent, "/one", 200)
		found := perSet(totals(false))
		if len(found) != 2 {
			t.Error(found)
		}
		for name, count := range found {
			if want := map[bool]uint64{true: 2, false: 1}[strings.Contains(name, "/one")]; count != want {
				t.Error(name, count)
			}
		}
	})
}

func BenchmarkRecent(b *testing.B) {
	emptyMeters(b)
	c, recent := serverClass(), &Recent[columns]{}
	with(samplers["always_off"], func() {
		b.ReportAllocs()
		for i := 0; i < b.N; i++ {
			counted(b, c, recent, "/x/{id}/y", 200)
		}
	})
}
