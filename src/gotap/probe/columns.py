"""Hands out the columns of one record."""

from __future__ import annotations

from gotap.errors import GotapError
from gotap.probe.record import SIZE_CLASSES, Column, ColumnKind, Layout

#: A record's `present` has one bit for each.
MOST_COLUMNS = 64


class Columns:
    """A name captured at several places is one column of one kind."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}

    def add(self, name: str, kind: ColumnKind, limit: int = 0) -> Column:
        known = self.columns.get(name)
        if known is None:
            known = self.columns[name] = Column(name, kind, len(self.columns), limit)
        elif known.kind is not kind and {known.kind, kind} != {ColumnKind.INT, ColumnKind.UINT}:
            raise GotapError(
                f"the catalogue captures `{name}` as {known.kind.value} and as {kind.value}",
                "capture one kind of value",
            )
        return known

    def layout(self, operation: str, number: int, largest: int = SIZE_CLASSES[-1]) -> Layout:
        """The layout of all columns so far, of which `largest` bytes may be a record."""
        layout = Layout(operation, number, tuple(self.columns.values()))
        limits = [column.limit for column in layout.columns]
        # Texts are not split: where the first part of a record ends, less than the longest one's bytes stay unused.
        room = largest - layout.heap_offset - max(limits, default=0)
        if len(layout.columns) > MOST_COLUMNS or sum(limits) > room:
            raise GotapError(
                f"{operation} captures more than a record holds ({MOST_COLUMNS} columns, {room} bytes of text)",
                "lower the limits",
            )
        return layout
