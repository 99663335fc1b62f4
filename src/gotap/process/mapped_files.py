"""The files that a process has code mapped from, opened as the very files that are mapped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from msgspec import Struct

from gotap.process.proc import Mapping, Process
from gotap.process.rootfs import open_regular

_DELETED = " (deleted)"


class MappedFile(Struct, frozen=True):
    """A file and all its mappings, ascending; at least one of them is executable."""

    path: str
    device: int
    inode: int
    mappings: tuple[Mapping, ...]

    @property
    def code(self) -> tuple[Mapping, ...]:
        return tuple(mapping for mapping in self.mappings if mapping.is_executable)

    @property
    def name(self) -> str:
        return os.path.basename(self.path.removesuffix(_DELETED))

    def bias(self, segments: Iterable[tuple[int, int, int]]) -> int | None:
        """What is added to its addresses, from its PT_LOADs as (offset, vaddr, filesz); None: no segment is mapped.

        A mapping begins at the page in which its segment does, so offset and address are compared by page.
        """
        page = os.sysconf("SC_PAGESIZE")
        for mapping in self.code:
            for offset, vaddr, size in segments:
                if offset // page * page <= mapping.offset < offset + size:
                    return mapping.start - (vaddr - offset + mapping.offset)
        return None


def mapped_files(mappings: Sequence[Mapping]) -> list[MappedFile]:
    """Those with code, in the order of their first mapping."""
    files: dict[tuple[int, int], list[Mapping]] = {}
    for mapping in mappings:
        if mapping.inode:
            files.setdefault((mapping.device, mapping.inode), []).append(mapping)
    return [
        MappedFile(own[0].path, device, inode, tuple(own))
        for (device, inode), own in files.items()
        if any(mapping.is_executable for mapping in own)
    ]


def open_mapped(process: Process, root: int | None, file: MappedFile) -> int:
    """A descriptor of that file. Raises OSError.

    /proc/PID/map_files leads to it even when it is deleted, but needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN; the
    path within the process' root is checked for still being that inode.
    """
    code = file.code[0]
    try:
        return os.open(process.path(f"map_files/{code.start:x}-{code.end:x}"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        if root is None:
            raise
    descriptor = open_regular(root, file.path)
    if os.fstat(descriptor).st_ino != file.inode:
        os.close(descriptor)
        raise FileNotFoundError(2, "another file has taken its place", file.path)
    return descriptor
