"""The columns of a batch of records, read: words as numbers, texts as places in the records' heaps."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

from gotap.probe.record import HEADER, TEXT, VERSION, Column, ColumnKind, Layout
from gotap.signals.codes import Codes, number
from gotap.signals.texts import FEWEST, LONGEST, number_texts

#: The value of one column in one record: None (absent), a number, a text, or, in a tuple, a text that was cut.
Key = Hashable


_NO_CODES: Codes = np.zeros(0, np.intp)

#: So few texts are cut out of the heap without making one object of it.
_FEW = 8


class Input:
    """One column of a batch: record i has `keys[codes[i]]`. `texts` says where the texts of a text column lie."""

    __slots__ = ("_codes", "_keys", "texts")

    def __init__(self, codes: Codes | None, keys: list[Key], texts: RawTexts | None = None) -> None:
        self._codes = codes
        self._keys = keys
        self.texts = texts

    @property
    def same(self) -> bool:
        """Whether it is known that all records have the same; then its codes are of no use."""
        return len(self._keys) == 1

    @property
    def codes(self) -> Codes:
        self._number()
        assert self._codes is not None
        return self._codes

    @property
    def keys(self) -> list[Key]:
        self._number()
        return self._keys

    @classmethod
    def constant(cls, key: Key) -> Input:
        return cls(_NO_CODES, [key])

    def _number(self) -> None:
        """Texts are numbered when that is first asked for."""
        if self._codes is None and self.texts is not None:
            self._codes, self._keys = self.texts.codes_and_keys()


class RawTexts:
    """The texts of one column: text i is the `lengths[i]` bytes (0: absent) from `starts[i]` on in the heap."""

    __slots__ = ("_heap", "_numbered", "cut", "lengths", "present", "starts")

    def __init__(
        self, heap: Heap, starts: Codes, lengths: Codes, cut: NDArray[np.bool_], present: NDArray[np.bool_]
    ) -> None:
        self._heap = heap
        self.starts, self.lengths = starts, lengths
        self.cut = cut
        self.present = present
        self._numbered: tuple[Codes, Codes] | None = None

    @property
    def heap(self) -> bytes:
        return self._heap.content

    def keys(self, rows: Codes) -> list[Key]:
        """The texts of those rows."""
        starts = self.starts[rows]
        pairs = zip(starts.tolist(), (starts + self.lengths[rows]).tolist(), strict=True)
        if len(rows) > _FEW:
            heap = self._heap.content
            found: list[Key] = [heap[start:end] for start, end in pairs]
        else:
            found = [self._heap.array[start:end].tobytes() for start, end in pairs]
        for row in np.flatnonzero(self.cut[rows]).tolist():
            found[row] = (found[row],)
        for row in np.flatnonzero(~self.present[rows]).tolist():
            found[row] = None
        return found

    def numbered(self) -> tuple[Codes, Codes] | None:
        """(codes, rows) as of `number`; None: the texts are few or long, and to be looked at one by one."""
        if len(self.starts) < FEWEST or int(self.lengths.max()) > LONGEST:
            return None
        if self._numbered is None:
            marks = np.where(self.present, self.cut.astype(np.intp), 2)
            self._numbered = number_texts(self._heap.array, self.starts, self.lengths, marks)
        return self._numbered

    def codes_and_keys(self) -> tuple[Codes, list[Key]]:
        """As in Input."""
        if (found := self.numbered()) is not None:
            return found[0], self.keys(found[1])
        code_of: dict[Key, int] = {}
        numbers = [code_of.setdefault(key, len(code_of)) for key in self.keys(np.arange(len(self.starts)))]
        return np.array(numbers, np.intp), list(code_of)

    def repeat(self, times: int) -> bool:
        """Whether each text occurs so many times, on average; False when that is not easily said."""
        found = self.numbered()
        return found is not None and len(found[1]) * times <= len(self.starts)


class Heap:
    """The texts' part of all records of a batch, one after the other; nothing refers to the records."""

    __slots__ = ("_content", "array", "rows")

    def __init__(self, rows: NDArray[np.uint8]) -> None:
        self.rows = rows
        self.array = rows.reshape(-1)
        self._content: bytes | None = None

    @property
    def content(self) -> bytes:
        """The same as one object, made when it is first asked for."""
        if self._content is None:
            self._content = self.array.tobytes()
        return self._content


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
        # Heaps are much shorter than the records' size class.
        self._first = layout.heap_offset
        self._heap_size = int(header["used"].max(initial=self._first)) - self._first
        self._heap = Heap(rows[:, self._first : self._first + self._heap_size].copy())
        self._lines = np.arange(len(rows)) * self._heap_size - self._first
        # Column by column, since that is how they are read from here on.
        words = rows[:, HEADER.itemsize : layout.heap_offset].copy().view("<u8")
        self._words = words.T.copy()
        self._same: list[bool] = [] if len(rows) == 0 else (self._words == self._words[:, :1]).all(axis=1).tolist()
        present = header["present"]
        self._all_present = int(present[0]) if len(rows) and bool((present == present[0]).all()) else None

    def __len__(self) -> int:
        return len(self.header)

    def read(self, columns: Iterable[Column]) -> dict[str, Input]:
        """The columns by name."""
        return {one.name: self._text(one) if one.kind is ColumnKind.TEXT else self._word(one) for one in columns}

    def _is_same(self, column: Column) -> bool:
        """Whether all records have that word, and the same one."""
        mask = self._all_present
        return mask is not None and bool(mask >> column.index & 1) and self._same[column.index]

    def _is_absent(self, column: Column) -> bool:
        mask = self._all_present
        return mask is not None and not mask >> column.index & 1

    def _present(self, column: Column) -> NDArray[np.bool_]:
        present: NDArray[np.bool_] = self.header["present"] & np.uint64(1 << column.index) != 0
        return present

    def _word(self, column: Column) -> Input:
        if self._is_absent(column):
            return Input.constant(None)
        values = self._words[column.index]
        values = values.view("<i8") if column.kind is ColumnKind.INT else values
        if self._is_same(column):
            return Input.constant(int(values[0]))
        present = self._present(column)
        codes, rows = number(values)
        keys: list[Key] = values[rows].tolist()
        if not present.all():
            codes = np.where(present, codes, len(keys))
            keys.append(None)
        return Input(codes, keys)

    def _text(self, column: Column) -> Input:
        if self._is_absent(column):
            return Input.constant(None)
        places = self._words[column.index].view(TEXT)
        if self._is_same(column) and (one := self._same_text(places[0])) is not None:
            return one
        present = self._present(column)
        offset, kept = places["offset"].astype(np.intp), places["kept"].astype(np.intp)
        broken = present & (kept > 0) & ((offset < self._first) | (offset + kept > self.header["used"]))
        if broken.any():
            self.broken_texts += int(np.count_nonzero(broken))
            present &= ~broken
        some = present & (kept > 0)
        starts = np.where(some, self._lines + offset, 0)
        cut = kept < places["length"]
        return Input(None, [], RawTexts(self._heap, starts, np.where(some, kept, 0), cut, present))

    def _same_text(self, place: np.void) -> Input | None:
        """The text that all records have at this place; None: they have different ones, or one is broken."""
        offset, kept, length = int(place["offset"]), int(place["kept"]), int(place["length"])
        if kept and (offset < self._first or offset + kept > int(self.header["used"].min())):
            return None
        texts = self._heap.rows[:, offset - self._first : offset - self._first + kept]
        if kept and not (texts == texts[0]).all():
            return None
        text = texts[0].tobytes() if kept else b""
        return Input.constant((text,) if kept < length else text)


def _header(rows: NDArray[np.uint8]) -> NDArray[np.void]:
    header: NDArray[np.void] = rows[:, : HEADER.itemsize].copy().view(HEADER)[:, 0]
    return header
