"""Expressions of the catalogue in the form that the Go helper reads."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gotap.probe.expression import (
    Assert,
    Binary,
    Call,
    Expression,
    Index,
    Literal,
    Name,
    Select,
    Unary,
    parse,
)
from gotap.probe.signature import Signature, qualify
from gotap.weave.helper.protocol import Node

#: What a recovering function is given; woven code has it by this name.
_PANIC_VALUE = parse("g._panic.arg")
PANICKED = "panicked"


def node(expression: Expression, place: Signature, imports: Mapping[str, str]) -> Node:
    """`place`: the function in whose package the expression stands, which is that of type names without one; `imports`:
    the library's. What cannot be said there becomes a node that the helper refuses with its name."""

    def inner(one: Expression) -> Node:
        return node(one, place, imports)

    if expression == _PANIC_VALUE:
        return Node("name", name=PANICKED)
    match expression:
        case Name(name=name):
            return Node("name", name=name)
        case Literal():
            return _literal(expression)
        case Select(operand=operand, field=field):
            return Node("select", name=field, of=inner(operand))
        case Index(operand=operand, index=index):
            return Node("index", of=inner(operand), other=inner(index))
        case Assert(operand=operand, type=name):
            return Node("assert", type=qualify(name, place.package, imports), of=inner(operand))
        case Call(function=name, arguments=arguments):
            return Node("call", name=name, arguments=[inner(one) for one in arguments])
        case Unary(operator=operator, operand=operand):
            return Node("unary", name=operator, of=inner(operand))
        case Binary(operator=operator, left=left, right=right):
            return Node("binary", name=operator, of=inner(left), other=inner(right))
    return Node(type(expression).__name__)


def _literal(literal: Literal) -> Node:
    match literal.value:
        case None:
            return Node("literal", name="nil", type="nil")
        case bool(value):
            return Node("literal", name=str(value).lower(), type="bool")
        case int(value):
            return Node("literal", name=str(value), type="int")
        case bytes(value):
            return Node("literal", name=go_text(value.decode("utf-8", "replace")), type="text")
    return Node("literal", name=str(literal.value), type="float")


def go_text(text: str) -> str:
    """A Go string literal. JSON's escapes are Go's but for the surrogate pairs, which ensure_ascii would make."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")
