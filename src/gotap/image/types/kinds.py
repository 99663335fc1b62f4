"""reflect's numbering of kinds, which Go's linker also writes into DWARF."""

from __future__ import annotations

from gotap.image.types.gotypes import Kind

#: reflect.Kind → Kind; index 0 is reflect.Invalid. Source: internal/abi/type.go, the same in Go 1.18–1.27.
REFLECT_KINDS: tuple[Kind | None, ...] = (
    None,
    Kind.BOOL,
    *(Kind.INT,) * 5,  # int, int8, int16, int32, int64
    *(Kind.UINT,) * 6,  # uint, uint8, uint16, uint32, uint64, uintptr
    *(Kind.FLOAT,) * 2,
    *(Kind.COMPLEX,) * 2,
    Kind.ARRAY,
    Kind.CHAN,
    Kind.FUNC,
    Kind.INTERFACE,
    Kind.MAP,
    Kind.POINTER,
    Kind.SLICE,
    Kind.STRING,
    Kind.STRUCT,
    Kind.UNSAFE_POINTER,
)
