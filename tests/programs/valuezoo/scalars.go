package main

import (
	"math"
	"strings"
	"unsafe"
)

type level int8

type label string

var anchor = 42

func scalars() {
	add("bool", true)
	add("bool false", false)
	add("int", -5)
	add("int8", int8(math.MinInt8))
	add("int16", int16(math.MinInt16))
	add("int32", int32(math.MinInt32))
	add("int64", int64(math.MinInt64))
	add("uint", uint(math.MaxUint64))
	add("uint8", uint8(255))
	add("uint16", uint16(65535))
	add("uint32", uint32(math.MaxUint32))
	add("uint64", uint64(math.MaxUint64))
	add("uintptr", uintptr(0xdeadbeef))
	add("named int", level(-3))
	add("rune", 'ß')
	for _, f := range []float64{0, math.Copysign(0, -1), 1, 0.1, 100, 99999, 100000, 999999, 1e6, 1234567, 12345678, 1e20, 123456789012345680000, 1e21, 1.5e300, 1e-4,
		1e-5, 123.456e-7, 5e-324, math.MaxFloat64, math.Pi, -2.5, math.NaN(), math.Inf(1), math.Inf(-1), 1 << 53} {
		add("float64", f)
		add("float32", float32(f))
	}
	add("float32 tenth", float32(0.1))
	add("float32 seventh", float32(1)/7)
	add("complex64", complex64(complex(0.1, -2)))
	add("complex128", complex(math.Inf(1), math.NaN()))
	add("complex negative", complex(-1, math.Inf(-1)))
	add("string", "héllo, wörld")
	add("empty string", "")
	add("long string", strings.Repeat("0123456789", 100))
	add("controls", "a\nb\x1b\"\\")
	add("no UTF-8", "ab\xff\xfecd", `ab\xff\xfecd`)
	add("named string", label("tag"))
	add("unsafe.Pointer", unsafe.Pointer(&anchor))
	add("nil unsafe.Pointer", unsafe.Pointer(nil))
}
