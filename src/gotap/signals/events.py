"""Records of a script's probes → events as columns: one batch for each kind of event, no Python object per record until
its values are asked for.

A value is a plain int, bool or str where Go's was one that needs no more to be said, a list of frames where it is a
stack, else one of gotap.signals.values. Durations are nanoseconds and times Unix nanoseconds, told apart by their Part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.probe.record import TEXT, Column, ColumnKind, Layout
from gotap.probe.script.bound import EventSpec, Part, PartKind, SiteInfo
from gotap.probe.script.record import EVENT, EventFlags
from gotap.probe.script.routine import Ended
from gotap.signals.clock import Clock
from gotap.signals.stacks import Frame
from gotap.signals.values import PAGE_ABSENT, Memory, Moments, Unavailable, Value
from gotap.signals.values.scalars import text

Rows = NDArray[np.uint8]
Words = NDArray[np.uint64]

#: Said of a column that the probe could not fill.
UNREADABLE = Unavailable("it could not be read")
NO_ROOM = Unavailable("no room in the event: raise --max-bytes")

#: Columns that lead into the heap.
_IN_HEAP = (ColumnKind.TEXT, ColumnKind.VALUE, ColumnKind.STACK)


class Names(Protocol):
    """What an address, a site or a type of the target is called; what a Go value's bytes mean.

    `bias`: addresses of the process are so much above the executable's.
    """

    @property
    def bias(self) -> int: ...

    def code(self, address: int) -> str: ...

    def type(self, address: int) -> str: ...

    def site(self, number: int) -> SiteInfo | None: ...

    def stack(self, addresses: Sequence[int]) -> list[Frame]: ...

    def memory(self, record: bytes, start: int, end: int, flags: int) -> Moments:
        """The memory that an event brought along: its chunks stand between `start` and `end`; 0: it has none."""
        ...

    def value(self, part: Part, root: bytes, memory: Memory) -> Value:
        """`root`: the value's own bytes."""
        ...


class Field(Struct, frozen=True):
    """One argument, result or printed word of all events of a batch."""

    name: str
    part: Part
    values: list[Any]


class Events(Struct, frozen=True):
    """n events of one kind, in the order in which they came.

    `time`: Unix ns, of a call's end. `order`: by what all events of the target can be sorted. `latency`: ns, of calls
    that have ended, else None. `goid` 0: not a goroutine. `site` None: at no place in the program's text.
    `function`: at that place, of a generic one the instance; empty at none. `fields`: what is printed; of a call its
    arguments. `results` and `stack` of calls.
    """

    spec: EventSpec
    time: list[int]
    order: list[int]
    pid: list[int]
    tid: list[int]
    goid: list[int]
    site: list[SiteInfo | None]
    function: list[str]
    weight: list[int]
    ended: list[int]
    latency: list[int] | None
    fields: tuple[Field, ...]
    results: tuple[Field, ...] = ()
    stack: list[list[Frame]] | None = None

    def __len__(self) -> int:
        return len(self.time)


class EventDecoder:
    """Decodes the records of one layout."""

    def __init__(
        self, layout: Layout, specs: Mapping[int, EventSpec], names: Names, clock: Clock, *, sited: bool = True
    ) -> None:
        """`specs`: by EVENT.event. `sited`: the routine runs at sites of the target."""
        self.layout = layout
        self._specs = specs
        self._names = names
        self._clock = clock
        self._sited = sited
        self.rejected = 0  # records that are of no known event

    def decode(self, rows: Rows) -> Iterator[Events]:
        """`rows`: (n, size) of records of one size."""
        rows = np.ascontiguousarray(rows)
        head = rows[:, : EVENT.itemsize].copy().view(EVENT)[:, 0]
        kinds = head["event"]
        for kind in np.flatnonzero(np.bincount(kinds)).tolist():
            spec = self._specs.get(kind)
            chosen = kinds == kind
            if spec is None:
                self.rejected += int(chosen.sum())
            elif chosen.all():
                yield self._events(spec, head, rows)
            else:
                yield self._events(spec, head[chosen], rows[chosen])

    def _events(self, spec: EventSpec, head: NDArray[Any], rows: Rows) -> Events:
        batch = _Batch(head, rows, self._names, self._clock.offset())
        ended = head["end"] != 0
        moment = np.where(ended, head["end"], head["begin"]).astype(np.int64)
        arguments = ((str(number), part) for number, part in enumerate(spec.arguments))
        sites = self._sites(head["site"].tolist())
        return Events(
            spec,
            time=(moment + batch.offset).tolist(),
            order=head["sequence"].tolist(),
            pid=head["pid"].tolist(),
            tid=head["tid"].tolist(),
            goid=head["goid"].tolist() if spec.goid is None else batch.numbers(spec.goid),
            site=sites,
            function=batch.functions(spec, sites),
            weight=head["weight"].tolist(),
            ended=head["ended"].tolist(),
            latency=(head["end"] - head["begin"]).tolist() if ended.all() else None,
            fields=batch.fields((*spec.args, *arguments)),
            results=batch.fields(spec.results),
            stack=None if spec.stack is None else batch.values(spec.stack),
        )

    def _sites(self, numbers: list[int]) -> list[SiteInfo | None]:
        if not self._sited:
            return [None] * len(numbers)
        known = {number: self._names.site(number) for number in set(numbers)}
        return [known[number] for number in numbers]


class _Batch:
    """Records of one event, taken apart column by column."""

    def __init__(self, head: NDArray[Any], rows: Rows, names: Names, offset: int) -> None:
        self.head = head
        self.rows = rows
        self.names = names
        self.offset = offset  # from CLOCK_MONOTONIC to Unix time
        self._heap: bytes | None = None
        self._memories: list[Moments] | None = None

    def fields(self, parts: Iterable[tuple[str, Part]]) -> tuple[Field, ...]:
        return tuple(Field(name, part, self.values(part)) for name, part in parts)

    def functions(self, spec: EventSpec, sites: Sequence[SiteInfo | None]) -> list[str]:
        names = [site.function if site is not None else "" for site in sites]
        if spec.func is not None:
            told = self.values(spec.func)
            return [one if isinstance(one, str) else name for one, name in zip(told, names, strict=True)]
        if spec.dictionary is None:
            return names
        known, bias = dict(spec.instances), self.names.bias
        dictionaries = self._words(spec.dictionary).tolist()
        return [known.get(address - bias, name) for address, name in zip(dictionaries, names, strict=True)]

    def numbers(self, part: Part) -> list[int]:
        """The part of each event, 0 where it is not known."""
        return [one if isinstance(one, int) else 0 for one in self.values(part)]

    def values(self, part: Part) -> list[Any]:
        """The part of each event."""
        column = part.column
        if part.kind is PartKind.CONSTANT or (column is None and part.constant is not None):
            return [part.constant] * len(self.head)
        if column is None:
            return [Unavailable(part.reason or UNREADABLE.why)] * len(self.head)
        values = self._values(part, column)
        present = self.head["present"] >> np.uint64(column.index) & np.uint64(1) != 0
        if present.all():
            return values
        full = (self.head["flags"] & EventFlags.HEAP_FULL != 0).tolist()
        known = Unavailable(part.reason) if part.reason else None
        return [
            value if there else known or (NO_ROOM if lack else UNREADABLE)
            for value, there, lack in zip(values, present.tolist(), full, strict=True)
        ]

    def _values(self, part: Part, column: Column) -> list[Any]:
        match part.kind:
            case PartKind.INT | PartKind.DURATION:
                return _list(self._words(column).view(np.int64))
            case PartKind.UINT if part.names:
                return [part.names[one] if one < len(part.names) else one for one in _list(self._words(column))]
            case PartKind.UINT:
                return _list(self._words(column))
            case PartKind.BOOL:
                return _list(self._words(column) != 0)
            case PartKind.TIME:
                return _list(self._words(column).view(np.int64) + self.offset)
            case PartKind.TYPE:
                return self._named(column, lambda one: self.names.type(one) if one else None)
            case PartKind.CODE:
                return self._named(column, self.names.code)
            case PartKind.SITE:
                return self._named(column, lambda one: facet(self.names.site(one), part))
            case PartKind.TEXT:
                return [text(kept, length) for kept, length in self._texts(column)]
            case PartKind.BYTES if column.kind in _IN_HEAP:
                return [kept.hex() for kept, _ in self._texts(column)]
            case PartKind.BYTES:
                words = self.rows[:, column.offset : column.offset + part.size]
                return [row.tobytes().hex() for row in words]
            case PartKind.STACK:
                return [self.names.stack(_addresses(kept)) for kept, _ in self._texts(column)]
            case _:
                return self._go_values(part, column)

    def _words(self, column: Column) -> Words:
        """The column's 8 bytes of each record."""
        return np.ascontiguousarray(self.rows[:, column.offset : column.offset + 8]).view(np.uint64)[:, 0]

    def _named(self, column: Column, name: Callable[[int], Any]) -> list[Any]:
        """Names of words, each looked up once."""
        words = self._words(column).tolist()
        known = {word: name(word) for word in set(words)}
        return [known[word] for word in words]

    def _texts(self, column: Column) -> Iterator[tuple[bytes, int]]:
        """(bytes kept, full length) of each record; nothing is kept of what lies outside the record."""
        if self._heap is None:
            self._heap = self.rows.tobytes()
        heap, size = self._heap, self.rows.shape[1]
        texts = self._words(column).view(TEXT)
        used = np.minimum(self.head["used"], size)
        starts = np.minimum(texts["offset"], used)
        ends = np.minimum(starts.astype(np.int64) + texts["kept"], used)
        at = np.arange(len(self.rows)) * size
        columns = zip((at + starts).tolist(), (at + ends).tolist(), texts["length"].tolist(), strict=True)
        return ((heap[start:end], length) for start, end, length in columns)

    def _go_values(self, part: Part, column: Column) -> list[Value]:
        if self._memories is None:
            self._memories = [self._memory(row) for row in range(len(self.rows))]
        positions = self._words(column).view(TEXT)["offset"].tolist()
        return [
            self.names.value(part, kept, memory.at(position)) if kept or not length else Unavailable(PAGE_ABSENT)
            for (kept, length), memory, position in zip(self._texts(column), self._memories, positions, strict=True)
        ]

    def _memory(self, row: int) -> Moments:
        """What pointers of one event lead to."""
        start, flags = int(self.head["chunks"][row]), int(self.head["flags"][row])
        end = min(int(self.head["used"][row]), self.rows.shape[1])
        return self.names.memory(self.rows[row].tobytes() if start else b"", start, end if start else 0, flags)


def _list(column: NDArray[Any]) -> list[Any]:
    values: list[Any] = column.tolist()
    return values


def _addresses(content: bytes) -> list[int]:
    addresses: list[int] = np.frombuffer(content[: len(content) & -8], "<u8").tolist()
    return addresses


def facet(site: SiteInfo | None, part: Part) -> str | int | Unavailable:
    """What a SITE part says of its site."""
    if site is None:
        return UNREADABLE
    facets: dict[str, str | int] = {
        "func": site.function,
        "pkg": site.package,
        "file": site.file,
        "line": site.line,
        "address": site.address,
    }
    return facets[part.facet]


def ended_word(ended: int) -> str | None:
    """As JSON tells it; None: the event is not the end of a call."""
    return {Ended.RETURN: "return", Ended.PANIC: "panic", Ended.GOEXIT: "goexit"}.get(Ended(ended))
