"""The frame of one routine: its columns, what is captured into them and when, its events."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from gotap.probe import ir
from gotap.probe.columns import Columns
from gotap.probe.expression import ExpressionError
from gotap.probe.record import Column, ColumnKind, Layout
from gotap.probe.script.bound import EventSpec, Part, PartKind
from gotap.probe.script.compiling.globals import Globals
from gotap.probe.script.compiling.kinds import STACK, TRACE_ID, column_kind, is_special, scalar_part, text_part
from gotap.probe.script.routine import CaptureStack, CaptureValue
from gotap.probe.shapes import Shapes
from gotap.probe.signature import UNIVERSE
from gotap.probe.typing import pieces
from gotap.probe.value import NotAtHand, Value, text_of


class Captured(Struct):
    """What is to be stored into columns at one moment."""

    captures: list[ir.Capture] = field(default_factory=list)
    values: list[CaptureValue] = field(default_factory=list)
    stacks: list[CaptureStack] = field(default_factory=list)


class FrameBuilder:
    """`number`: of the layout."""

    def __init__(self, shared: Globals, shapes: Shapes | None, number: int, name: str) -> None:
        self.shared = shared
        self.shapes = shapes
        self.number = number
        self.name = name
        self.columns = Columns()
        self.events: list[EventSpec] = []
        self.has_values = False

    def layout(self, largest: int) -> Layout:
        return self.columns.layout(self.name, self.number, largest)

    def event(self, spec: EventSpec) -> int:
        number = len(self.events)
        self.events.append(spec)
        self.shared.events[self.number, number] = spec
        return number

    def capture(self, value: Value, conditions: Sequence[ir.Word], into: Captured, limit: int | None = None) -> Part:
        """Arranges that a value is stored; the part says where, and how it is to be written."""
        limit = self.shared.limits.text if limit is None else limit
        if value.type is STACK:
            return self._stack(value, into)
        if value.type is TRACE_ID:
            return self._trace_id(value, conditions, into)
        if self._says_more(value):
            return self._value(value, conditions, into)
        part = text_part(value, limit)
        text = text_of(value) if part is not None else None
        if isinstance(text, ir.ConstText):
            return Part(PartKind.CONSTANT, constant=text.value.decode("utf-8", "replace"))
        if isinstance(text, ir.KeptText):
            return _in_column(part or Part(PartKind.TEXT), text.column)
        if part is None or text is None:
            part = scalar_part(value)
            if part is None:
                return self._value(value, conditions, into)
            part = self.shared.named(part)
            word = value.word(0, value.type.size, part.kind is PartKind.INT)
            if isinstance(word, ir.Kept):
                return _in_column(part, word.column)
            if isinstance(word, ir.Const):
                constant: int | bool = bool(word.value) if part.kind is PartKind.BOOL else word.value
                return Part(PartKind.CONSTANT if part.kind in _PLAIN else part.kind, constant=constant, type=part.type)
        column = self._column(column_kind(part), limit if text is not None else 0)
        alternative = ir.Alternative(tuple(conditions), text if text is not None else word)
        into.captures.append(ir.Capture(column, (alternative,)))
        return _in_column(part, column)

    def _says_more(self, value: Value) -> bool:
        """Whether a value of one word, or a text, is written otherwise than that: bytes, and types with names of their
        own, whose values may have texts (time.Month).
        """
        if self.shapes is None or value.text is not None or is_special(value.type):
            return False
        if text_of(value) is None and scalar_part(value) is None:
            return False
        if any(isinstance(word, ir.Kept | ir.Const) for word in (value.words or {}).values()):
            return False
        return value.type.name not in UNIVERSE

    def keep(self, value: Value, conditions: Sequence[ir.Word], into: Captured) -> Value:
        """Arranges that a value is stored at a call's entry; the result is that value at the call's end."""
        text = text_of(value)
        if text is not None:
            column = self._column(ColumnKind.TEXT, self.shared.limits.text)
            into.captures.append(ir.Capture(column, (ir.Alternative(tuple(conditions), text),)))
            return Value(value.type, {}, text=ir.KeptText(column), missing="it was kept as a text")
        words: dict[int, ir.Word] = {}
        parts = pieces(value.type)
        if len(parts) > _MOST_PIECES:
            raise ExpressionError(f"a {value.type.name} is too large to be kept for the return", "select a part of it")
        for offset, size, signed in parts:
            column = self._column(ColumnKind.INT if signed else ColumnKind.UINT, 0)
            word = value.word(offset, size, signed)
            into.captures.append(ir.Capture(column, (ir.Alternative(tuple(conditions), word),)))
            words[offset] = ir.Kept(column)
        return Value(value.type, words, promised=False)

    def _column(self, kind: ColumnKind, limit: int) -> Column:
        return self.columns.add(f"c{len(self.columns.columns)}", kind, limit)

    def _stack(self, value: Value, into: Captured) -> Part:
        frames = value.word(0)
        assert isinstance(frames, ir.Const)
        column = self._column(ColumnKind.STACK, 8 * frames.value)
        into.stacks.append(CaptureStack(column, ir.Stack(frames.value)))
        return Part(PartKind.STACK, 8 * frames.value, column=column)

    def _trace_id(self, value: Value, conditions: Sequence[ir.Word], into: Captured) -> Part:
        first = self._column(ColumnKind.UINT, 0)
        second = self._column(ColumnKind.UINT, 0)
        for column, offset in ((first, 0), (second, 8)):
            into.captures.append(ir.Capture(column, (ir.Alternative(tuple(conditions), value.word(offset)),)))
        return Part(PartKind.BYTES, 16, column=first)

    def _value(self, value: Value, conditions: Sequence[ir.Word], into: Captured) -> Part:
        """A value of any shape, with what it leads to."""
        if self.shapes is None:
            raise ExpressionError(f"a {value.type.name} cannot be taken along here", "select a part of it")
        type = value.type
        size = min(type.size, self.shared.limits.total // _SHARE)
        column = self._column(ColumnKind.VALUE, size)
        number = self.shapes.number(type)
        gaps: list[tuple[int, int, str]] = []
        if value.words is None:
            assert value.base is not None
            address: ir.Word = ir.Add(value.base, ir.Const(value.offset)) if value.offset else value.base
            into.values.append(CaptureValue(column, number, size, address=address, when=tuple(conditions)))
        else:
            parts: list[tuple[int, int, ir.Word]] = []
            for offset, width, signed in pieces(type):
                try:
                    parts.append((offset, width, value.word(offset, width, signed)))
                except NotAtHand as error:
                    gaps.append((offset, width, str(error)))
            into.values.append(CaptureValue(column, number, size, tuple(parts), when=tuple(conditions)))
        self.has_values = True
        return Part(PartKind.VALUE, type.size, column=column, type=type.name, go_type=type, gaps=tuple(gaps))


#: Kinds of constants that are written as they are.
_PLAIN = (PartKind.INT, PartKind.UINT, PartKind.BOOL)
#: What of an event one value's own bytes may take: one part of so many.
_SHARE = 8
#: Words of one value that are kept over a call.
_MOST_PIECES = 8


def _in_column(part: Part, column: Column) -> Part:
    return replace(part, column=column)
