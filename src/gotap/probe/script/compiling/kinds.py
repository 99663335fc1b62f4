"""What the words of a script are: values that are no Go types of the program, and how each is written in the end."""

from __future__ import annotations

from gotap.image.types.gotypes import Kind, Type
from gotap.probe import ir
from gotap.probe.record import ColumnKind
from gotap.probe.script.bound import Part, PartKind
from gotap.probe.typing import UINT
from gotap.probe.value import Value, is_dynamic_type, text_of

DURATION = Type("time.Duration", Kind.INT, 8)
#: CLOCK_MONOTONIC, nanoseconds.
MOMENT = Type("gotap.time", Kind.UINT, 8)
#: An address of code in the process.
CODE = Type("gotap.code", Kind.UINT, 8)
#: The number of a site, of which one text is meant.
SITE = {facet: Type(f"gotap.site.{facet}", Kind.UINT, 8) for facet in ("func", "pkg", "file", "line")}
SPAN_ID = Type("gotap.spanid", Kind.UINT, 8)
TRACE_ID = Type("gotap.traceid", Kind.ARRAY, 16, count=16)
STACK = Type("gotap.stack", Kind.ARRAY, 0)

#: The reason for which a goroutine waits: its number, written as the runtime does.
WAIT_REASON = Type("runtime.waitReason", Kind.UINT, 1)

_PARTS = {
    DURATION.name: Part(PartKind.DURATION, type=DURATION.name),
    MOMENT.name: Part(PartKind.TIME),
    CODE.name: Part(PartKind.CODE),
    SPAN_ID.name: Part(PartKind.BYTES),
    **{type.name: Part(PartKind.SITE, facet=facet) for facet, type in SITE.items()},  # type: ignore[arg-type]
}
_SCALARS = {
    Kind.INT: PartKind.INT,
    Kind.UINT: PartKind.UINT,
    Kind.BOOL: PartKind.BOOL,
    Kind.UNSAFE_POINTER: PartKind.UINT,
}

COLUMN_KINDS = {
    PartKind.INT: ColumnKind.INT,
    PartKind.DURATION: ColumnKind.INT,
    PartKind.BOOL: ColumnKind.BOOL,
    PartKind.TYPE: ColumnKind.TYPE,
    PartKind.TEXT: ColumnKind.TEXT,
    PartKind.VALUE: ColumnKind.VALUE,
    PartKind.STACK: ColumnKind.STACK,
}


def is_special(type: Type) -> bool:
    """Whether a type is none of the program's, or one that is written in a way of its own."""
    return type.name in _PARTS or type.name == WAIT_REASON.name or is_dynamic_type(type)


def scalar_part(value: Value) -> Part | None:
    """How a value of one word is written; None for texts and for values that take more to be shown."""
    type = value.type
    if type.name in _PARTS:
        return _PARTS[type.name]
    if is_dynamic_type(type):
        return Part(PartKind.TYPE)
    if type.kind in _SCALARS and type.size <= 8:
        return Part(_SCALARS[type.kind], type=type.name)
    return None


def as_word(value: Value) -> Value:
    """What stands for a value in keys and variables: of a function its code, of a pointer or channel the address."""
    if value.type.kind is Kind.FUNC:
        return Value(CODE, {0: ir.Load(value.word(0), 0, 8, False, True)})
    if value.type.kind in (Kind.POINTER, Kind.CHAN, Kind.MAP) and not is_dynamic_type(value.type):
        return Value(UINT, {0: value.word(0)}, promised=False)
    return value


def text_part(value: Value, limit: int) -> Part | None:
    """How a text is written, of which `limit` bytes are kept."""
    return Part(PartKind.TEXT, 8 + limit, type=value.type.name) if text_of(value) is not None else None


def column_kind(part: Part) -> ColumnKind:
    return COLUMN_KINDS.get(part.kind, ColumnKind.UINT)
