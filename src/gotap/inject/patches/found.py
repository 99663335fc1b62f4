"""gotap's files in a process, found by the names of mappings: /memfd:gotap-…, whoever mapped them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from gotap.inject.patches import journal as journals
from gotap.inject.patches.journal import Journal
from gotap.inject.trampolines.windows import PAGE
from gotap.process.proc import Mapping

#: How the kernel names a memory file's mappings and descriptors; all of gotap's names begin so.
PREFIX = "/memfd:gotap-"

#: Of a memory file, as /proc/PID/maps tells them: device and inode.
FileKey = tuple[int, int]

#: Reads so many bytes at an address, or None.
Peek = Callable[[int, int], bytes | None]


class FoundFile(Struct):
    """What is mapped of a file, and what goes with it. No journal: it has none (yet)."""

    areas: list[tuple[int, int]]
    journal: Journal | None = None


def find_files(
    pid: int, mappings: Sequence[Mapping], peek: Peek, but: FileKey | None = None
) -> dict[FileKey, FoundFile]:
    """All of them `but` one. Raises NewerJournal, DamagedJournal.

    A private page follows its window: an anonymous mapping that ends where an area of the journal does.
    """
    files: dict[FileKey, FoundFile] = {}
    for mapping in mappings:
        if mapping.path.startswith(PREFIX) and (mapping.device, mapping.inode) != but:
            file = files.setdefault((mapping.device, mapping.inode), FoundFile([]))
            file.areas.append((mapping.start, mapping.end))
            if mapping.offset == 0:
                file.journal = _journal(pid, peek, mapping.start)
    if files:
        _add_private(files, mappings)
    return files


def _journal(pid: int, peek: Peek, address: int) -> Journal | None:
    head = peek(address, PAGE) or b""
    if not journals.is_journal(head):
        return None
    return journals.read(pid, peek(address, journals.needed(pid, head)) or b"")


def _add_private(files: dict[FileKey, FoundFile], mappings: Sequence[Mapping]) -> None:
    anonymous = {one.start: one.end for one in mappings if not one.inode and one.permissions == "rw-p"}
    for file in files.values():
        ends = {area.end for area in file.journal.areas} if file.journal else set()
        file.areas += [(end, anonymous[end]) for _, end in tuple(file.areas) if anonymous.get(end) in ends]
