package gotaprt

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"time"
	"unicode/utf8"
)

// Field numbers are those of opentelemetry-proto 1.x: trace.proto, common.proto, resource.proto, trace_service.proto.

// The wire types of protobuf, as they stand in a field's tag.
const (
	varintType  = 0
	fixed64Type = 1
	bytesType   = 2
	fixed32Type = 5
)

// errorStatus is STATUS_CODE_ERROR.
const errorStatus = 2

// The bits of Span.flags and Link.flags (trace.proto, SpanFlags).
const (
	sampledFlag     = 0x1
	hasIsRemoteFlag = 0x100
	isRemoteFlag    = 0x200
)

func appendTag(to []byte, field, wire int) []byte {
	return binary.AppendUvarint(to, uint64(field<<3|wire))
}

func appendVarint(to []byte, field int, value uint64) []byte {
	return binary.AppendUvarint(appendTag(to, field, varintType), value)
}

func appendFixed64(to []byte, field int, value uint64) []byte {
	return binary.LittleEndian.AppendUint64(appendTag(to, field, fixed64Type), value)
}

func appendFixed32(to []byte, field int, value uint32) []byte {
	return binary.LittleEndian.AppendUint32(appendTag(to, field, fixed32Type), value)
}

func appendBytes(to []byte, field int, value []byte) []byte {
	return append(binary.AppendUvarint(appendTag(to, field, bytesType), uint64(len(value))), value...)
}

// toUTF8 makes a text UTF-8, which all have to be: collectors refuse the whole request otherwise.
func toUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func appendText(to []byte, field int, value string) []byte {
	value = toUTF8(value)
	return append(binary.AppendUvarint(appendTag(to, field, bytesType), uint64(len(value))), value...)
}

// encoder makes Export…ServiceRequests. It keeps its buffers.
type encoder struct {
	resource []byte // the field of ResourceSpans and of ResourceMetrics
	scopes   []scoped
	span     []byte
	part     []byte
	whole    []byte // the last request
	epoch    int64  // when `began` was, in nanoseconds since 1970, by the clock as it is now set
}

// scoped is a ScopeSpans or ScopeMetrics: what one library's instrumentation has made.
type scoped struct {
	library string
	message []byte
}

func newEncoder(resource []attribute) encoder {
	var e encoder
	var attributes []byte
	for i := range resource {
		attributes = appendAttribute(attributes, 1, &resource[i])
	}
	e.resource = appendBytes(nil, 1, attributes)
	return e
}

// setEpoch reads the clock, which may have been set since.
func (e *encoder) setEpoch() {
	now := time.Now()
	e.epoch = now.UnixNano() - int64(now.Sub(began))
}

// within appends a span or metric to what the library has among the scopes. The instrumentation's version is gotap's,
// and so is its name where it is no library's.
func (e *encoder) within(scopes []scoped, library string, message []byte) []scoped {
	for i := range scopes {
		if scopes[i].library == library {
			scopes[i].message = appendBytes(scopes[i].message, 2, message)
			return scopes
		}
	}
	if len(scopes) < cap(scopes) {
		scopes = scopes[:len(scopes)+1] // whose message is a buffer
	} else {
		scopes = append(scopes, scoped{})
	}
	name := library
	if name == "" {
		name = "gotap"
	}
	one := &scopes[len(scopes)-1]
	one.library = library
	one.message = appendBytes(one.message[:0], 1, appendText(appendText(nil, 1, name), 2, Version))
	one.message = appendBytes(one.message, 2, message)
	return scopes
}

// enclosed gives the request: one resource with these scopes. It lies in a buffer that the next one is made in.
func (e *encoder) enclosed(scopes []scoped) []byte {
	size := len(e.resource)
	for i := range scopes {
		size += sizeOfBytes(2, len(scopes[i].message))
	}
	to := binary.AppendUvarint(appendTag(e.whole[:0], 1, bytesType), uint64(size))
	to = append(to, e.resource...)
	for i := range scopes {
		to = appendBytes(to, 2, scopes[i].message)
	}
	e.whole = to
	return to
}

// sizeOfBytes is how long appendBytes makes a field of so many bytes.
func sizeOfBytes(field, length int) int {
	return sizeOfVarint(uint64(field<<3)) + sizeOfVarint(uint64(length)) + length
}

// sizeOfVarint is how long a number is: seven bits a byte, and one byte for 0.
func sizeOfVarint(number uint64) int { return (bits.Len64(number|1) + 6) / 7 }

// request gives an ExportTraceServiceRequest of finished spans.
func (e *encoder) request(records []*record) []byte {
	e.setEpoch()
	e.scopes = e.scopes[:0]
	for _, r := range records {
		e.encodeSpan(r)
		e.scopes = e.within(e.scopes, r.scope, e.span)
		r.giveRoom()
	}
	return e.enclosed(e.scopes)
}

func (e *encoder) encodeSpan(r *record) {
	to := appendBytes(e.span[:0], 1, r.traceID[:])
	to = appendBytes(to, 2, r.spanID[:])
	if r.traceState != "" {
		to = appendText(to, 3, r.traceState)
	}
	if r.parentID != [8]byte{} {
		to = appendBytes(to, 4, r.parentID[:])
	}
	to = appendText(to, 5, r.name)
	to = appendVarint(to, 6, uint64(r.kind))
	to = appendFixed64(to, 7, uint64(e.epoch+int64(r.start)))
	to = appendFixed64(to, 8, uint64(e.epoch+int64(r.end)))
	for i := range r.attributes {
		to = appendAttribute(to, 9, &r.attributes[i])
	}
	if r.lost > 0 {
		to = appendVarint(to, 10, uint64(r.lost))
	}
	if r.link != nil {
		link := appendBytes(e.part[:0], 1, r.link.traceID[:])
		link = appendBytes(link, 2, r.link.spanID[:])
		if r.link.traceState != "" {
			link = appendText(link, 3, r.link.traceState)
		}
		e.part = appendFixed32(link, 6, spanFlags(r.link.sampled, false))
		to = appendBytes(to, 13, e.part)
	}
	if r.failed {
		status := e.part[:0]
		if r.message != "" {
			status = appendText(status, 2, r.message)
		}
		e.part = appendVarint(status, 3, errorStatus)
		to = appendBytes(to, 15, e.part)
	}
	e.span = appendFixed32(to, 16, spanFlags(true, r.remote))
}

// spanFlags are the W3C flags and whether the parent, or what is linked to, is in another process.
func spanFlags(sampled, remote bool) uint32 {
	flags := uint32(hasIsRemoteFlag)
	if sampled {
		flags |= sampledFlag
	}
	if remote {
		flags |= isRemoteFlag
	}
	return flags
}

// appendAttribute writes a KeyValue. Lengths are computed before what they are of is written: of all that a span holds,
// attributes are most.
func appendAttribute(to []byte, field int, one *attribute) []byte {
	key, text, value := toUTF8(one.key), "", 0
	switch one.kind {
	case textKind:
		text = toUTF8(one.text)
		value = sizeOfBytes(1, len(text))
	case boolKind, intKind:
		value = 1 + sizeOfVarint(one.number)
	case floatKind:
		value = 1 + 8
	}
	to = binary.AppendUvarint(appendTag(to, field, bytesType), uint64(sizeOfBytes(1, len(key))+sizeOfBytes(2, value)))
	to = append(binary.AppendUvarint(appendTag(to, 1, bytesType), uint64(len(key))), key...)
	to = binary.AppendUvarint(appendTag(to, 2, bytesType), uint64(value))
	switch one.kind {
	case textKind:
		to = append(binary.AppendUvarint(appendTag(to, 1, bytesType), uint64(len(text))), text...)
	case boolKind:
		to = appendVarint(to, 2, one.number)
	case intKind:
		to = appendVarint(to, 3, one.number)
	case floatKind:
		to = appendFixed64(to, 4, one.number)
	}
	return to
}
