"""The least BTF that lets a program have callbacks: one FUNC per subprogram, all of type `int (void)`.

The verifier wants func_info for `BPF_PSEUDO_FUNC` loads ("missing btf func_info", check_ld_imm in
kernel/bpf/verifier.c, Linux 5.13 to 6.18) and static linkage for callbacks ("callback function not static").
Names of subprograms then also show up in perf's and the kernel's symbols.

A subprogram whose name ends in a number in parentheses, `walk(4096)`, is a global function of the type
`int (int (*)[1024])`: the verifier looks at it once by itself, whoever calls it how often, and lets it touch so much
memory behind its argument, which may be nil for all it knows (btf_prepare_func_args in kernel/bpf/btf.c, Linux 5.12).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

_MAGIC = 0xEB9F
_INT, _PTR, _ARRAY, _FUNC, _FUNC_PROTO = 1, 2, 3, 12, 13
_STATIC, _GLOBAL = 0, 1


def _identifier(name: str) -> str:
    """BTF accepts C identifiers only (btf_name_valid_identifier), shorter than 128 bytes (KSYM_NAME_LEN)."""
    text = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)[:100]
    return text if text and not text[0].isdigit() else f"_{text}"


def minimal(names: Sequence[str]) -> tuple[bytes, list[int]]:
    """(blob for BPF_BTF_LOAD, BTF type id of each subprogram); the first name is the program itself."""
    strings = bytearray(b"\0int\0")
    types = [
        struct.pack("<IIII", 1, _INT << 24, 4, 1 << 24 | 32),  # id 1: int, signed, 32 bit
        struct.pack("<III", 0, _FUNC_PROTO << 24, 1),  # id 2: int (void)
    ]
    ids = []
    for index, name in enumerate(names):
        prototype, linkage = 2, _GLOBAL if index == 0 else _STATIC
        if takes := re.search(r"\((\d+)\)$", name):
            prototype, linkage = _takes_memory(types, int(takes[1])), _GLOBAL
        types.append(struct.pack("<III", len(strings), _FUNC << 24 | linkage, prototype))
        ids.append(len(types))
        strings += f"{_identifier(name)}\0".encode()
    described = b"".join(types)
    header = struct.pack("<HBBIIIII", _MAGIC, 1, 0, 24, 0, len(described), len(described), len(strings))
    return header + described + bytes(strings), ids


def _takes_memory(types: list[bytes], size: int) -> int:
    """The id of `int (int (*)[size / 4])`, which it adds with what it is made of."""
    types.append(struct.pack("<IIIIII", 0, _ARRAY << 24, 0, 1, 1, size // 4))
    types.append(struct.pack("<III", 0, _PTR << 24, len(types)))
    types.append(struct.pack("<IIIII", 0, _FUNC_PROTO << 24 | 1, 1, 1, len(types)))
    return len(types)
