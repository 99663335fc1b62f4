"""What has been made of a value, kept for when the value comes again."""

from __future__ import annotations

from typing import Any, TypeVar

_Key = TypeVar("_Key")
_Made = TypeVar("_Made")

#: What is kept at most: results, and bytes of texts in them and in their keys. Values come from the network, so both
#: may grow without end: URLs of which each is another one, of a kilobyte each.
MOST = 8192
MOST_BYTES = 1 << 20


class Memory(dict[_Key, _Made]):
    """Results by key, to be looked up as in any dict. Beyond a bound all are forgotten."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def keep(self, key: _Key, made: _Made) -> _Made:
        """Keeps a result, which is given back; there must be none yet."""
        size = _size(key) + _size(made)
        if len(self) >= MOST or self._bytes + size > MOST_BYTES:
            self.clear()
            self._bytes = 0
        self._bytes += size
        self[key] = made
        return made


def _size(value: Any) -> int:
    """Characters or bytes of the texts in a key or a result."""
    if isinstance(value, tuple):
        return sum(map(_size, value))
    return len(value) if isinstance(value, (str, bytes)) else 0
