package gotaprt

import (
	"context"
	"strings"
)

// The lengths of version 00 of traceparent: 2 digits, 32, 16 and 2, with hyphens between them.
const (
	traceParentLength = 55
	flagsAt           = 53
)

// parseTraceParent reads the header of W3C Trace Context; later versions are read as far as version 00 goes.
func parseTraceParent(text string) (id identity, ok bool) {
	if len(text) < traceParentLength || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return id, false
	}
	var version, flags [1]byte
	if !parseHex(version[:], text) || !parseHex(flags[:], text[flagsAt:]) ||
		!parseHex(id.traceID[:], text[3:]) || !parseHex(id.spanID[:], text[36:]) {
		return identity{}, false
	}
	switch {
	case version[0] == 0xff, id.traceID == [16]byte{}, id.spanID == [8]byte{}:
		return identity{}, false
	case len(text) > traceParentLength && (version[0] == 0 || text[traceParentLength] != '-'):
		return identity{}, false
	}
	id.sampled, id.remote = flags[0]&1 != 0, true
	return id, true
}

// parentOf reads the headers of a message: exactly one traceparent, and what trace states there are beside it.
func parentOf(headers map[string][]string) (id identity, ok bool) {
	parents := headers["Traceparent"]
	if len(parents) != 1 {
		return id, false
	}
	if id, ok = parseTraceParent(parents[0]); !ok {
		return id, false
	}
	switch states := headers["Tracestate"]; len(states) {
	case 0:
	case 1:
		id.traceState = parseTraceState(states[0])
	default:
		id.traceState = parseTraceState(strings.Join(states, ","))
	}
	anyRemote.Store(true)
	return id, true
}

// The limits of tracestate (W3C Trace Context, section 3.3.1): entries, and the characters of a key and of a value.
const (
	stateEntries = 32
	stateText    = 256
	stateLength  = 512 // what everybody has to pass on; longer ones lose their last entries
)

// parseTraceState gives the header as it is to be passed on, and nothing if it is not valid.
func parseTraceState(text string) string {
	text = strings.Trim(text, " \t")
	if text == "" {
		return ""
	}
	entries := strings.Split(text, ",")
	kept := make([]string, 0, len(entries))
	length := -1
	seen := make(map[string]bool, len(entries))
	for _, entry := range entries {
		entry = strings.Trim(entry, " \t")
		if entry == "" {
			continue
		}
		key, value, found := strings.Cut(entry, "=")
		if !found || !isStateKey(key) || !isStateValue(value) || seen[key] {
			return ""
		}
		seen[key] = true
		if length += len(entry) + 1; length <= stateLength {
			kept = append(kept, entry)
		}
	}
	if len(seen) > stateEntries {
		return ""
	}
	return strings.Join(kept, ",")
}

// isStateKey follows the grammar of section 3.3.1.3.1 in level 2, which has no other form for keys with a tenant.
func isStateKey(key string) bool {
	if len(key) == 0 || len(key) > stateText || !isLowerOrDigit(key[0]) {
		return false
	}
	for i := 1; i < len(key); i++ {
		if !isLowerOrDigit(key[i]) && strings.IndexByte("_-*/@", key[i]) < 0 {
			return false
		}
	}
	return true
}

func isLowerOrDigit(one byte) bool {
	return 'a' <= one && one <= 'z' || '0' <= one && one <= '9'
}

func isStateValue(value string) bool {
	if len(value) == 0 || len(value) > stateText || value[len(value)-1] == ' ' {
		return false
	}
	for i := 0; i < len(value); i++ {
		if value[i] < ' ' || value[i] > '~' || value[i] == ',' || value[i] == '=' {
			return false
		}
	}
	return true
}

// Headers gives the values of traceparent and tracestate for a request that is made under s, or if s is nil, under the
// span of ctx, else the goroutine's. Where nothing is sampled it says so: whoever is asked would begin a trace
// otherwise. Empty values are not to be sent.
func Headers(ctx context.Context, s *Span) (traceParent, traceState string) {
	if inert || !propagates {
		return "", ""
	}
	if s == nil {
		s = FromContext(ctx)
	}
	if s == nil {
		s = Current()
	}
	if s == nil {
		unknown := newTrace(sampler{})
		return formatTraceParent(&unknown), ""
	}
	return formatTraceParent(&s.identity), s.traceState
}

func formatTraceParent(id *identity) string {
	room := [traceParentLength]byte{'0', '0', 2: '-', 35: '-', 52: '-', 53: '0', 54: '0'}
	putHex(room[3:], id.traceID[:])
	putHex(room[36:], id.spanID[:])
	if id.sampled {
		room[54] = '1'
	}
	return string(room[:])
}

func putHex(to, bytes []byte) {
	for i, one := range bytes {
		to[2*i], to[2*i+1] = digits[one>>4], digits[one&15]
	}
}
