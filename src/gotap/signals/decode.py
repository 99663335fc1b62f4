"""Records to spans: the columns of one operation's records become the columns of its attributes.

Work is done on whole columns, or once a distinct combination of values; per record and text there remain one slice of
bytes and one look-up. What conversions made of a value is remembered, within a bound, from batch to batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gotap.probe.convert import Convert, Cut, Param, Result, Value, conversion
from gotap.probe.record import (
    HEADER,
    TEXT,
    TRACE_STATE,
    VERSION,
    Attribute,
    Column,
    ColumnKind,
    Output,
    RecordFlags,
)
from gotap.signals import batch
from gotap.signals.clock import Clock
from gotap.signals.codes import Codes, combine, number, numbered, value_at

#: Results a conversion remembers; beyond, it forgets them all and starts anew.
_MEMORY = 8192

#: Span.flags (opentelemetry-proto trace.proto, SpanFlags): the W3C sampled bit, whether `remote` is known, `remote`.
_FLAG_SAMPLED = 0x001
_FLAG_HAS_IS_REMOTE = 0x100
_FLAG_IS_REMOTE = 0x200

_INT64_MAX = 2**63 - 1

ERROR_TYPE = "error.type"

_UNKNOWN = object()


class _Input:
    """One column of a batch, numbered: row i has `keys[codes[i]]`.

    Keys are None (absent), int, bytes, or a tuple of bytes for a text that was cut.
    """

    __slots__ = ("codes", "keys", "pieces")

    def __init__(self, codes: Codes, keys: list[Any], pieces: list[Any] | None = None) -> None:
        self.codes = codes
        self.keys = keys
        self.pieces = pieces  # texts only: the key of every row


class _Plan:
    """How one attribute is made: the bound conversion and what is remembered of its results."""

    def __init__(
        self, attribute: Attribute, output: Output, options: Mapping[str, Param], type_name: Callable[[int], str]
    ) -> None:
        chosen = conversion(attribute.conversion)
        by_name = {column.name: column for column in output.layout.columns}
        self.key = attribute.key
        self.result = chosen.result
        self.columns = [by_name.get(name) for name in attribute.inputs]
        self.free = chosen.free and not _groups_by(output, attribute.key)
        self._convert: Convert = chosen.bind(attribute, options)
        self._type_name = type_name
        self._memory: dict[Hashable, Value | bytes | None] = {}

    def values(self, combinations: list[tuple[Any, ...]]) -> list[Any]:
        """The attribute for each of these combinations of the inputs' keys; free texts as UTF-8."""
        memory = self._memory
        values = [memory.get(keys, _UNKNOWN) for keys in combinations]
        for index, value in enumerate(values):
            if value is _UNKNOWN:
                values[index] = self._learn(combinations[index])
        return values

    def _learn(self, keys: tuple[Any, ...]) -> Value | bytes | None:
        result: Value | bytes | None = self._convert(*map(self._python, keys, self.columns))
        if self.result is Result.INT and result is not None and not -_INT64_MAX - 1 <= int(result) <= _INT64_MAX:
            result = None  # OTLP has no such integer
        if self.free and isinstance(result, str):
            result = result.encode("utf-8", "replace")
        if len(self._memory) >= _MEMORY:
            self._memory.clear()
        self._memory[keys] = result
        return result

    def _python(self, key: Any, column: Column | None) -> Value | None:
        if key is None or column is None:
            return None
        if isinstance(key, tuple):
            return Cut(key[0].decode("utf-8", "ignore"))  # a cut inside a character is no invalid text
        if isinstance(key, bytes):
            return key.decode("utf-8", "replace")
        if column.kind is ColumnKind.TYPE:
            return self._type_name(key) if key else ""
        return bool(key) if column.kind is ColumnKind.BOOL else int(key)


def _groups_by(output: Output, key: str) -> bool:
    """Whether spans are named or counted by that attribute, so that it has few values."""
    return key == ERROR_TYPE or key in output.metric_attributes or key in _Name(output.name).keys


class Decoder:
    """Decodes the records of one operation of one process.

    `type_name` gives the name of the Go type whose descriptor has that unrelocated address. `options` override the
    constants of conversions (`sensitive`, `known`). `rejected` counts records that are not of this version, operation
    or shape; `broken_texts` texts that point outside of their record (they count as absent).
    """

    def __init__(
        self,
        output: Output,
        resource: batch.Resource,
        *,
        type_name: Callable[[int], str],
        clock: Clock,
        options: Mapping[str, Param] = MappingProxyType({}),
    ) -> None:
        self.output = output
        self.resource = resource
        self.rejected = 0
        self.broken_texts = 0
        self._clock = clock
        self._plans = [_Plan(attribute, output, options, type_name) for attribute in output.attributes]
        self._name = _Name(output.name)
        self._trace_state = next((one for one in output.layout.columns if one.name == TRACE_STATE), None)
        self._dtypes: dict[int, np.dtype[Any]] = {}

    def decode(self, rows: NDArray[np.uint8]) -> batch.Spans:
        """Spans of records of one size class: `rows` is (n, size). Nothing of it is referenced afterwards."""
        whole = rows.tobytes()
        records = np.frombuffer(whole, self._dtype(rows.shape[1]))
        sound = self._sound(records, rows.shape[1])
        if not sound.all():
            self.rejected += int(len(sound) - sound.sum())
            whole = rows[sound].tobytes()
            records = np.frombuffer(whole, self._dtype(rows.shape[1]))
        inputs = self._inputs(records, whole)
        attributes = {plan.key: self._attribute(plan, inputs, len(records)) for plan in self._plans}
        return self._spans(records, attributes, inputs)

    def _dtype(self, size: int) -> np.dtype[Any]:
        """A record of that size as a structured type: the header's fields, and `column N` as unsigned words."""
        if size not in self._dtypes:
            columns = self.output.layout.columns
            assert HEADER.fields is not None
            header = {name: (field[0], field[1]) for name, field in HEADER.fields.items()}
            words = {f"column {one.index}": (np.dtype("<u8"), one.offset) for one in columns}
            fields = header | words
            self._dtypes[size] = np.dtype(
                {
                    "names": list(fields),
                    "formats": [kind for kind, _ in fields.values()],
                    "offsets": [offset for _, offset in fields.values()],
                    "itemsize": size,
                }
            )
        return self._dtypes[size]

    def _sound(self, records: NDArray[Any], size: int) -> NDArray[np.bool_]:
        layout = self.output.layout
        used = records["used"]
        sound: NDArray[np.bool_] = (
            (records["version"] == VERSION)
            & (records["operation"] == layout.operation_id)
            & (used >= layout.heap_offset)
            & (used <= size)
        )
        return sound

    def _inputs(self, records: NDArray[Any], whole: bytes) -> dict[str, _Input]:
        inputs: dict[str, _Input] = {}
        wanted = {column.name: column for plan in self._plans for column in plan.columns if column is not None}
        if self._trace_state is not None:
            wanted[TRACE_STATE] = self._trace_state
        for column in wanted.values():
            words = records[f"column {column.index}"]
            present = (records["present"] >> np.uint64(column.index)) & np.uint64(1) != 0
            read = self._texts if column.kind is ColumnKind.TEXT else _words
            inputs[column.name] = read(column, words, present, records, whole)
        return inputs

    def _texts(
        self, column: Column, words: NDArray[Any], present: NDArray[np.bool_], records: NDArray[Any], whole: bytes
    ) -> _Input:
        length = len(words)
        if not present.any():
            return _Input(np.zeros(length, np.intp), [None], [None] * length)
        texts = np.ascontiguousarray(words).view(TEXT)
        offset, kept = texts["offset"].astype(np.intp), texts["kept"].astype(np.intp)
        inside = (offset >= self.output.layout.heap_offset) & (offset + kept <= records["used"])
        broken = present & ~inside & (kept > 0)
        starts = np.arange(length) * records.dtype.itemsize + offset
        ends = starts + kept
        pieces: list[Any] = [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        for row in np.flatnonzero(kept < texts["length"]).tolist():
            pieces[row] = (pieces[row],)
        for row in np.flatnonzero(~present | broken).tolist():
            pieces[row] = None
        self.broken_texts += int(np.count_nonzero(broken))
        keys = list(dict.fromkeys(pieces))
        if len(keys) == 1:
            return _Input(np.zeros(length, np.intp), keys, pieces)
        code_of = {key: code for code, key in enumerate(keys)}
        codes = np.fromiter(map(code_of.__getitem__, pieces), np.intp, length)
        return _Input(codes, keys, pieces)

    def _attribute(self, plan: _Plan, inputs: Mapping[str, _Input], length: int) -> batch.Column:
        used = [None if column is None else inputs[column.name] for column in plan.columns]
        if len(used) == 1 and used[0] is not None:
            codes = used[0].codes
            combinations: list[tuple[Any, ...]] = [(key,) for key in used[0].keys]
        else:
            codes, rows = combine([(one.codes, len(one.keys)) for one in used if one is not None], length)
            combinations = [
                tuple(None if one is None else one.keys[one.codes[row]] for one in used) for row in rows.tolist()
            ]
        return _column(plan, plan.values(combinations), codes)

    def _spans(
        self, records: NDArray[Any], attributes: dict[str, batch.Column], inputs: Mapping[str, _Input]
    ) -> batch.Spans:
        flags = records["flags"]
        sampled = (flags & RecordFlags.SAMPLED) != 0
        remote = (flags & RecordFlags.REMOTE_PARENT) != 0
        offset = np.uint64(self._clock.offset() % 2**64)
        begin = records["begin"]
        error = attributes.get(ERROR_TYPE)
        length = len(records)
        return batch.Spans(
            output=self.output,
            resource=self.resource,
            trace_id=np.ascontiguousarray(records["trace_id"]),
            span_id=np.ascontiguousarray(records["span_id"]),
            parent_id=np.ascontiguousarray(records["parent_id"]),
            trace_state=self._trace_states(inputs, length),
            flags=(_FLAG_HAS_IS_REMOTE + remote * _FLAG_IS_REMOTE + sampled * _FLAG_SAMPLED).astype(np.uint32),
            sampled=sampled,
            start=begin + offset,
            end=np.maximum(records["end"], begin) + offset,
            name=self._name.column(attributes, length),
            error=numbered(error)[0] > 0 if error is not None else np.zeros(length, np.bool_),
            attributes=attributes,
        )

    def _trace_states(self, inputs: Mapping[str, _Input], length: int) -> batch.Texts:
        found = inputs.get(TRACE_STATE)
        if found is None or found.pieces is None or found.keys == [None]:
            return batch.Texts([None] * length)
        return batch.Texts([_trace_state(piece) if piece else None for piece in found.pieces])


def _words(
    column: Column, words: NDArray[Any], present: NDArray[np.bool_], records: NDArray[Any], whole: bytes
) -> _Input:
    values = words.view(np.int64) if column.kind is ColumnKind.INT else words
    codes, rows = number(values)
    keys: list[Any] = values[rows].tolist()
    if not present.all():
        codes = np.where(present, codes, len(keys))
        keys.append(None)
    return _Input(codes, keys)


def _column(plan: _Plan, values: list[Any], codes: Codes) -> batch.Column:
    """The attribute's column: row i has `values[codes[i]]`."""
    if plan.result is Result.TEXT and plan.free:
        return batch.Texts([values[code] for code in codes.tolist()])
    if plan.result is Result.TEXT:
        numbers: dict[str, int] = {}
        table = [-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values]
        return batch.Coded(np.array(table, np.int32)[codes], list(numbers))
    present = np.array([value is not None for value in values], np.bool_)[codes]
    if plan.result is Result.INT:
        return batch.Ints(np.array([int(value or 0) for value in values], np.int64)[codes], present)
    return batch.Bools(np.array([bool(value) for value in values], np.bool_)[codes], present)


def _trace_state(piece: bytes | tuple[bytes]) -> bytes | None:
    """The tracestate header; one that was cut loses its last entry whole (W3C Trace Context §3.3.1.5)."""
    if isinstance(piece, tuple):
        piece = piece[0].rpartition(b",")[0]
    return piece if piece and piece.isascii() else None


class _Name:
    """A span name's template, `Output.name`."""

    _PLACE = re.compile(r"(?P<blank> ?)\{(?P<key>[^{}|]+)(?:\|(?P<old>[^{}=]*)=(?P<new>[^{}]*))?\}")

    def __init__(self, template: str) -> None:
        self._template = template
        self.keys = tuple(dict.fromkeys(match["key"] for match in self._PLACE.finditer(template)))

    def column(self, attributes: Mapping[str, batch.Column], length: int) -> batch.Coded:
        columns = {key: attributes[key] for key in self.keys if key in attributes}
        codes, rows = combine([numbered(column) for column in columns.values()], length)
        numbers: dict[str, int] = {}
        table = [
            numbers.setdefault(self._text({key: value_at(one, row) for key, one in columns.items()}), len(numbers))
            for row in rows.tolist()
        ]
        return batch.Coded(np.array(table, np.int32)[codes], list(numbers))

    def _text(self, values: Mapping[str, Value | None]) -> str:
        def place(match: re.Match[str]) -> str:
            value = values.get(match["key"])
            if value is None:
                return ""
            shown = str(value)
            return match["blank"] + (match["new"] if match["old"] is not None and shown == match["old"] else shown)

        return self._PLACE.sub(place, self._template).strip()
