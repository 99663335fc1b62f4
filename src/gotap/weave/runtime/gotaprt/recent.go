package gotaprt

import (
	"strings"
	"sync/atomic"
	"time"
)

// Recent finds the point of a histogram by what an operation has captured, for operations of which only the duration is
// wanted: most are like one before them, and what is captured need not be made attributes again. K is the struct of all
// columns that the metric's attributes are made of, and of nothing else. The zero value is empty.
type Recent[K comparable] struct {
	places [16]atomic.Pointer[recentPoint[K]]
	misses atomic.Uint32
}

type recentPoint[K comparable] struct {
	captured K
	point    *point
}

// patience is how many operations find something else in a place before one of them takes it: two that have the same
// place would otherwise both be remembered in vain.
const patience = 8

// Finish ends an operation that is like a recent one. It gives false, and leaves it alone, where there is none, or where
// more is wanted than its duration.
func (r *Recent[K]) Finish(op *Operation, captured *K, place uint) bool {
	if op.Recording() || op.unwound {
		return false
	}
	slot := &r.places[place%uint(len(r.places))]
	known := slot.Load()
	if known == nil || known.captured != *captured {
		return false
	}
	if !op.finishAt(known.point) {
		slot.CompareAndSwap(known, nil)
	}
	return true
}

// Wants tells whether what Finish did not know is to be remembered; at is the point that Operation.Finish gave.
func (r *Recent[K]) Wants(op *Operation, at *point, place uint) bool {
	if at == nil || at.values == nil || op.Recording() || op.unwound {
		return false
	}
	return r.places[place%uint(len(r.places))].Load() == nil || r.misses.Add(1)%patience == 0
}

// Remember keeps what is captured, so that it must be in nobody else's memory.
func (r *Recent[K]) Remember(captured K, at *point, place uint) {
	r.places[place%uint(len(r.places))].Store(&recentPoint[K]{captured, at})
}

// finishAt is Finish for an operation whose attributes are those of a point. It gives false if that takes nothing more.
func (op *Operation) finishAt(p *point) bool {
	_, measured := op.end()
	if !measured {
		return true
	}
	h := op.class.meter.load().histogram
	one := h.measurement((time.Since(began) - op.start).Seconds())
	if p.add(&one) {
		return true
	}
	own := make([]int, len(p.values))
	for i := range own {
		own[i] = i
	}
	h.add(own, p.values, &one)
	return false
}

// Place is the column's share of a place in Recent.
func (t Text) Place() uint { return uint(len(t.text)) }

// Place is the column's share of a place in Recent.
func (i Int) Place() uint { return uint(i.number) }

// Place is the column's share of a place in Recent.
func (b Bool) Place() uint { return uint(b.Int().number) }

// Own is the same text in memory of its own.
func (t Text) Own() Text { return Text{strings.Clone(t.text), t.state} }
