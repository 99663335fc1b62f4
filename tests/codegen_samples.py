"""Words, columns and layouts that tests of generated programs share."""

from __future__ import annotations

from gotap.bpf.codegen.program import Place, Target
from gotap.image.code import Register
from gotap.probe import ir
from gotap.probe.record import Column, ColumnKind, Layout

TGID = 4711
G = 0xC000001000
GOID = 17
STACK_HIGH = 0xC000100000
SP = STACK_HIGH - 0x400
REQUEST = 0xC000010000

TARGET = Target(
    3, TGID, TGID, 0x10000, ir.Load(ir.Goroutine(), 152, 8, False, True), ir.Load(ir.Goroutine(), 8, 8, False, True)
)
ARGUMENT = ir.Input("argument", 0, 0, 8, False)
HERE = Place({ARGUMENT: Register("rax")}, None, 0)

DEPTH = Column("depth", ColumnKind.KEPT, 0)
CONTEXT = Column("context", ColumnKind.KEPT, 1)
PATH = Column("path", ColumnKind.TEXT, 2, 64)
QUERY = Column("query", ColumnKind.TEXT, 3, 512)
STATUS = Column("status", ColumnKind.INT, 4)
KIND = Column("kind", ColumnKind.TYPE, 5)
LAYOUT = Layout("test", 1, (DEPTH, CONTEXT, PATH, QUERY, STATUS, KIND))


def load(base: ir.Word, offset: int = 0, size: int = 8, signed: bool = False) -> ir.Load:
    return ir.Load(base, offset, size, signed, True)


def text(base: ir.Word, offset: int = 0) -> ir.Text:
    return ir.Text(load(base, offset), load(base, offset + 8))


def capture(column: Column, value: ir.Word | ir.Text, *conditions: ir.Word) -> ir.Capture:
    return ir.Capture(column, (ir.Alternative(conditions, value),))


CONTEXT_ARGUMENT = ir.Input("argument", 1, 0, 8, False)

SWISS = ir.SwissLayout(16, 24, 16, 24, 8, 24, 40, 40, 328)
SPLIT = ir.SwissLayout(16, 24, 16, 24, 8, 136, 16, 24, 328)
BUCKETS = ir.BucketLayout(9, 16, 24, 8, 136, 328, 16, 24)


def header_text(layout: ir.BucketLayout | ir.SwissLayout, key: bytes) -> ir.Alternative:
    element = ir.MapElement(ARGUMENT, layout, key)
    first = load(element)
    some = ir.Compare(">", load(element, 8), ir.Const(0), True)
    return ir.Alternative((some,), ir.Text(load(first), load(first, 8)))
