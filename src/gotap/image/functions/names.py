"""Questions about the function names of a Go program, answered without making a string of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator


class Names:
    """The names of a function table: NUL-terminated, in one piece of bytes.

    Functions that were inlined everywhere have their name there too, those that the linker left out have not.
    Linkers from Go 1.20 on write `go:` and `type:` where earlier ones write `go.` and `type.`.
    """

    def __init__(self, table: bytes = b"") -> None:
        self._table = table

    def __bool__(self) -> bool:
        return bool(self._table)

    def __contains__(self, name: str) -> bool:
        wanted = name.encode() + b"\0"
        return self._table.startswith(wanted) or b"\0" + wanted in self._table

    def first_of(self, names: Iterable[str]) -> str | None:
        """The first of these names that there is."""
        return next((name for name in names if name in self), None)

    def with_part(self, *parts: str) -> str | None:
        """A name that has one of these texts in it, for the first text that any name has.

        Tables before Go 1.16 hold file names among the names; those begin with a directory and are passed over.
        """
        for part in parts:
            wanted = part.encode()
            at = self._table.find(wanted)
            while at >= 0:
                start, end = self._table.rfind(b"\0", 0, at) + 1, self._table.find(b"\0", at)
                name = self._table[start : end if end >= 0 else None]
                if not name.startswith(b"/") and name[1:3] != b":/":
                    return name.decode("utf-8", "replace")
                at = self._table.find(wanted, start + len(name))
        return None

    def starting_with(self, prefix: str) -> str | None:
        """A name that begins so."""
        wanted = b"\0" + prefix.encode()
        at = 0 if self._table.startswith(wanted[1:]) else self._table.find(wanted) + 1
        if not at and not self._table.startswith(wanted[1:]):
            return None
        return self._table[at : self._table.find(b"\0", at)].decode("utf-8", "replace")

    def holding(self, text: str) -> Iterator[str]:
        """All names that have this text in them, each once."""
        wanted = text.encode()
        at = self._table.find(wanted)
        while at >= 0:
            start, end = self._table.rfind(b"\0", 0, at) + 1, self._table.find(b"\0", at)
            end = end if end >= 0 else len(self._table)
            yield self._table[start:end].decode("utf-8", "replace")
            at = self._table.find(wanted, end)

    def matching(self, pattern: bytes) -> re.Match[bytes] | None:
        """The first match of a pattern, in which `\\0` stands for the ends of a name."""
        return re.search(pattern, self._table)
