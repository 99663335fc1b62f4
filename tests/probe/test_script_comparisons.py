"""Comparisons of times and floats, as words, against Python's own."""

import operator
import struct
from datetime import UTC, datetime, timedelta

import pytest

from gotap.image.types.gotypes import Kind, Type
from gotap.probe import ir
from gotap.probe.expression import ExpressionError
from gotap.probe.script.compiling.comparisons import float_comparison, time_comparison
from gotap.probe.value import Value

MASK = (1 << 64) - 1
OPERATORS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
             ">=": operator.ge}  # fmt: skip
TIME = Type("time.Time", Kind.STRUCT, 24)


def signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def evaluate(word: ir.Word) -> int:
    """The word by ir's definitions."""
    match word:
        case ir.Const(value):
            return value & MASK
        case ir.Add(left, right):
            return (evaluate(left) + evaluate(right)) & MASK
        case ir.Arithmetic(name, left, right, False):
            one, other = evaluate(left), evaluate(right)
            found = {"<<": lambda: one << other, ">>": lambda: one >> other, "&": lambda: one & other,
                     "|": lambda: one | other, "^": lambda: one ^ other}[name]()  # fmt: skip
            return found & MASK
        case ir.Compare(name, left, right, is_signed):
            one, other = evaluate(left), evaluate(right)
            return int(OPERATORS[name](signed(one), signed(other)) if is_signed else OPERATORS[name](one, other))
        case ir.Conditional(when, then, otherwise):
            return evaluate(then if evaluate(when) else otherwise)
        case ir.Logic("&&", left, right):
            return int(bool(evaluate(left)) and bool(evaluate(right)))
        case ir.Logic("||", left, right):
            return int(bool(evaluate(left)) or bool(evaluate(right)))
        case ir.Not(operand):
            return int(not evaluate(operand))
    raise AssertionError(word)


def time_value(when: datetime, nanoseconds: int, monotonic: bool) -> Value:
    """As time.Now (with a monotonic reading) or time.Date (without) would make it."""
    first = datetime(1885 if monotonic else 1, 1, 1, tzinfo=UTC)
    seconds = (when - first) // timedelta(seconds=1)
    wall = 1 << 63 | seconds << 30 | nanoseconds if monotonic else nanoseconds
    ext = 123456789 if monotonic else seconds
    return Value(TIME, {0: ir.Const(wall), 8: ir.Const(ext)})


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("monotonic", [True, False])
def test_times(name: str, monotonic: bool) -> None:
    limit = datetime(2026, 11, 21, 10, 43, 18, tzinfo=UTC)
    for offset in (-86400, -1, 0, 1, 3600):
        for nanoseconds in (0, 499_999_999, 500_000_000, 999_999_999):
            value = time_value(limit + timedelta(seconds=offset), nanoseconds, monotonic)
            expected = OPERATORS[name]((offset, nanoseconds), (0, 500_000_000))
            for text in ("2026-11-21T10:43:18.5Z", "2026-11-21T12:13:18.500+01:30"):
                assert evaluate(time_comparison(name, value, text)) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-11-21", "2026-13-21T10:43:18Z", "2026-11-21T10:43:18"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ExpressionError, match="is no time"):
        time_comparison("<", time_value(datetime(2026, 1, 1, tzinfo=UTC), 0, False), text)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("size", [4, 8])
def test_floats(name: str, size: int) -> None:
    numbers = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 1e10, -1e10, float("inf"), float("-inf")]
    for held in numbers:
        bits = int.from_bytes(struct.pack("<f" if size == 4 else "<d", held), "little")
        value = Value(Type(f"float{8 * size}", Kind.FLOAT, size), {0: ir.Const(bits)})
        for limit in numbers:
            assert evaluate(float_comparison(name, value, limit)) == OPERATORS[name](held, limit), (held, limit)
