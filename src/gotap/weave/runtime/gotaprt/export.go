package gotaprt

import (
	"strconv"
	"time"
	_ "unsafe" // go:linkname
)

// Back-off: the first wait, which doubles, and the longest. Each wait is between half of it and all of it.
const (
	firstWait   = 500 * time.Millisecond
	longestWait = 16 * time.Second
)

// flushRequest asks that all spans finished so far be sent by the deadline.
type flushRequest struct {
	deadline time.Time
	done     chan struct{}
}

var flushes = make(chan *flushRequest, 1)

// Flush sends what is queued and waits for it, for as long as timeout at most. It tells whether all was dealt with:
// sent, or refused once more.
func Flush(timeout time.Duration) bool {
	if queue.count.Load() == 0 {
		return true
	}
	request := &flushRequest{time.Now().Add(timeout), make(chan struct{})}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case flushes <- request:
	case <-timer.C:
		return false
	}
	select {
	case <-request.done:
		return true
	case <-timer.C:
		return false
	}
}

// exporter sends batches; it belongs to the one goroutine that runs it.
type exporter struct {
	poster   *poster // nil: nothing can be sent
	encoder  encoder
	delay    time.Duration // a span waits that long at most for others to go with it
	patience time.Duration // a batch is tried for that long
	waiting  []*record
	due      time.Time // when the oldest of waiting has waited long enough
	backoff  time.Duration
	silence  time.Time // until then the collector is left alone
	flushing []*flushRequest
	dropped  int64 // of queue.dropped, what was told
}

// run is the exporter's goroutine. It is started with the program and not with the first span, which may belong to a
// testing/synctest bubble whose goroutines all have to end. Until there is a span it does nothing at all.
//
// Its name makes it one of the runtime's own goroutines (runtime.isSystemGoroutine, Go 1.21 to 1.27): programs do not find
// it where they count goroutines, in dumps and in profiles, nor do tests that look for goroutines left behind.
//
//go:linkname run runtime.gotap_export
func run() {
	var e *exporter
	for {
		var first *flushRequest
		if e == nil {
			select {
			case <-wake:
			case first = <-flushes:
			}
			watchSignals()
			e = newExporter()
		}
		if first != nil {
			e.flushing = append(e.flushing, first)
		}
		e.waitUntil(e.nextDue())
		e.gather()
		for len(e.waiting) > 0 && (int64(len(e.waiting)) >= queue.batch || len(e.flushing) > 0 || !time.Now().Before(e.due)) {
			e.send(e.waiting[:min64(int64(len(e.waiting)), queue.batch)])
			e.gather()
		}
		for _, request := range e.flushing {
			close(request.done)
		}
		e.flushing = nil
	}
}

func newExporter() *exporter {
	e := &exporter{
		delay:    duration("OTEL_BSP_SCHEDULE_DELAY", 5*time.Second, 0),
		patience: duration("OTEL_BSP_EXPORT_TIMEOUT", 30*time.Second, 0),
		encoder:  newEncoder(resource()),
	}
	if e.patience == 0 {
		e.patience = indefinite
	}
	settings, err := settingsOf("TRACES", "/v1/traces")
	if err == nil {
		e.poster, err = newPoster(settings)
	}
	if err != nil {
		tell(failure, "spans are not exported: "+err.Error())
	}
	return e
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

// waitUntil returns at that time, or when there are more spans or somebody wants all to be sent. The zero time is never.
func (e *exporter) waitUntil(when time.Time) {
	if len(e.flushing) > 0 {
		return
	}
	var timeout <-chan time.Time
	if !when.IsZero() {
		timer := time.NewTimer(time.Until(when))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-wake:
	case <-timeout:
	case request := <-flushes:
		e.flushing = append(e.flushing, request)
	}
}

// send sends a batch, which is the head of waiting, or gives it up. While somebody waits for a flush each batch is tried once.
func (e *exporter) send(batch []*record) {
	defer func() {
		queue.count.Add(-int64(len(batch)))
		e.waiting = e.waiting[len(batch):]
	}()
	if e.poster == nil {
		return
	}
	body := e.encoder.request(batch)
	end := time.Now().Add(e.patience)
	for {
		e.respectSilence(end)
		last := len(e.flushing) > 0
		result := e.poster.post(body, e.deadline(end))
		if !result.again {
			e.backoff = 0
			if result.problem != "" {
				tell(failure, result.problem)
			}
			return
		}
		e.backoff = 2 * e.backoff
		if e.backoff < firstWait {
			e.backoff = firstWait
		} else if e.backoff > longestWait {
			e.backoff = longestWait
		}
		wait := e.backoff/2 + time.Duration(random()%uint64(e.backoff/2))
		if result.wait > wait {
			wait = result.wait
		}
		e.silence = time.Now().Add(wait)
		if last || e.silence.After(end) {
			tell(failure, strconv.Itoa(len(batch))+" spans are dropped: "+result.problem)
			return
		}
		tell(info, "spans are sent again later: "+result.problem)
	}
}

// respectSilence leaves the collector alone for as long as it wants, unless somebody waits for a flush.
func (e *exporter) respectSilence(end time.Time) {
	until := e.silence
	if until.After(end) {
		until = end
	}
	for len(e.flushing) == 0 && time.Now().Before(until) {
		e.waitUntil(until)
	}
}

// deadline is that of one request: the earliest of the batch's own end, the timeout and the last flush's deadline.
func (e *exporter) deadline(end time.Time) time.Time {
	if own := time.Now().Add(e.poster.settings.timeout); own.Before(end) {
		end = own
	}
	var last time.Time
	for _, request := range e.flushing {
		if request.deadline.After(last) {
			last = request.deadline
		}
	}
	if !last.IsZero() && last.Before(end) {
		return last
	}
	return end
}
