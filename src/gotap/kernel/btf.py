"""The least BTF that lets a program have callbacks: one FUNC per subprogram, all of type `int (void)`.

The verifier wants func_info for `BPF_PSEUDO_FUNC` loads ("missing btf func_info", check_ld_imm in
kernel/bpf/verifier.c, Linux 5.13 to 6.18) and static linkage for callbacks ("callback function not static").
Names of subprograms then also show up in perf's and the kernel's symbols.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAGIC = 0xEB9F
_INT, _FUNC, _FUNC_PROTO = 1, 12, 13
_STATIC, _GLOBAL = 0, 1


def _identifier(name: str) -> str:
    """BTF accepts C identifiers only (btf_name_valid_identifier), shorter than 128 bytes (KSYM_NAME_LEN)."""
    text = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)[:100]
    return text if text and not text[0].isdigit() else f"_{text}"


def minimal(names: Sequence[str]) -> tuple[bytes, list[int]]:
    """(blob for BPF_BTF_LOAD, BTF type id of each subprogram); the first name is the program itself."""
    strings = bytearray(b"\0int\0")
    types = bytearray(struct.pack("<IIII", 1, _INT << 24, 4, 1 << 24 | 32))  # id 1: int, signed, 32 bit
    types += struct.pack("<III", 0, _FUNC_PROTO << 24, 1)  # id 2: int (void)
    for index, name in enumerate(names):
        types += struct.pack("<III", len(strings), _FUNC << 24 | (_GLOBAL if index == 0 else _STATIC), 2)
        strings += f"{_identifier(name)}\0".encode()
    header = struct.pack("<HBBIIIII", _MAGIC, 1, 0, 24, 0, len(types), len(types), len(strings))
    return bytes(header + types + strings), list(range(3, 3 + len(names)))
