package gotaprt

import (
	"encoding/binary"
	"math"
	"time"
)

// Field numbers are those of opentelemetry-proto 1.x: metrics.proto, metrics_service.proto.

// instrument is what does not change about a histogram (gotap.signals.metrics has the same). Bounds are upper ones, in
// seconds: at most mostBuckets-1.
type instrument struct {
	description string
	bounds      []float64
}

// durationBounds are those that semantic conventions advise for HTTP requests, and everything that they say nothing of.
var durationBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

var instruments = map[string]instrument{
	"http.server.request.duration": {"Duration of HTTP server requests.", durationBounds},
	"http.client.request.duration": {"Duration of HTTP client requests.", durationBounds},
	"db.client.operation.duration": {"Duration of database client operations.",
		[]float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}},
}

func instrumentOf(name string) instrument {
	if known, ok := instruments[name]; ok {
		return known
	}
	return instrument{bounds: durationBounds}
}

// metrics.proto, AggregationTemporality.
const (
	deltaTemporality      = 1
	cumulativeTemporality = 2
)

// overflowKey marks the point of all sets that found no room.
const overflowKey = "otel.metric.overflow"

// collect gives all histograms as a metric message each, by library in the order of their first, and how many operations
// they count. With deltaTemporality everything is counted from now on.
func (e *encoder) collect(histograms []*histogram, temporality uint64) (scopes []scoped, count uint64) {
	e.setEpoch()
	for _, h := range histograms {
		metric, counted := e.histogram(h, temporality)
		if counted == 0 {
			continue
		}
		count += counted
		scopes = e.within(scopes, h.library, metric)
	}
	return scopes, count
}

// histogram gives a Metric, and how many operations it counts.
func (e *encoder) histogram(h *histogram, temporality uint64) (message []byte, count uint64) {
	last := temporality == deltaTemporality
	t, start, now := h.period(last)
	points := t.points()
	keys := h.currentKeys() // read after the points, which may have no others then
	times := appendFixed64(nil, 2, uint64(e.epoch+int64(start)))
	times = appendFixed64(times, 3, uint64(e.epoch+int64(now)))
	bounds := make([]byte, 0, 8*len(h.bounds))
	for _, bound := range h.bounds {
		bounds = binary.LittleEndian.AppendUint64(bounds, math.Float64bits(bound))
	}
	var data []byte
	for _, p := range points {
		counted := p.collect(last)
		if counted.count == 0 {
			continue
		}
		count += counted.count
		message := e.point(append([]byte(nil), times...), p, keys, &counted, len(h.bounds)+1)
		data = appendBytes(data, 1, appendBytes(message, 7, bounds))
	}
	data = appendVarint(data, 2, temporality)
	message = appendText(nil, 1, h.name)
	if h.description != "" {
		message = appendText(message, 2, h.description)
	}
	message = appendText(message, 3, "s")
	return appendBytes(message, 9, data), count
}

// period gives what is counted, since when and until when. If last, another table takes over.
func (h *histogram) period(last bool) (t *table, start, end time.Duration) {
	h.lock.Lock()
	defer h.lock.Unlock()
	t, start, end = h.table.Load(), h.start, time.Since(began)
	if last {
		h.start = end
		h.table.Store(newTable(len(t.slots)))
	}
	return t, start, end
}

func (h *histogram) currentKeys() []string {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.keys
}

// point appends to a HistogramDataPoint what is this point's own.
func (e *encoder) point(to []byte, p *point, keys []string, counted *sums, buckets int) []byte {
	if p.values == nil {
		to = appendAttribute(to, 9, &attribute{key: overflowKey, number: 1, kind: boolKind})
	}
	for i := range p.values {
		if p.values[i].kind != noValue {
			one := p.values[i].attribute(keys[i])
			to = appendAttribute(to, 9, &one)
		}
	}
	to = appendFixed64(to, 4, counted.count)
	to = appendFixed64(to, 5, floatBits(counted.sum))
	counts := make([]byte, 0, 8*buckets)
	for _, count := range counted.buckets[:buckets] {
		counts = binary.LittleEndian.AppendUint64(counts, count)
	}
	to = appendBytes(to, 6, counts)
	if counted.exemplars != nil {
		for i := range counted.exemplars {
			if one := &counted.exemplars[i]; one.spanID != [8]byte{} {
				message := appendFixed64(nil, 2, uint64(e.epoch+int64(one.time)))
				message = appendFixed64(message, 3, floatBits(one.seconds))
				message = appendBytes(message, 4, one.spanID[:])
				to = appendBytes(to, 8, appendBytes(message, 5, one.traceID[:]))
			}
		}
	}
	return appendFixed64(appendFixed64(to, 11, floatBits(counted.min)), 12, floatBits(counted.max))
}
