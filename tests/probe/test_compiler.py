"""What the compiler of expressions refuses: comparisons that Go would not compile, and values that are not one word."""

from __future__ import annotations

import pytest

from gotap.image.types.gotypes import Field, Kind, Type, TypeRef
from gotap.probe import ir
from gotap.probe.compiler import Compiler, Scope
from gotap.probe.expression import ExpressionError, parse
from gotap.probe.typing import Types
from gotap.probe.value import Value

_PARTS = {
    "ok": "bool", "number": "int", "small": "uint8", "ratio": "float64", "name": "string", "pointer": "*int",
    "any": "interface {}", "list": "[]int", "map": "map[string]int", "channel": "chan int", "function": "func()",
}  # fmt: skip


class _Nothing:
    def lookup(self, name: str) -> Type | None:
        return None


TYPES = Types(_Nothing(), _Nothing())


def compiled(text: str) -> ir.Word:
    """The expression over `v`, a structure in memory whose fields are _PARTS, 32 bytes apart."""
    fields = tuple(
        Field(name, 32 * place, TypeRef(TYPES.resolve(type))) for place, (name, type) in enumerate(_PARTS.items())
    )
    value = Value(Type("main.v", Kind.STRUCT, 32 * len(fields), fields), None, ir.Goroutine())
    compiler = Compiler(TYPES, lambda _: pytest.fail("no map is looked into"))
    words, found = compiler.value(parse(text), Scope({"v": lambda: value}, "main", {}))
    assert not words
    return found.word(0, min(found.type.size, 8))


@pytest.mark.parametrize(
    "text",
    [
        "v.number <= 3", "v.number < 9223372036854775807", "v.small >= 255", "3 > v.number", "v.ok == true",
        "v.pointer != nil", "v.any == nil", "v.list == nil", "v.map == nil", "nil != v.channel", "v.function == nil",
        'v.name == "GET"', "v.number == len(v.list)", "v.pointer == v.pointer", "v.ok && !v.ok || v.number > 1",
    ],
)  # fmt: skip
def test_what_go_compares(text: str) -> None:
    compiled(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("v.ratio == 1", "float64 cannot be compared with 1 by =="),
        ("v.ratio < v.ratio", "float64 cannot be compared with float64"),
        ("v.number == v.ratio", "int cannot be compared with float64"),
        ("v.name == 1", "string cannot be compared with 1"),
        ("v.name == v.number", "string cannot be compared with int"),
        ("v.number == v.name", "int cannot be compared with string"),
        ('v.number == "GET"', "int cannot be compared with a text"),
        ('v.name < "GET"', "cannot be compared with a text by <"),
        ("v.number == nil", "int cannot be compared with nil"),
        ("v.pointer < nil", r"\*int cannot be compared with nil by <"),
        ("v.pointer == 0", r"\*int cannot be compared with 0"),
        ("v.number == true", "int cannot be compared with true"),
        ("v.ok == 1", "bool cannot be compared with 1"),
        ("v.ok < true", "bool cannot be compared with true by <"),
        ("v.small == 256", "uint8 cannot be compared with 256"),
        ("v.number == v.small", "int cannot be compared with uint8"),
        ("v.any == v.any", "cannot be compared"),
        ("v.list == v.list", "cannot be compared"),
        ("v == 1", "main.v cannot be compared with 1"),
        ("!v.number", "int is neither true nor false"),
        ("v.ok && v.pointer", r"\*int is neither true nor false"),
    ],
)
def test_what_go_does_not_compare_is_refused(text: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why) as refused:
        compiled(text)
    assert refused.value.remedy


def test_the_length_of_a_nil_map_is_absent_and_not_invented() -> None:
    """A load of a nil base fails, and with it the alternative; Go would say 0."""
    word = compiled("len(v.map)")
    assert isinstance(word, ir.Load)
    assert word.promised
