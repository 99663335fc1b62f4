package gotaprt

import (
	"strings"
	"testing"
)

// withSilence is withLocal with what a woven runtime knows of a goroutine's silence, for one goroutine.
func withSilence(outcome *uint8, low uint64, use func()) {
	withLocal(func() {
		silent := false
		Silence.Enter = func(threshold, seed uint64) (uint64, uint8) {
			switch {
			case Local.Get() != nil:
				return 0, elsewhere
			case silent:
				return 0, within
			}
			silent = *outcome == refused
			return low, *outcome
		}
		Silence.Leave = func() { silent = false }
		Silence.In = func() bool { return silent }
		defer func() { Silence.Enter, Silence.Leave, Silence.In = nil, nil, nil }()
		use()
	})
}

func TestNothingIsRecordedInACallThatIsNotSampled(t *testing.T) {
	outcome := refused
	c := &Class{Name: "x", Kind: Client}
	for _, s := range []sampler{{always / 2, true}, {always / 2, false}} {
		records := with(s, func() {
			withSilence(&outcome, 0, func() {
				outer := BeginCall("outer")
				if outer != quiet || outer.IsRecording() || Current() != nil || Logged(nil) != nil {
					t.Error(outer)
				}
				inner := BeginCall("inner")
				_, other := Begin(nil, "other")
				if inner != nil || other != nil {
					t.Error(inner, other)
				}
				for i := 0; i < 100; i++ {
					var op Operation
					c.Begin(&op, nil, nil, nil)
					if parent, _ := op.Headers(); op.Recording() || !strings.HasSuffix(parent, "-00") {
						t.Error(parent)
					}
					op.Finish(nil)
				}
				EndCall(&inner, nil)
				EndCall(&outer, nil)
				outcome = taken
				next := BeginCall("next", "key", "value")
				EndCall(&next, nil)
				outcome = refused
			})
		})
		if len(records) != 1 || records[0].name != "next" || len(records[0].attributes) != 1 || records[0].parentID != [8]byte{} {
			t.Error(len(records))
		}
	}
}

func TestASampledCallHasTheIDThatWasDecidedOn(t *testing.T) {
	outcome := taken
	records := with(sampler{always / 2, true}, func() {
		withSilence(&outcome, 0x123456789abcdef0, func() {
			outer := BeginCall("outer")
			inner := BeginCall("inner")
			EndCall(&inner, nil)
			EndCall(&outer, nil)
		})
	})
	found := byName(records)
	if id := hexadecimal(found["outer"].traceID[8:]); id != "123456789abcdef0" || found["inner"].traceID != found["outer"].traceID {
		t.Error(id)
	}
}

func TestUnsampledTracesAreThoseThatTheSamplerRefuses(t *testing.T) {
	for _, threshold := range []uint64{0, 1, always / 2, always - 1} {
		s := sampler{threshold, false}
		for i := 0; i < 1000; i++ {
			if id := unsampledTrace(s); id.sampled || s.child(&id) {
				t.Fatal(threshold, id)
			}
		}
	}
}
