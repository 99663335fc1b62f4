"""Whether a process's code is still its executable's where a uprobe is to go.

The kernel takes the instruction from the file and goes on behind it, whatever the process has there. Where somebody has
written a jump into the process, that is the middle of the jump's displacement; and when the uprobe goes, the kernel
writes the file's byte over the jump's (uprobe_write_opcode). Either ends the process. Checked with Linux 6.18.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gotap.bpf.machine import Site
from gotap.kernel.errors import CodeChangedError
from gotap.process.errors import ProcessError
from gotap.process.memory import Memory
from gotap.process.proc import Mapping, Process

_PAGE = 4096
_INT3 = 0xCC
#: A uprobe on this becomes a call of the kernel's trampoline (Linux 6.18): the kernel's own doing, as an int3 is.
_NOP5, _CALL = bytes.fromhex("0f1f440000"), 0xE8
#: `jmp rel32`, and its bytes: one may begin before a site and end behind it.
_JUMP, _SIZE = 0xE9, 5
#: What gotap's own memory is named in a process.
_OURS = "/memfd:gotap-"


def check_code(path: str, sites: Sequence[Site], pid: int) -> None:
    """Raises CodeChangedError when code at a site is not what the file has; uprobes apart, whosever they are.

    Where the process's memory cannot be read nothing is said: the kernel judges whether it may be probed.
    """
    try:
        with Process(pid) as process, Memory(process) as memory:
            mappings = process.mappings()
            changed = _changed(path, sites, mappings, memory)
    except (ProcessError, OSError):
        return
    if changed is None:
        return
    where = f"the code of process {pid} at file offset {changed:#x} is no longer that of its executable"
    if any(one.path.startswith(_OURS) for one in mappings):
        raise CodeChangedError(
            f"{where}: another gotap has put a jump there, which a uprobe would break",
            f"end that gotap, or take out what one that died has left: gotap detach {pid}",
        )
    raise CodeChangedError(
        f"{where}: a debugger or another agent has written there, and a uprobe might break what it wrote",
        "detach the other one, or leave this function out",
    )


def _changed(path: str, sites: Sequence[Site], mappings: Sequence[Mapping], memory: Memory) -> int | None:
    """File offset of a site whose code has been changed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        inode = os.fstat(descriptor).st_ino
        code = [one for one in mappings if one.inode == inode and one.is_executable]
        page, first, content, actual = -1, 0, b"", b""
        for offset in sorted(offset for offset, _ in sites):
            if offset // _PAGE != page:
                page = offset // _PAGE
                first, actual = _memory(code, memory, page)
                content = os.pread(descriptor, len(actual), first)
            at = offset - first
            if 0 <= at < min(len(content), len(actual)) and _is_changed(content, actual, at):
                return offset
    finally:
        os.close(descriptor)
    return None


def _memory(code: Sequence[Mapping], memory: Memory, page: int) -> tuple[int, bytes]:
    """What the process has where this page of the file is mapped, with what a jump takes on either side; from which
    offset on. Empty if it is not mapped.
    """
    for one in code:
        low, high = page * _PAGE, (page + 1) * _PAGE
        if one.offset <= low < one.offset + one.end - one.start:
            low = max(low - _SIZE, one.offset)
            high = min(high + _SIZE, one.offset + one.end - one.start)
            return low, memory.read(one.start + low - one.offset, high - low) or b""
    return 0, b""


def _is_changed(content: bytes, actual: bytes, at: int) -> bool:
    """Whether the instruction at `at` has been replaced, or lies within a jump that was written over its neighbours."""
    if actual[at] not in (content[at], _INT3) and not (actual[at] == _CALL and content.startswith(_NOP5, at)):
        return True
    for start in range(max(at - _SIZE + 1, 0), at + 1):
        end = start + _SIZE
        if actual[start] == _JUMP and any(
            now not in (was, _INT3) for now, was in zip(actual[start:end], content[start:end], strict=False)
        ):
            return True
    return False
