package gotaprt

import (
	"strconv"
	"sync"
	"time"
)

// Back-off: the first wait, which doubles, and the longest. Each wait is between half of it and all of it.
const (
	firstWait   = 500 * time.Millisecond
	longestWait = 16 * time.Second
)

// outlet is of spans or metrics: how the goroutine that sends them is spoken to.
type outlet struct {
	name    string // in variables
	path    string // of requests
	noun    string // in messages
	wake    chan struct{}
	flushes chan *flushRequest
}

var (
	spanOutlet   = &outlet{"TRACES", "/v1/traces", "spans", wake, make(chan *flushRequest, 1)}
	metricOutlet = &outlet{"METRICS", "/v1/metrics", "metrics", make(chan struct{}, 1), make(chan *flushRequest, 1)}
)

// awake tells that there is something to send.
func (o *outlet) awake() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// flushRequest asks that all that is there be sent by the deadline.
type flushRequest struct {
	deadline time.Time
	done     chan struct{}
}

// Flush sends what is there and waits for it, for as long as timeout at most. It tells whether all was dealt with: sent,
// or refused once more.
func Flush(timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var requests []*flushRequest
	for _, one := range []*outlet{spanOutlet, metricOutlet} {
		if !one.pending() {
			continue
		}
		request := &flushRequest{time.Now().Add(timeout), make(chan struct{})}
		select {
		case one.flushes <- request:
			requests = append(requests, request)
		case <-timer.C:
			return false
		}
	}
	for _, request := range requests {
		select {
		case <-request.done:
		case <-timer.C:
			return false
		}
	}
	return true
}

// pending tells whether there may be something to send.
func (o *outlet) pending() bool {
	if o == spanOutlet {
		return queue.count.Load() > 0
	}
	return len(known()) > 0
}

// sender sends requests of one signal; it belongs to the one goroutine that runs it.
type sender struct {
	*outlet
	poster   *poster       // nil: nothing can be sent
	patience time.Duration // a request is tried for that long
	backoff  time.Duration
	silence  time.Time // until then the collector is left alone
	flushing []*flushRequest
}

var watchOnce sync.Once

// newSender is made once there is something to send. Only then signals are watched.
func newSender(o *outlet, patience time.Duration) sender {
	watchOnce.Do(watchSignals)
	if patience == 0 {
		patience = indefinite
	}
	made := sender{outlet: o, patience: patience}
	settings, err := settingsOf(o.name, o.path)
	if err == nil {
		made.poster, err = newPoster(settings, o.noun)
	}
	if err != nil {
		tell(failure, o.noun+" are not exported: "+err.Error())
	}
	return made
}

// first waits for something to do. The request is nil if it is something to send.
func (o *outlet) first() *flushRequest {
	select {
	case <-o.wake:
		return nil
	case request := <-o.flushes:
		return request
	}
}

// waitUntil returns at that time, or when there is more to send or somebody wants all to be sent. The zero time is never.
func (s *sender) waitUntil(when time.Time) {
	if len(s.flushing) > 0 {
		return
	}
	var timeout <-chan time.Time
	if !when.IsZero() {
		timer := time.NewTimer(time.Until(when))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-s.wake:
	case <-timeout:
	case request := <-s.flushes:
		s.flushing = append(s.flushing, request)
	}
}

// flushed tells those who wait.
func (s *sender) flushed() {
	for _, request := range s.flushing {
		close(request.done)
	}
	s.flushing = nil
}

// send posts a request that holds so many, or gives it up: then it gives false. While somebody waits for a flush each
// request is tried once.
func (s *sender) send(body []byte, count int) bool {
	if s.poster == nil {
		return false
	}
	body = s.poster.encoded(body)
	end := time.Now().Add(s.patience)
	for {
		s.respectSilence(end)
		last := len(s.flushing) > 0
		result := s.poster.post(body, s.deadline(end))
		if !result.again {
			s.backoff = 0
			if result.problem != "" {
				tell(failure, result.problem)
			}
			return result.problem == ""
		}
		s.backOff(result.wait)
		if last || s.silence.After(end) {
			tell(failure, strconv.Itoa(count)+" "+s.noun+" are dropped: "+result.problem)
			return false
		}
		tell(info, s.noun+" are sent again later: "+result.problem)
	}
}

// backOff leaves the collector alone for longer each time, and at least for as long as it asks for.
func (s *sender) backOff(asked time.Duration) {
	s.backoff = 2 * s.backoff
	if s.backoff < firstWait {
		s.backoff = firstWait
	} else if s.backoff > longestWait {
		s.backoff = longestWait
	}
	wait := s.backoff/2 + time.Duration(random()%uint64(s.backoff/2))
	if asked > wait {
		wait = asked
	}
	s.silence = time.Now().Add(wait)
}

// respectSilence leaves the collector alone for as long as it wants, unless somebody waits for a flush.
func (s *sender) respectSilence(end time.Time) {
	until := s.silence
	if until.After(end) {
		until = end
	}
	for len(s.flushing) == 0 && time.Now().Before(until) {
		s.waitUntil(until)
	}
}

// deadline is that of one request: the earliest of its own end, the timeout and the last flush's deadline.
func (s *sender) deadline(end time.Time) time.Time {
	if own := time.Now().Add(s.poster.settings.timeout); own.Before(end) {
		end = own
	}
	var last time.Time
	for _, request := range s.flushing {
		if request.deadline.After(last) {
			last = request.deadline
		}
	}
	if !last.IsZero() && last.Before(end) {
		return last
	}
	return end
}
