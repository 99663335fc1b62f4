"""How one attribute is made of the columns of a batch: a bound conversion, and what it made of values it has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gotap.probe.convert import Convert, Cut, Param, Result, Value, conversion
from gotap.probe.record import Attribute, Column, ColumnKind, Layout
from gotap.signals import batch
from gotap.signals.codes import Codes, combine
from gotap.signals.inputs import Input, Key, RawTexts
from gotap.signals.memory import Memory

_UNKNOWN = object()

#: Free texts are numbered when each occurs this often; when not, that is tried again so many batches later.
_REPEATED, _PAUSE = 8, 31

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class Plan:
    """One attribute of an operation."""

    def __init__(
        self,
        attribute: Attribute,
        layout: Layout,
        options: Mapping[str, Param],
        type_name: Callable[[int], str],
        grouped: bool,
    ) -> None:
        """`grouped`: spans are named or counted by it, so even free texts are numbered. Raises ConversionError."""
        chosen = conversion(attribute.conversion)
        by_name = {column.name: column for column in layout.columns}
        self.key = attribute.key
        self.columns = [by_name.get(name) for name in attribute.inputs]
        self._result = chosen.result
        self._free = chosen.free and not grouped
        self._verbatim = chosen.verbatim
        self._convert: Convert = chosen.bind(attribute, options)
        self._type_name = type_name
        self._memory: Memory[Key, Any] = Memory()
        self._separator = chosen.separator
        self._pause = self._doubt = 0  # batches in which something is not tried

    def column(self, inputs: Mapping[str, Input], length: int) -> batch.Column:
        used = [None if column is None else inputs[column.name] for column in self.columns]
        if all(one is None or one.same for one in used):
            keys = tuple(None if one is None else one.keys[0] for one in used)
            return batch.Same(_text(self._value(keys[0] if len(keys) == 1 else keys)))
        if len(used) == 1 and (one := used[0]) is not None:
            if self._free and one.texts is not None and not self._repeats(one.texts):
                return self._free_texts(one.texts)
            return self._numbered(self._values(one.keys), one.codes)
        codes, rows = combine([(one.codes, len(one.keys)) for one in used if one is not None], length)
        combinations = [
            tuple(None if one is None else one.keys[0 if one.same else one.codes[row]] for one in used)
            for row in rows.tolist()
        ]
        return self._numbered(self._values(combinations), codes)

    def _repeats(self, texts: RawTexts) -> bool:
        """Whether a column of free texts has few distinct ones now, and so is cheaper numbered; tried now and then."""
        if self._pause:
            self._pause -= 1
            return False
        repeats = texts.repeat(_REPEATED)
        self._pause = 0 if repeats else _PAUSE
        return repeats

    def _free_texts(self, texts: RawTexts) -> batch.Texts:
        """Texts of which most may be different are not numbered, and those that stay as they are not looked at."""
        some = texts.present & (texts.lengths > 0)
        others = texts.cut & texts.present
        if not texts.heap.isascii():
            others |= some & ~_ascii(texts)
        if not self._verbatim and not self._stay(texts, np.flatnonzero(some & ~others)):
            others |= some
        starts, lengths = texts.starts, np.where(some, texts.lengths, -1)
        if not others.any():
            return batch.Texts.within(texts.heap, starts, lengths)
        changed = np.flatnonzero(others)
        made = batch.Texts(self._values(texts.keys(changed)))
        starts = starts.copy()
        starts[changed] = made.starts + len(texts.heap)
        lengths[changed] = made.lengths
        return batch.Texts.within(texts.heap + made.heap, starts, lengths)

    def _stay(self, texts: RawTexts, rows: Codes) -> bool:
        """Whether those texts all stay as they are, as one conversion of them together tells; tried now and then."""
        if not self._separator or self._doubt:
            self._doubt = max(self._doubt - 1, 0)
            return False
        joined = self._separator.join([str(key, "ascii") for key in texts.keys(rows)])  # type: ignore[call-overload]
        stay = not joined or self._convert(joined) == joined
        self._doubt = 0 if stay else _PAUSE
        return stay

    def _values(self, keys: Sequence[Key]) -> list[Any]:
        """The attribute for each of these keys; free texts as UTF-8. A key of several inputs is the tuple of theirs."""
        known = self._memory.get
        values = [known(key, _UNKNOWN) for key in keys]
        for index in [index for index, value in enumerate(values) if value is _UNKNOWN]:
            values[index] = self._value(keys[index])
        return values

    def _value(self, key: Key) -> Any:
        value = self._memory.get(key, _UNKNOWN)
        if value is not _UNKNOWN:
            return value
        keys: Any = (key,) if len(self.columns) == 1 else key
        result: Value | bytes | None = self._convert(*map(self._python, keys, self.columns))
        if isinstance(result, int) and not _INT64_MIN <= result <= _INT64_MAX:
            result = None  # OTLP has no such integer
        if self._free and isinstance(result, str):
            result = result.encode("utf-8", "replace")
        return self._memory.keep(key, result)

    def _python(self, key: Any, column: Column | None) -> Value | None:
        """What the conversion is given."""
        if key is None or column is None:
            return None
        if isinstance(key, tuple):
            return Cut(key[0].decode("utf-8", "ignore"))  # a cut inside a character is no invalid text
        if isinstance(key, bytes):
            return key.decode("utf-8", "replace")
        if column.kind is ColumnKind.TYPE:
            return self._type_name(key) if key else ""
        return bool(key) if column.kind is ColumnKind.BOOL else int(key)

    def _numbered(self, values: list[Any], codes: Codes) -> batch.Column:
        """The attribute's column: record i has `values[codes[i]]`."""
        if len(values) == 1:
            return batch.Same(_text(values[0]))
        if self._result is Result.TEXT:
            return _coded([_text(value) for value in values], codes)
        present = np.array([value is not None for value in values], np.bool_)[codes]
        if self._result is Result.INT:
            return batch.Ints(np.array([int(value or 0) for value in values], np.int64)[codes], present)
        return batch.Bools(np.array([bool(value) for value in values], np.bool_)[codes], present)


def _text(value: Any) -> Any:
    """Free texts are remembered as UTF-8."""
    return value.decode() if isinstance(value, bytes) else value


def _coded(values: list[str | None], codes: Codes) -> batch.Coded:
    numbers: dict[str, int] = {}
    table = [-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values]
    return batch.Coded(np.array(table, np.int32)[codes], list(numbers))


def _ascii(texts: RawTexts) -> NDArray[np.bool_]:
    """For each text whether it is ASCII."""
    heap = texts.heap
    ends = texts.starts + texts.lengths
    found = [heap[start:end].isascii() for start, end in zip(texts.starts.tolist(), ends.tolist(), strict=True)]
    return np.array(found, np.bool_)
