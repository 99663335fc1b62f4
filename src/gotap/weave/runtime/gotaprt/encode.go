package gotaprt

import (
	"encoding/binary"
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

// appendText writes a string, which has to be UTF-8: collectors refuse the whole request otherwise.
func appendText(to []byte, field int, value string) []byte {
	if !utf8.ValidString(value) {
		value = strings.ToValidUTF8(value, "\uFFFD")
	}
	return append(binary.AppendUvarint(appendTag(to, field, bytesType), uint64(len(value))), value...)
}

// encoder makes Export…ServiceRequests. It keeps its buffers.
type encoder struct {
	resource []byte // the field of ResourceSpans and of ResourceMetrics
	scopes   []scoped
	span     []byte
	part     []byte
	value    []byte
	epoch    int64 // when `began` was, in nanoseconds since 1970, by the clock as it is now set
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
		attributes = e.appendAttribute(attributes, 1, &resource[i])
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

// enclosed gives the request: one resource with these scopes.
func (e *encoder) enclosed(scopes []scoped) []byte {
	size := len(e.resource)
	for i := range scopes {
		size += len(scopes[i].message) + 16
	}
	inner := append(make([]byte, 0, size), e.resource...)
	for i := range scopes {
		inner = appendBytes(inner, 2, scopes[i].message)
	}
	return appendBytes(make([]byte, 0, len(inner)+16), 1, inner)
}

// request gives an ExportTraceServiceRequest of finished spans.
func (e *encoder) request(records []*record) []byte {
	e.setEpoch()
	e.scopes = e.scopes[:0]
	for _, r := range records {
		e.encodeSpan(r)
		e.scopes = e.within(e.scopes, r.scope, e.span)
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
		to = e.appendAttribute(to, 9, &r.attributes[i])
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

// appendAttribute writes a KeyValue.
func (e *encoder) appendAttribute(to []byte, field int, one *attribute) []byte {
	value := e.value[:0]
	switch one.kind {
	case textKind:
		value = appendText(value, 1, one.text)
	case boolKind:
		value = appendVarint(value, 2, one.number)
	case intKind:
		value = appendVarint(value, 3, one.number)
	case floatKind:
		value = appendFixed64(value, 4, one.number)
	}
	e.value = value
	e.part = appendBytes(appendText(e.part[:0], 1, one.key), 2, value)
	return appendBytes(to, field, e.part)
}
