package gotaprt

import (
	"time"
	_ "unsafe" // go:linkname
)

// exporter sends batches of spans; it belongs to the one goroutine that runs it.
type exporter struct {
	sender
	encoder encoder
	delay   time.Duration // a span waits that long at most for others to go with it
	waiting []*record
	due     time.Time // when the oldest of waiting has waited long enough
	dropped int64     // of queue.dropped, what was told
}

// run is the exporter's goroutine. It is started with the program and not with the first span, which may belong to a
// testing/synctest bubble whose goroutines all have to end. Until there is a span it does nothing at all.
//
// Its name makes it one of the runtime's own goroutines (runtime.isSystemGoroutine, Go 1.21 to 1.27): programs do not find
// it where they count goroutines, in dumps and in profiles, nor do tests that look for goroutines left behind.
//
//go:linkname run runtime.gotap_export
func run() {
	first := spanOutlet.first()
	e := &exporter{
		sender:  newSender(spanOutlet, duration("OTEL_BSP_EXPORT_TIMEOUT", 30*time.Second, 0)),
		delay:   duration("OTEL_BSP_SCHEDULE_DELAY", 5*time.Second, 0),
		encoder: newEncoder(resource()),
	}
	if first != nil {
		e.flushing = append(e.flushing, first)
	}
	for {
		e.waitUntil(e.nextDue())
		e.gather()
		for len(e.waiting) > 0 && (int64(len(e.waiting)) >= queue.batch || len(e.flushing) > 0 || !time.Now().Before(e.due)) {
			e.sendBatch(e.waiting[:min64(int64(len(e.waiting)), queue.batch)])
			e.gather()
		}
		e.flushed()
	}
}

// nextDue tells when to send what waits; the zero time: nothing does.
func (e *exporter) nextDue() time.Time {
	e.gather()
	switch {
	case len(e.waiting) == 0:
		return time.Time{}
	case int64(len(e.waiting)) >= queue.batch:
		return time.Now()
	}
	return e.due
}

// gather takes what was queued in the meantime.
func (e *exporter) gather() {
	if len(e.waiting) == 0 {
		e.waiting = nil // lets the sent ones go
		e.due = time.Now().Add(e.delay)
	}
	e.waiting = queue.take(e.waiting)
	if dropped := queue.dropped.Load(); dropped > e.dropped {
		e.dropped = dropped
		tell(warn, "more spans than can be sent: what finds the queue full is dropped")
	}
}

// sendBatch sends a batch, which is the head of waiting, or gives it up.
func (e *exporter) sendBatch(batch []*record) {
	defer func() {
		queue.count.Add(-int64(len(batch)))
		e.waiting = e.waiting[len(batch):]
	}()
	if e.poster != nil {
		e.send(e.encoder.request(batch), len(batch))
	}
}
