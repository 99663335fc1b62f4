"""What a tracepoint of the kernel hands over: the fields of its record, as the `format` file of tracefs tells them.

Source: kernel/trace/trace_events.c, f_show (Linux 5.15 to 6.18):
`\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;`.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

_FIELD = re.compile(r"\s*field:(.*);\s*offset:(\d+);\s*size:(\d+);\s*signed:([01]);")
_NAME = re.compile(r"(.*?)(\w+)(?:\[(\w*)\])?$")
#: Fields that every record begins with.
_COMMON = "common_"

#: C types whose width is not told by `size` where it is a register's: the arguments of system calls take 8 bytes each.
_NARROW: dict[str, tuple[int, bool]] = {
    "int": (4, True), "s32": (4, True), "__s32": (4, True), "pid_t": (4, True), "key_t": (4, True),
    "clockid_t": (4, True), "timer_t": (4, True), "mqd_t": (4, True), "key_serial_t": (4, True), "rwf_t": (4, True),
    "unsigned int": (4, False), "unsigned": (4, False), "u32": (4, False), "__u32": (4, False), "uid_t": (4, False),
    "gid_t": (4, False), "qid_t": (4, False), "umode_t": (2, False), "unsigned short": (2, False),
}  # fmt: skip
_SIGNED_WORDS = frozenset(("long", "ssize_t", "off_t", "loff_t", "__kernel_old_time_t"))

Kind = Literal["integer", "pointer", "text", "bytes", "located text", "located bytes"]


class FieldInfo(Struct, frozen=True):
    """`size` bytes at `offset` of the record; of an array, all of it.

    `kind`: an integer; a pointer (of a system call's argument: into the process); a text that ends with a zero byte or
    with the array; an array; or either of them elsewhere in the record: then the field is an integer of 4 bytes, whose
    lower half is the offset in the record and whose upper half is the length in bytes. `type`: as in C.
    """

    name: str
    type: str
    offset: int
    size: int
    signed: bool
    kind: Kind


def parse_format(text: str) -> dict[str, FieldInfo]:
    """The record's own fields by name, in their order; lines of another form are left out."""
    fields: dict[str, FieldInfo] = {}
    system_call = "field:int __syscall_nr;" in text
    for line in text.splitlines():
        match = _FIELD.match(line)
        if match is None:
            continue
        declaration, offset, size, signed = match[1], int(match[2]), int(match[3]), match[4] == "1"
        info = _field(declaration.strip(), offset, size, signed, system_call)
        if info is not None and not info.name.startswith(_COMMON):
            fields[info.name] = info
    return fields


def _field(declaration: str, offset: int, size: int, signed: bool, system_call: bool) -> FieldInfo | None:
    located = declaration.startswith(("__data_loc ", "__rel_loc "))
    relative = declaration.startswith("__rel_loc ")
    if located:
        declaration = declaration.partition(" ")[2].replace("[] ", " ").replace("[]", "")
    match = _NAME.fullmatch(declaration)
    if match is None or relative:  # no event of the kernel's own uses __rel_loc (5.17)
        return None
    type_, name, array = match[1].strip(), match[2], match[3]
    is_text = type_ in ("char", "const char")
    if located:
        return FieldInfo(name, type_, offset, 4, False, "located text" if is_text else "located bytes")
    if array is not None:
        return FieldInfo(name, f"{type_}[{array}]", offset, size, signed, "text" if is_text else "bytes")
    if type_.endswith(("*", "*const")):
        return FieldInfo(name, type_, offset, size, False, "pointer")
    if size not in (1, 2, 4, 8):
        return FieldInfo(name, type_, offset, size, False, "bytes")
    if system_call and size == 8:
        plain = type_.removeprefix("const ")
        size, signed = _NARROW.get(plain, (8, plain in _SIGNED_WORDS))
    return FieldInfo(name, type_, offset, size, signed, "integer")
