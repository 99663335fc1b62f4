"""Aggregations of scripts: what each keeps, and under which bucket."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from gotap.image.types.gotypes import Kind
from gotap.probe import ir
from gotap.probe.expression import ExpressionError
from gotap.probe.script.bound import SERIES, MapKind, Part, PartKind
from gotap.probe.script.compiling.globals import Maps, key_words
from gotap.probe.script.compiling.kinds import scalar_part
from gotap.probe.script.language import tree as script
from gotap.probe.script.routine import Tally
from gotap.probe.value import Value, text_of

#: Buckets of one power of two, as a power of two: within 3 % of a value.
_QUANTILE_BITS = 5
_MOST_BITS = 5
#: Buckets of a linear histogram.
_MOST_LINEAR = 10_000
#: Slots that a time series keeps when nothing else is said.
_SLOTS = 60
_WORD = Part(PartKind.INT)


def tally(maps: Maps, node: script.Aggregate, keys: Sequence[Value], arguments: Sequence[Value]) -> Tally:
    """The statement for `@m[keys] = hist(latency)`; ExpressionError says what is wrong with the arguments."""
    kind = MapKind(node.function)
    _count_arguments(node.function, len(arguments))
    if kind is MapKind.COUNT:
        spec = maps.tally(node.target.name, keys, kind, _WORD, None, ())
        return Tally(spec.number, key_words(keys), ir.Const(1), signed=False)
    if kind is MapKind.TOP:
        parts = maps.parts([arguments[1]])
        spec = maps.tally(node.target.name, keys, kind, _WORD, parts[0], (_constant(arguments[0], "k"),))
        return Tally(spec.number, (*key_words(keys), *key_words([arguments[1]])), ir.Const(1), signed=False)
    word, part, signed = _number(arguments[0])
    bucket, parameters = _bucket(kind, word, signed, arguments[1:])
    held = replace(part, column=None)
    spec = maps.tally(node.target.name, keys, kind, held, _WORD if bucket is not None else None, parameters)
    words: tuple[ir.Key, ...] = key_words(keys)
    return Tally(spec.number, words if bucket is None else (*words, bucket), word, signed)


def _bucket(
    kind: MapKind, word: ir.Word, signed: bool, more: Sequence[Value]
) -> tuple[ir.Word | None, tuple[int, ...]]:
    if kind is MapKind.HIST:
        bits = _constant(more[0], "the second argument of hist") if more else 0
        if not 0 <= bits <= _MOST_BITS:
            raise ExpressionError(f"hist has 2^k buckets for each power of two, k from 0 to {_MOST_BITS}", "hist(e, 2)")
        return ir.LogLinear(word, bits, signed), (bits,)
    if kind is MapKind.QUANTILE:
        return ir.LogLinear(word, _QUANTILE_BITS, signed), ()
    if kind is MapKind.LHIST:
        low, high, step = (_constant(one, "a bound of lhist") for one in more)
        if step <= 0 or high <= low or (high - low) // step > _MOST_LINEAR:
            raise ExpressionError(
                f"lhist takes a low and a higher bound and a step, {_MOST_LINEAR} buckets at most",
                "lhist(value, 0, 1000, 100)",
            )
        return ir.Linear(word, low, high, step), (low, high, step)
    if kind is MapKind.TSERIES:
        interval = _constant(more[0], "the interval of tseries")
        slots = _constant(more[1], "the number of slots") if len(more) > 1 else _SLOTS
        shown = _series(more[2]) if len(more) > 2 else 0
        if interval <= 0 or slots <= 0:
            raise ExpressionError("tseries takes an interval and a number of slots above 0", "tseries(value, 1s, 60)")
        return ir.Arithmetic("/", ir.Ambient("nsecs"), ir.Const(interval), False), (interval, slots, shown)
    return None, ()


def _series(value: Value) -> int:
    name = value.text.value.decode("utf-8", "replace") if isinstance(value.text, ir.ConstText) else ""
    if name not in SERIES:
        raise ExpressionError("the last argument of tseries says what it shows", f'one of "{"", "".join(SERIES)}"')
    return SERIES.index(name)


_ARGUMENTS = {
    "count": (0, 0), "lhist": (4, 4), "top": (2, 2), "hist": (1, 2), "tseries": (2, 4),
}  # fmt: skip


def _count_arguments(function: str, count: int) -> None:
    least, most = _ARGUMENTS.get(function, (1, 1))
    if not least <= count <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise ExpressionError(
            f"{function} takes {wanted} argument{'s' * (most != 1)}, and there {'is' if count == 1 else 'are'} {count}",
            _EXAMPLES.get(function, f"{function}(latency)"),
        )


_EXAMPLES = {
    "count": "count()", "lhist": "lhist(value, low, high, step)", "top": "top(10, value)", "hist": "hist(value)",
    "tseries": "tseries(value, 1s, 60)",
}  # fmt: skip


def _number(value: Value) -> tuple[ir.Word, Part, bool]:
    part = scalar_part(value) if text_of(value) is None else None
    if part is None or value.type.kind not in (Kind.INT, Kind.UINT, Kind.BOOL):
        raise ExpressionError(f"a {value.type.name} cannot be aggregated", "aggregate a whole number, or use top")
    signed = value.type.kind is Kind.INT
    return value.word(0, value.type.size, signed), part, signed


def _constant(value: Value, what: str) -> int:
    word = (value.words or {}).get(0)
    if isinstance(word, ir.Subtract) and word.left == ir.Const(0) and isinstance(word.right, ir.Const):
        return -word.right.value
    if not isinstance(word, ir.Const):
        raise ExpressionError(f"{what} must be a constant", "write a number")
    return word.value
