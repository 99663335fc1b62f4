package gotaprt

import "encoding/binary"

// always is the threshold below which every trace lies.
const always uint64 = 1 << 63

// sampler decides which spans are recorded: those of traces whose id, its last 8 bytes read big-endian and halved, is
// below the threshold, as in the SDK of OpenTelemetry (sdk/trace/sampling.go, traceIDRatioSampler, v1.40), so that all
// services of a trace agree. parentBased: a span that has a parent does as the parent does.
type sampler struct {
	threshold   uint64
	parentBased bool
}

// takes decides by the last 8 bytes of a trace's id.
func (s sampler) takes(low uint64) bool {
	return low>>1 < s.threshold
}

func (s sampler) child(parent *identity) bool {
	if s.parentBased {
		return parent.sampled
	}
	return s.takes(binary.BigEndian.Uint64(parent.traceID[8:]))
}

// samplers are the values of OTEL_TRACES_SAMPLER; those whose name ends in traceidratio take their threshold from
// OTEL_TRACES_SAMPLER_ARG.
var samplers = map[string]sampler{
	"always_on":                {always, false},
	"always_off":               {0, false},
	"traceidratio":             {always, false},
	"parentbased_always_on":    {always, true},
	"parentbased_always_off":   {0, true},
	"parentbased_traceidratio": {always, true},
}
