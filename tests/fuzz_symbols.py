"""What is fuzzed of C symbols and tracepoints: tables of symbols with versions, `format` files."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import cast

from fuzz_mutations import Seed
from fuzz_runner import Target
from gotap.image.containers.elf import Elf
from gotap.image.containers.elf_functions import c_functions
from gotap.probe.script.tracepoint import parse_format

_SECTIONS = (".dynsym", ".dynstr", ".gnu.version", ".gnu.version_d", ".symtab", ".strtab")
_FORMAT = b"""name: sched_switch
ID: 372
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:24;\tsize:4;\tsigned:0;
\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:const char * filename;\toffset:32;\tsize:8;\tsigned:0;

print fmt: "prev_comm=%s", REC->prev_comm
"""


def targets() -> Iterator[Target]:
    yield Target("c_functions", [Seed("versioned", _Sections.packed(_library()))], _symbols, 5)
    yield Target("tracepoint", [Seed("sched_switch", _FORMAT)], lambda text: parse_format(text.decode("latin-1")), 5)


class _Sections:
    """As much of an ELF file as symbols are read from; each section as a length (u32) and its bytes."""

    bits = 64
    big_endian = False

    def __init__(self, content: bytes) -> None:
        self._found: dict[str, bytes] = {}
        for name in _SECTIONS:
            length = int.from_bytes(content[:4], "little")
            self._found[name], content = content[4 : 4 + length], content[4 + length :]

    @staticmethod
    def packed(sections: Mapping[str, bytes]) -> bytes:
        return b"".join(struct.pack("<I", len(sections[name])) + sections[name] for name in _SECTIONS)

    def section_data(self, name: str) -> bytes | None:
        return self._found[name] or None


def _library() -> dict[str, bytes]:
    """`add` in two versions, `chosen` as an indirect function, `rand` that is only called."""
    names = b"\0add\0chosen\0rand\0V_1\0V_2\0"
    symbols = ((1, 2, 7, 0x1000), (1, 2, 7, 0x1010), (5, 10, 7, 0x1020), (12, 2, 0, 0))
    table = b"".join(struct.pack("<IBBHQQ", name, 1 << 4 | kind, 0, section, value, 16)
                     for name, kind, section, value in symbols)  # fmt: skip
    versions = b"".join(
        struct.pack("<HHHHIII", 1, 0, number, 1, 0, 20, 28 if number == 2 else 0) + struct.pack("<II", name, 0)
        for number, name in ((2, 17), (3, 21))
    )
    numbers = struct.pack("<4H", 2 | 0x8000, 3, 3, 1)
    plain = names.replace(b"add", b"a@@")
    return {".dynsym": table, ".dynstr": names, ".gnu.version": numbers, ".gnu.version_d": versions,
            ".symtab": table, ".strtab": plain}  # fmt: skip


def _symbols(content: bytes) -> None:
    c_functions(cast(Elf, _Sections(content)))
