package gotaprt

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// mostBuckets is how many buckets histograms may have, the one without an upper bound included.
const mostBuckets = 16

// point is one set of attributes of a histogram, and what was counted of it. The overflow has no values.
type point struct {
	hash   uint64
	values []Value // by the histogram's keys; keys that have come later are missing
	// spread takes the place of only once two goroutines have met there, so that they do not meet again.
	spread atomic.Pointer[[]stripe]
	only   stripe
}

// stripe is a share of a point's sums.
type stripe struct {
	lock   sync.Mutex
	closed bool // collected for the last time
	sums
	_ [8]byte // makes it three cache lines
}

type sums struct {
	count     uint64
	sum       float64
	min, max  float64
	buckets   [mostBuckets]uint64
	exemplars *[mostBuckets]exemplar
}

// exemplar is the last sampled operation of a bucket.
type exemplar struct {
	seconds float64
	time    time.Duration // since `began`
	traceID [16]byte
	spanID  [8]byte // zero: there is none
}

func (p *point) has(places []int, values []Value) bool {
	length := len(p.values)
	if len(places) > length {
		length = len(places)
	}
	for key := 0; key < length; key++ {
		own := Value{}
		if key < len(p.values) {
			own = p.values[key]
		}
		v := valueAt(places, values, key)
		if v == nil {
			if own.kind != noValue {
				return false
			}
		} else if v.kind != own.kind || v.number != own.number || v.text != own.text {
			return false
		}
	}
	return true
}

// add counts a measurement, unless the point was collected for the last time.
func (p *point) add(one *measurement) bool {
	s := p.locked()
	if s.closed {
		s.lock.Unlock()
		return false
	}
	if s.count == 0 || one.seconds < s.min {
		s.min = one.seconds
	}
	if s.count == 0 || one.seconds > s.max {
		s.max = one.seconds
	}
	s.count++
	s.sum += one.seconds
	s.buckets[one.bucket]++
	if one.span != nil {
		if s.exemplars == nil {
			s.exemplars = new([mostBuckets]exemplar)
		}
		s.exemplars[one.bucket] = exemplar{one.seconds, one.time, one.span.traceID, one.span.spanID}
	}
	s.lock.Unlock()
	return true
}

// locked gives a stripe whose lock it has taken. Goroutines are told apart by where their stacks lie.
func (p *point) locked() *stripe {
	stripes := p.spread.Load()
	if stripes == nil {
		if p.only.lock.TryLock() {
			return &p.only
		}
		p.only.lock.Lock()
		if p.only.closed || runtime.GOMAXPROCS(0) == 1 {
			return &p.only
		}
		if stripes = p.spread.Load(); stripes == nil {
			made := make([]stripe, stripeCount())
			stripes = &made
			p.spread.Store(stripes)
		}
		p.only.lock.Unlock()
	}
	var here byte
	const spreads = 0x9e3779b97f4a7c15 // 2⁶⁴ divided by the golden ratio: neighbours get far apart
	mask := uint64(len(*stripes) - 1)
	i := uint64(uintptr(unsafe.Pointer(&here))>>11) * spreads >> 32
	if s := &(*stripes)[i&mask]; s.lock.TryLock() {
		return s
	}
	s := &(*stripes)[(i+1)&mask]
	s.lock.Lock()
	return s
}

// stripeCount is a power of two: twice the processors that run goroutines, but not many.
func stripeCount() int {
	return 1 << bits.Len(uint(min64(int64(runtime.GOMAXPROCS(0)), 16)))
}

// collect gives what was counted, and if it is the last time, closes the point.
func (p *point) collect(last bool) (all sums) {
	p.only.give(&all, last)
	// Nobody spreads a point that is closed, so what is found here is all that there will be.
	if stripes := p.spread.Load(); stripes != nil {
		for i := range *stripes {
			(*stripes)[i].give(&all, last)
		}
	}
	return all
}

func (s *stripe) give(to *sums, last bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.closed = s.closed || last
	if s.count == 0 {
		return
	}
	if to.count == 0 || s.min < to.min {
		to.min = s.min
	}
	if to.count == 0 || s.max > to.max {
		to.max = s.max
	}
	to.count += s.count
	to.sum += s.sum
	for i, count := range s.buckets {
		to.buckets[i] += count
	}
	if s.exemplars == nil {
		return
	}
	if to.exemplars == nil {
		to.exemplars = new([mostBuckets]exemplar)
	}
	for i, one := range s.exemplars {
		if one.spanID != [8]byte{} && (to.exemplars[i].spanID == [8]byte{} || one.time > to.exemplars[i].time) {
			to.exemplars[i] = one
		}
	}
}
