package gotaprt

import "sync/atomic"

// spanQueue holds finished spans until the exporter takes them all. Whoever ends a span never waits: a compare-and-swap
// puts it in front of the others, and a span for which there is no room is dropped and counted.
type spanQueue struct {
	newest atomic.Pointer[record]
	// count is of the spans that were finished and neither sent nor dropped, those that the exporter has in hand too.
	count   atomic.Int64
	dropped atomic.Int64 // found no room
	limit   int64
	batch   int64
}

var (
	queue spanQueue
	wake  = make(chan struct{}, 1)
)

func (q *spanQueue) push(r *record) {
	if !exports {
		return
	}
	count := q.count.Add(1)
	if count > q.limit {
		q.count.Add(-1)
		q.dropped.Add(1)
		return
	}
	for {
		newest := q.newest.Load()
		r.next = newest
		if q.newest.CompareAndSwap(newest, r) {
			break
		}
	}
	// The first one starts the exporter's clock; a full batch does not wait for it.
	if count == 1 || count%q.batch == 0 {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// take appends all queued spans to spans, oldest first. It is the exporter's only.
func (q *spanQueue) take(spans []*record) []*record {
	begin := len(spans)
	for r := q.newest.Swap(nil); r != nil; {
		spans = append(spans, r)
		r, r.next = r.next, nil
	}
	for i, j := begin, len(spans)-1; i < j; i, j = i+1, j-1 {
		spans[i], spans[j] = spans[j], spans[i]
	}
	return spans
}
