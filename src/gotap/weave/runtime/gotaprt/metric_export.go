package gotaprt

import (
	"time"
	_ "unsafe" // go:linkname
)

// reader sends the histograms; it belongs to the one goroutine that runs it.
type reader struct {
	sender
	encoder     encoder
	interval    time.Duration
	temporality uint64
	sent        uint64 // how many operations what was sent last counts in all
}

// runMetrics is the goroutine that sends the histograms, one of the runtime's own as run. Until there is one it does
// nothing.
//
//go:linkname runMetrics runtime.gotap_export_metrics
func runMetrics() {
	first := metricOutlet.first()
	r := &reader{
		sender:      newSender(metricOutlet, duration("OTEL_METRIC_EXPORT_TIMEOUT", 30*time.Second, 0)),
		interval:    duration("OTEL_METRIC_EXPORT_INTERVAL", 60*time.Second, 1),
		temporality: temporality(),
		encoder:     newEncoder(resource()),
	}
	if first != nil {
		r.flushing = append(r.flushing, first)
	}
	for due := time.Now().Add(r.interval); ; {
		for len(r.flushing) == 0 && time.Now().Before(due) {
			r.waitUntil(due)
		}
		if !time.Now().Before(due) {
			due = time.Now().Add(r.interval)
		}
		r.sendAll()
		r.flushed()
	}
}

// sendAll sends what there is. Whoever only flushes has nothing sent again.
func (r *reader) sendAll() {
	scopes, count := r.encoder.collect(known(), r.temporality)
	if count == 0 || len(r.flushing) > 0 && count == r.sent && r.temporality == cumulativeTemporality {
		return
	}
	if r.send(r.encoder.enclosed(scopes), int(count)) {
		r.sent = count
	}
}

// known are the histograms that there are.
func known() []*histogram {
	meters.lock.Lock()
	defer meters.lock.Unlock()
	return meters.histograms[:len(meters.histograms):len(meters.histograms)]
}
