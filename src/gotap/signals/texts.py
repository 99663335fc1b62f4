"""Numbering texts where they lie: in bytes of which each text is a range, without a Python object for each."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from gotap.signals.codes import MULTIPLIER, Codes, number

#: Longer texts are not numbered: comparing them costs more than it saves.
LONGEST = 128
#: Fewer rows cost less when they are looked at one by one.
FEWEST = 24

_WORD = 8
_HALF = np.uint64(32)

#: Row k keeps the first k bytes of a text that was read as little-endian words.
_MASKS = np.tril(np.full((LONGEST + 1, LONGEST), 0xFF, np.uint8), -1).view(np.uint64)


def number_texts(data: NDArray[np.uint8], starts: Codes, lengths: Codes, marks: Codes) -> tuple[Codes, Codes]:
    """(codes, rows) as `codes.number` gives them, of the texts `data[starts[i] : starts[i] + lengths[i]]`.

    `marks` sets equal texts apart (whole, cut). `data` is flat; no text may be longer than LONGEST.
    """
    count = max(1, -(-int(lengths.max(initial=0)) // _WORD))
    words = _words(data, starts, count * _WORD)
    words &= _MASKS[lengths, :count]
    if int(lengths.min()) == int(lengths.max()) and bool((words == words[0]).all() and (marks == marks[0]).all()):
        return np.zeros(len(starts), np.intp), np.zeros(1, np.intp)
    own = (lengths + (marks << np.intp(8))).astype(np.uint64)
    hashes = own * MULTIPLIER
    for index in range(count):
        hashes ^= words[:, index]
        hashes *= MULTIPLIER
        hashes ^= hashes >> _HALF
    codes, rows = number(hashes)
    examples = rows[codes]
    if bool((own == own[examples]).all() and (words == words[examples]).all()):
        return codes, rows
    return _compared(words, own)


def _words(data: NDArray[np.uint8], starts: Codes, width: int) -> NDArray[np.uint64]:
    """The `width` bytes from each start on, as words; what lies behind the end of the data is zeros."""
    if int(starts.max(initial=0)) + width > len(data):
        data = np.concatenate((data, np.zeros(width, np.uint8)))
    windows = as_strided(data, (len(data) - width + 1, width), (1, 1), writeable=False)
    words: NDArray[np.uint64] = windows[starts].view(np.uint64)
    return words


def _compared(words: NDArray[np.uint64], own: NDArray[np.uint64]) -> tuple[Codes, Codes]:
    """By the texts themselves: two of this batch have one hash."""
    row_of: dict[bytes, int] = {}
    keys = [row.tobytes() for row in np.column_stack([own, words])]
    for row, key in enumerate(keys):
        row_of.setdefault(key, row)
    code_of = {key: code for code, key in enumerate(row_of)}
    return np.array([code_of[key] for key in keys], np.intp), np.array(list(row_of.values()), np.intp)
