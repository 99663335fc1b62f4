"""Records to spans: the columns of one operation's records become the columns of its attributes.

Work is done on whole columns, or once a distinct combination of values; texts stay where they are, in the records'
heaps, unless a conversion changes them. What conversions made of a value is remembered, within a bound, from batch to
batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gotap.probe.convert import Param, Value
from gotap.probe.record import TRACE_STATE, Output, RecordFlags
from gotap.signals import batch
from gotap.signals.clock import Clock
from gotap.signals.codes import combine, numbered, present, value_at
from gotap.signals.inputs import Input, Key, Records
from gotap.signals.memory import Memory
from gotap.signals.plan import Plan

#: Span.flags (opentelemetry-proto trace.proto, SpanFlags): the W3C sampled bit, whether `remote` is known, `remote`.
_FLAG_SAMPLED = 0x001
_FLAG_HAS_IS_REMOTE = 0x100
_FLAG_IS_REMOTE = 0x200

ERROR_TYPE = "error.type"


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
        """Raises ConversionError if the output names conversions that do not exist."""
        self.output = output
        self.resource = resource
        self.rejected = 0
        self.broken_texts = 0
        self._clock = clock
        self._name = _Name(output.name)
        grouped = {ERROR_TYPE, *output.metric_attributes, *self._name.keys}
        self._plans = [
            Plan(attribute, output.layout, options, type_name, attribute.key in grouped)
            for attribute in output.attributes
        ]
        wanted = {one for plan in self._plans for one in plan.columns if one is not None}
        wanted |= {one for one in output.layout.columns if one.name == TRACE_STATE}
        self._wanted = sorted(wanted, key=lambda column: column.index)

    def decode(self, rows: NDArray[np.uint8]) -> batch.Spans:
        """Spans of records of one size class: `rows` is (n, size). Nothing of it is referenced afterwards."""
        records = Records(rows, self.output.layout)
        inputs = records.read(self._wanted)
        self.rejected += records.rejected
        self.broken_texts += records.broken_texts
        attributes = {plan.key: plan.column(inputs, len(records)) for plan in self._plans}
        return self._spans(records.header, attributes, inputs)

    def _spans(
        self, header: NDArray[np.void], attributes: dict[str, batch.Column], inputs: Mapping[str, Input]
    ) -> batch.Spans:
        flags, begin = header["flags"], header["begin"]
        sampled = (flags & RecordFlags.SAMPLED) != 0
        remote = (flags & RecordFlags.REMOTE_PARENT) != 0
        offset = np.uint64(self._clock.offset() % 2**64)
        error = attributes.get(ERROR_TYPE)
        length = len(header)
        return batch.Spans(
            output=self.output,
            resource=self.resource,
            trace_id=np.ascontiguousarray(header["trace_id"]),
            span_id=np.ascontiguousarray(header["span_id"]),
            parent_id=np.ascontiguousarray(header["parent_id"]),
            trace_state=_trace_states(inputs.get(TRACE_STATE), remote),
            flags=(_FLAG_HAS_IS_REMOTE + remote * _FLAG_IS_REMOTE + sampled * _FLAG_SAMPLED).astype(np.uint32),
            sampled=sampled,
            start=begin + offset,
            end=np.maximum(header["end"], begin) + offset,
            name=self._name.column(attributes, length),
            error=present(error, length) if error is not None else np.zeros(length, np.bool_),
            attributes=attributes,
        )


def _trace_states(found: Input | None, remote: NDArray[np.bool_]) -> batch.Texts:
    """Only beside a valid traceparent: without one the header is discarded (W3C Trace Context §3.3.1)."""
    if found is None:
        return batch.Texts.none(len(remote))
    if found.same:
        state = _trace_state(found.keys[0])
        if state is None:
            return batch.Texts.none(len(remote))
        return batch.Texts.within(state, np.zeros(len(remote), np.intp), np.where(remote, len(state), -1))
    assert found.texts is not None
    values: list[bytes | None] = [None] * len(remote)
    rows = np.flatnonzero(remote & found.texts.present)
    for row, text in zip(rows.tolist(), found.texts.keys(rows), strict=True):
        values[row] = _trace_state(text)
    return batch.Texts(values)


def _trace_state(text: Key) -> bytes | None:
    """The tracestate header; one that was cut loses its last entry whole (W3C Trace Context §3.3.1.5)."""
    if isinstance(text, tuple):
        text = text[0].rpartition(b",")[0]
    return text if isinstance(text, bytes) and text and text.isascii() else None


class _Name:
    """A span name's template, `Output.name`."""

    _PLACE = re.compile(r"(?P<blank> ?)\{(?P<keys>[^{}|]+)(?:\|(?P<old>[^{}=]*)=(?P<new>[^{}]*))?\}")

    def __init__(self, template: str) -> None:
        self._template = template
        self._known: Memory[tuple[Value | None, ...], str] = Memory()
        places = self._PLACE.finditer(template)
        self.keys = tuple(dict.fromkeys(key for match in places for key in match["keys"].split(",")))

    def column(self, attributes: Mapping[str, batch.Column], length: int) -> batch.Coded:
        columns = {key: attributes[key] for key in self.keys if key in attributes}
        codes, rows = combine([numbered(column) for column in columns.values()], length)
        numbers: dict[str, int] = {}
        table = []
        for row in rows.tolist():
            values = tuple(value_at(column, row) for column in columns.values())
            table.append(numbers.setdefault(self._remembered(tuple(columns), values), len(numbers)))
        return batch.Coded(np.array(table, np.int32)[codes], list(numbers))

    def _remembered(self, keys: tuple[str, ...], values: tuple[Value | None, ...]) -> str:
        text = self._known.get(values)
        return self._known.keep(values, self._text(dict(zip(keys, values, strict=True)))) if text is None else text

    def _text(self, values: Mapping[str, Value | None]) -> str:
        def place(match: re.Match[str]) -> str:
            present = (values[key] for key in match["keys"].split(",") if values.get(key) is not None)
            value = next(present, None)
            if value is None:
                return ""
            shown = str(value)
            return match["blank"] + (match["new"] if match["old"] is not None and shown == match["old"] else shown)

        return self._PLACE.sub(place, self._template).strip()
