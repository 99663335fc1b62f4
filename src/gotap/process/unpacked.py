"""The program that a packed executable (UPX) has unpacked into its memory, read from there as if it were a file.

An unpacker maps the original program's segments without a file and copies its ELF header with them.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

from msgspec.structs import replace

from gotap.image.containers.elf import Elf
from gotap.image.errors import ImageError
from gotap.image.facts.model import Facts
from gotap.image.facts.reading import read_facts
from gotap.process.memory import Memory
from gotap.process.proc import Mapping, Process

_PT_LOAD = 1
_MAX_SEGMENTS = 64
_MAX_BYTES = 1 << 30  # of all segments
_CHUNK = 1 << 20
_EHSIZE, _PHENTSIZE = 64, 56


def read_unpacked_facts(process: Process, packed: Facts) -> Facts | None:
    """The facts of the program that is in memory; `packed` are those of its file. None when there is none to be seen.

    What is only in files, the section table and with it symbols and DWARF, is not there. Raises NotPermitted,
    ProcessGone.
    """
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(Memory(process))
        for mapping in process.mappings():
            if mapping.inode or mapping.path or "r" not in mapping.permissions:
                continue
            if (copy := _copy(memory, mapping)) is None:
                continue
            stack.callback(os.close, copy)
            with contextlib.suppress(ImageError):
                facts = read_facts(Elf.open(f"/proc/self/fd/{copy}", f"the unpacked {process.name}"))
                return _joined(facts, packed, mapping.start)
    return None


def _joined(facts: Facts, packed: Facts, address: int) -> Facts:
    evidence = {**facts.evidence, "packed": packed.evidence.get("packed", "")}
    evidence["unpacked"] = f"read from the memory of a process, at {address:#x}"
    go = facts.go
    if go is not None:
        go = replace(go, packed=packed.packed, symtab=None, dwarf=None, section_table=None)
        evidence["go.packed"] = evidence["packed"]
        for key in ("symtab", "dwarf", "section_table"):
            evidence[f"go.{key}"] = "memory does not hold what is not loaded"
    return replace(facts, packed=packed.packed, go=go, evidence=evidence)


def _copy(memory: Memory, mapping: Mapping) -> int | None:
    """A descriptor of a file in memory with the segments of the ELF image that the mapping starts; None for none."""
    header = memory.read(mapping.start, _EHSIZE)
    # 64-bit little-endian only: what gotap observes.
    if header is None or header[:6] != b"\x7fELF\2\1":
        return None
    table, size, count = (struct.unpack_from(form, header, at)[0] for form, at in (("<Q", 32), ("<H", 54), ("<H", 56)))
    if size != _PHENTSIZE or not 0 < count <= _MAX_SEGMENTS or table > mapping.end - mapping.start:
        return None
    headers = memory.read(mapping.start + table, size * count)
    segments = list(_loads(headers or b""))
    if not segments or segments[0][0] != 0 or sum(length for _, _, length in segments) > _MAX_BYTES:
        return None
    bias = mapping.start - segments[0][1]
    descriptor = os.memfd_create("gotap-unpacked", os.MFD_CLOEXEC)
    try:
        for offset, address, length in segments:
            for at in range(0, length, _CHUNK):
                piece = memory.read(address + bias + at, min(_CHUNK, length - at))
                if piece is None:  # not what it looked like
                    os.close(descriptor)
                    return None
                os.pwrite(descriptor, piece, offset + at)
        # The section table is not in memory: e_shoff, and e_shnum with e_shstrndx.
        os.pwrite(descriptor, bytes(8), 40)
        os.pwrite(descriptor, bytes(4), 60)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _loads(headers: bytes) -> Iterator[tuple[int, int, int]]:
    """(offset, address, length in the file) of each PT_LOAD."""
    for kind, _, offset, address, _, length, _, _ in struct.iter_unpack("<IIQQQQQQ", headers):
        if kind == _PT_LOAD and length and offset < _MAX_BYTES:
            yield offset, address, length
