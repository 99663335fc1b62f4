package gotaprt

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// setLimit is how many sets of attributes a histogram tells apart (metrics SDK, cardinality limits, default); what comes
// on top counts as one more set.
const setLimit = 2000

// measures tells whether durations of the class are counted.
func (c *Class) measures() bool { return counts && c.Metric != "" }

// measure counts an operation that took so many seconds. values are those of Class.Attributes; they are not kept.
// Two classes with the same Library and Metric, of two packages, count as one. It gives the point of these values.
func (c *Class) measure(op *Operation, values []Value, seconds float64) *point {
	m := c.meter.load()
	if m == nil {
		m = newMeter(c)
	}
	one := m.histogram.measurement(seconds)
	if s := op.span; exemplars && s != nil && s.record != nil {
		one.span, one.time = s, op.start+time.Duration(seconds*float64(time.Second))
	}
	return m.histogram.add(m.places, values, &one)
}

func (h *histogram) measurement(seconds float64) measurement {
	return measurement{seconds: seconds, bucket: bucketOf(h.bounds, seconds)}
}

// measurement is one operation as a histogram counts it. span is nil for one that is no exemplar.
type measurement struct {
	seconds float64
	bucket  int
	span    *Span
	time    time.Duration // of the end, since `began`
}

// bucketOf gives the bucket of a value: upper bounds are inclusive, and the last bucket has none.
func bucketOf(bounds []float64, value float64) int {
	for i, bound := range bounds {
		if value <= bound {
			return i
		}
	}
	return len(bounds)
}

// meter is how a class's values get into its histogram.
type meter struct {
	histogram *histogram
	// places has for each of the histogram's keys the index of the class's value; -1: the class has no such attribute.
	// Keys that only other classes have may be missing at the end.
	places []int
}

// meters are what classes that have been measured count into.
var meters struct {
	lock       sync.Mutex
	histograms []*histogram
}

func newMeter(c *Class) *meter {
	meters.lock.Lock()
	defer meters.lock.Unlock()
	if m := c.meter.load(); m != nil {
		return m
	}
	h := histogramOf(c.Library, c.Metric)
	m := &meter{h, h.placesOf(c)}
	c.meter.store(m)
	return m
}

// histogramOf finds the histogram, or makes it. It is called with the lock of meters.
func histogramOf(library, name string) *histogram {
	for _, h := range meters.histograms {
		if h.library == library && h.name == name {
			return h
		}
	}
	h := &histogram{library: library, name: name, instrument: instrumentOf(name)}
	h.table.Store(newTable(16))
	meters.histograms = append(meters.histograms, h)
	metricOutlet.awake()
	return h
}

// histogram is one metric of one library: for each set of attributes a point.
type histogram struct {
	library string
	name    string
	instrument
	table atomic.Pointer[table]
	lock  sync.Mutex // for adding points to the table, and for what follows
	keys  []string
	start time.Duration // of what is counted, since `began`
}

// placesOf finds the class's dimensions among the keys; what is new becomes one.
func (h *histogram) placesOf(c *Class) []int {
	h.lock.Lock()
	defer h.lock.Unlock()
	places := make([]int, len(h.keys))
	for i := range places {
		places[i] = -1
	}
	for _, index := range c.Dimensions {
		place := 0
		for place < len(h.keys) && h.keys[place] != c.Attributes[index] {
			place++
		}
		if place == len(h.keys) {
			h.keys = append(h.keys[:place:place], c.Attributes[index])
			places = append(places, -1)
		}
		places[place] = index
	}
	return places
}

// table holds the points by the hashes of their attributes: open addressing, never more than half full. Points are
// only added; whoever looks for one needs no lock.
type table struct {
	slots    []atomic.Pointer[point]
	count    int                   // of the points, for whoever has the histogram's lock
	overflow atomic.Pointer[point] // of all sets that found no room
}

func newTable(slots int) *table { return &table{slots: make([]atomic.Pointer[point], slots)} }

// add counts a measurement. A point that was collected for the last time takes none, but then there is a new table.
func (h *histogram) add(places []int, values []Value, one *measurement) *point {
	hash := hashOf(places, values)
	for {
		p := h.table.Load().find(hash, places, values)
		if p == nil {
			p = h.insert(hash, places, values)
		}
		if p.add(one) {
			return p
		}
	}
}

// find gives the set's point, or that of the sets without room; nil: there is none yet.
func (t *table) find(hash uint64, places []int, values []Value) *point {
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		p := t.slots[i].Load()
		if p == nil {
			return t.overflow.Load()
		}
		if p.hash == hash && p.has(places, values) {
			return p
		}
	}
}

func (h *histogram) insert(hash uint64, places []int, values []Value) *point {
	h.lock.Lock()
	defer h.lock.Unlock()
	t := h.table.Load()
	if p := t.find(hash, places, values); p != nil {
		return p
	}
	if t.count == setLimit {
		p := &point{}
		t.overflow.Store(p)
		return p
	}
	p := &point{hash: hash, values: make([]Value, len(places))}
	for i := range places {
		if v := valueAt(places, values, i); v != nil {
			p.values[i] = *v
			p.values[i].text = strings.Clone(v.text) // which may be part of something large, or memory that is used again
		}
	}
	if 2*(t.count+1) > len(t.slots) {
		larger := newTable(2 * len(t.slots))
		for i := range t.slots {
			if old := t.slots[i].Load(); old != nil {
				larger.put(old)
			}
		}
		t = larger
	}
	t.put(p)
	h.table.Store(t)
	return p
}

func (t *table) put(p *point) {
	mask := uint64(len(t.slots) - 1)
	i := p.hash & mask
	for t.slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	t.slots[i].Store(p)
	t.count++
}

// points are all of a table; the overflow is the last.
func (t *table) points() (found []*point) {
	for i := range t.slots {
		if p := t.slots[i].Load(); p != nil {
			found = append(found, p)
		}
	}
	if p := t.overflow.Load(); p != nil {
		found = append(found, p)
	}
	return found
}

// valueAt is the value of the histogram's key with that index; nil if the operation has none.
func valueAt(places []int, values []Value, key int) *Value {
	if key >= len(places) || places[key] < 0 || places[key] >= len(values) {
		return nil
	}
	if v := &values[places[key]]; v.kind != noValue {
		return v
	}
	return nil
}

var hashSeed = maphash.MakeSeed()

// hashOf is the same for the same attributes, also of classes that have them in another order.
func hashOf(places []int, values []Value) uint64 {
	var sum uint64
	for key := range places {
		v := valueAt(places, values, key)
		if v == nil {
			continue
		}
		one := uint64(v.number) + uint64(v.kind)
		if v.kind == textValue {
			one = hashOfText(v.text)
		}
		sum += mixed(one + uint64(key)<<56)
	}
	return mixed(sum)
}

// hashOfText is that of maphash but for texts of few bytes, as most are, all of which go into a number.
func hashOfText(text string) uint64 {
	if len(text) > 8 {
		return maphash.String(hashSeed, text)
	}
	sum := uint64(len(text))
	for i := 0; i < len(text); i++ {
		sum = sum<<8 + uint64(text[i])
	}
	return sum
}
