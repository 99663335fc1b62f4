"""The columns of a batch of records, read: words as numbers, texts as slices of bytes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

from gotap.probe.record import HEADER, TEXT, VERSION, Column, ColumnKind, Layout
from gotap.signals.codes import Codes, number

#: The value of one column in one record: None (absent), a number, a text, or, in a tuple, a text that was cut.
Key = Hashable


class Input:
    """One column of a batch: record i has `keys[codes[i]]`, texts are numbered when that is first asked for."""

    __slots__ = ("_codes", "_keys", "ordinary", "texts")

    def __init__(self, codes: Codes, keys: list[Key]) -> None:
        self._codes: Codes | None = codes
        self._keys = keys
        self.texts: list[Key] | None = None  # of a text column: the key of every record
        self.ordinary = False  # of a text column: every record has it whole, and none is empty

    @classmethod
    def of_texts(cls, texts: list[Key], ordinary: bool) -> Input:
        one = cls.__new__(cls)
        one._codes, one._keys = None, []
        one.texts, one.ordinary = texts, ordinary
        return one

    @property
    def codes(self) -> Codes:
        self._number()
        assert self._codes is not None
        return self._codes

    @property
    def keys(self) -> list[Key]:
        self._number()
        return self._keys

    def _number(self) -> None:
        if self._codes is None and self.texts is not None:
            self._keys = list(dict.fromkeys(self.texts))
            if len(self._keys) <= 1:
                self._codes = np.zeros(len(self.texts), np.intp)
                return
            code_of = {key: code for code, key in enumerate(self._keys)}
            self._codes = np.fromiter(map(code_of.__getitem__, self.texts), np.intp, len(self.texts))


class Records:
    """A batch of records of one layout and size class, those that are sound; nothing refers to the bytes it came from.

    `rejected` counts records of another version or operation, or that claim more bytes than they are; `broken_texts`
    texts outside of their record, which are read as absent.
    """

    def __init__(self, rows: NDArray[np.uint8], layout: Layout) -> None:
        """`rows` is (n, size)."""
        rows = np.ascontiguousarray(rows)
        header = _header(rows)
        sound = (header["version"] == VERSION) & (header["operation"] == layout.operation_id)
        sound &= (header["used"] >= layout.heap_offset) & (header["used"] <= rows.shape[1])
        self.rejected = int(np.count_nonzero(~sound))
        self.broken_texts = 0
        if self.rejected:
            rows = rows[sound]
            header = _header(rows)
        self.header = header
        # Texts are cut out of one copy of the heaps, which are much shorter than the records' size class.
        self._heap = layout.heap_offset
        self._heap_size = int(header["used"].max(initial=self._heap)) - self._heap
        self._heaps = rows[:, self._heap : self._heap + self._heap_size].tobytes()
        # Column by column, since that is how they are read from here on.
        words = rows[:, HEADER.itemsize : layout.heap_offset].copy().view("<u8")
        self._words = words.T.copy()

    def __len__(self) -> int:
        return len(self.header)

    def read(self, columns: Iterable[Column]) -> dict[str, Input]:
        """The columns by name."""
        return {one.name: self._text(one) if one.kind is ColumnKind.TEXT else self._word(one) for one in columns}

    def _present(self, column: Column) -> NDArray[np.bool_]:
        present: NDArray[np.bool_] = self.header["present"] & np.uint64(1 << column.index) != 0
        return present

    def _word(self, column: Column) -> Input:
        present = self._present(column)
        values = self._words[column.index]
        codes, rows = number(values.view("<i8") if column.kind is ColumnKind.INT else values)
        keys: list[Key] = (values.view("<i8") if column.kind is ColumnKind.INT else values)[rows].tolist()
        if not present.all():
            codes = np.where(present, codes, len(keys))
            keys.append(None)
        return Input(codes, keys)

    def _text(self, column: Column) -> Input:
        present = self._present(column)
        if not present.any():
            return Input.of_texts([None] * len(present), ordinary=False)
        texts = self._words[column.index].view(TEXT)
        offset, kept = texts["offset"].astype(np.intp), texts["kept"].astype(np.intp)
        broken = present & (kept > 0) & ((offset < self._heap) | (offset + kept > self.header["used"]))
        starts = np.arange(len(present)) * self._heap_size + (offset - self._heap)
        pairs = zip(starts.tolist(), (starts + kept).tolist(), strict=True)
        heaps = self._heaps
        pieces: list[Key] = [heaps[start:end] for start, end in pairs]
        cut, absent = kept < texts["length"], ~present | broken
        for row in np.flatnonzero(cut).tolist():
            pieces[row] = (pieces[row],)
        for row in np.flatnonzero(absent).tolist():
            pieces[row] = None
        self.broken_texts += int(np.count_nonzero(broken))
        return Input.of_texts(pieces, ordinary=not (cut | absent | (kept == 0)).any())


def _header(rows: NDArray[np.uint8]) -> NDArray[np.void]:
    header: NDArray[np.void] = rows[:, : HEADER.itemsize].copy().view(HEADER)[:, 0]
    return header
