"""Text is put into Go files so that every other byte of them keeps its line and column.

What is put in stands on one line, and behind it a line directive gives the text that follows its own place again. With
a column and without a file name it keeps the file's name (cmd/compile, "Compiler Directives"). Checked with Go 1.21 to
1.27.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

_BOM = b"\xef\xbb\xbf"


class Edit(Struct, frozen=True):
    """`delete` bytes at a byte `offset` of the file give way to `insert`, one line."""

    offset: int
    delete: int
    insert: str


def apply(source: bytes, edits: Sequence[Edit]) -> bytes:
    """The file with all edits, which are sorted by offset and do not overlap; at one offset they keep their order."""
    return apply_to(source, source, lambda offset: offset, edits)


def apply_to(source: bytes, text: bytes, where: Callable[[int], int], edits: Sequence[Edit]) -> bytes:
    """Another text that holds all of the file, with the file's edits. `where`: offset in the file → in the text."""
    parts: list[bytes] = []
    at = done = 0
    for index, edit in enumerate(edits):
        parts.append(text[done : where(edit.offset)])
        parts.append(edit.insert.encode())
        at = edit.offset + edit.delete
        done = where(at - 1) + 1 if edit.delete else where(at)
        following = edits[index + 1] if index + 1 < len(edits) else None
        if (following is None or following.offset > at) and not _ends_line(source, at, edit.delete):
            parts.append(_position(source, at))
    parts.append(text[done:])
    return b"".join(parts)


def named(path: str, text: bytes) -> bytes:
    """A file that lies elsewhere says whose text it is: the compiler's messages name the user's file."""
    mark = _BOM if text.startswith(_BOM) else b""
    return mark + f"//line {path}:1:1\n".encode() + text.removeprefix(mark)


def _ends_line(source: bytes, at: int, deleted: int) -> bool:
    """Whether nothing of the line is left that somebody could ask the place of, and no line was taken out."""
    return b"\n" not in source[at - deleted : at] and source[at : at + 2].lstrip(b"\r")[:1] in (b"\n", b"")


def _position(source: bytes, at: int) -> bytes:
    """The directive for what stands at an offset: lines and columns count from 1, columns in bytes."""
    start = source.rfind(b"\n", 0, at) + 1
    return b"/*line :%d:%d*/" % (source.count(b"\n", 0, at) + 1, at - start + 1)
