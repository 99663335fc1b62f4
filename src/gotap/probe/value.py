"""Typed Go values as expressions see them: words at hand, or a place in the process's memory."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from gotap.image.types.gotypes import Field, Kind, Type
from gotap.probe import expression as tree
from gotap.probe import ir
from gotap.probe.typing import STRING

#: What `typeof` gives: a runtime type descriptor's address.
TYPE = Type("*internal/abi.Type", Kind.POINTER, 8)


class Value(Struct, frozen=True):
    """A typed Go value: `words` (offset → word) when it lives in registers, else memory at `base + offset`.

    `promised`: pointers in it were read from a live Go value, so Go's types promise that they are valid or nil.
    `text`: what it is when it is a text that does not stand in the process's memory as a Go string.
    `missing`: why a part that is not in `words` cannot be had.
    """

    type: Type
    words: Mapping[int, ir.Word] | None = None
    base: ir.Word | None = None
    offset: int = 0
    promised: bool = True
    text: ir.AnyText | None = None
    missing: str = ""

    def word(self, offset: int = 0, size: int = 8, signed: bool = False) -> ir.Word:
        if self.words is not None:
            if offset not in self.words:
                raise NotAtHand(
                    self.missing or f"a part of a {self.type.name} value is not at hand", "use a simpler expression"
                )
            return self.words[offset]
        assert self.base is not None
        return ir.Load(self.base, self.offset + offset, size, signed, self.promised)


class NotAtHand(tree.ExpressionError):
    """A value, or a part of one, that exists and cannot be read there: a float in a register, optimised out."""


def text_of(value: Value) -> ir.AnyText | None:
    """The text that a string or a slice of bytes is; None of other values."""
    if value.text is not None:
        return value.text
    if value.type.kind is Kind.STRING or (value.type.kind is Kind.SLICE and elem_size(value.type) == 1):
        return ir.Text(value.word(0), value.word(8))
    return None


def is_dynamic_type(type: Type) -> bool:
    return type is TYPE


def is_text(type: Type) -> bool:
    return type is STRING or type.kind is Kind.STRING or type.kind is Kind.SLICE


def elem_size(type: Type) -> int:
    return type.elem.get().size if type.elem is not None else 0


def part(value: Value, step: Field) -> Value:
    type = step.type.get()
    if value.words is None:
        return replace(value, type=type, offset=value.offset + step.offset)
    inside = {
        offset - step.offset: word
        for offset, word in value.words.items()
        if step.offset <= offset < step.offset + max(type.size, 1)
    }
    return replace(value, type=type, words=inside)


def find_field(type: Type, name: str) -> list[Field] | None:
    """Go's selector rule: the shallowest field of that name, through embedded structs and pointers to structs."""
    level: list[tuple[Type, list[Field]]] = [(type, [])]
    for _ in range(6):
        deeper: list[tuple[Type, list[Field]]] = []
        for structure, path in level:
            for one in structure.fields:
                if one.name == name:
                    return [*path, one]
                if one.embedded:
                    inner = one.type.get()
                    if inner.kind is Kind.POINTER and inner.elem is not None:
                        inner = inner.elem.get()
                    deeper.append((inner, [*path, one]))
        level = deeper
    return None
