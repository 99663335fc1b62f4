"""Whether a program serves or writes the profile "threadcreate", whose stacks are empty (go.dev/issue/6104).

net/http/pprof serves every profile by its name. Otherwise someone asks runtime/pprof.Lookup for it by name. That
Lookup is linked in shows little: the profile's functions come with it, whatever it is asked for. So its calls are
looked at, on amd64: what constant goes in as the name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gotap.image.containers.container import Container
from gotap.image.containers.memory import PF_X
from gotap.image.errors import BadAddress
from gotap.image.facts.gofile import GoFile
from gotap.image.facts.told import Told

_NAME = b"threadcreate"
_SERVERS = ("net/http/pprof.Index", "net/http/pprof.handler.ServeHTTP", "net/http/pprof.init.0")
_LOOKUP = "runtime/pprof.Lookup"
_CALL = b"\xe8"
#: How far before a call its arguments are looked for, in bytes.
_REACH = 48
_LEA_RAX = b"\x48\x8d\x05"  # lea disp32(%rip), %rax: the name's text
_LENGTH = b"\xbb" + struct.pack("<I", len(_NAME))  # mov $12, %ebx: its length


def threadcreate_profile(file: GoFile, lookups: list[int]) -> Told[bool | None]:
    """`lookups`: addresses of runtime/pprof.Lookup's bodies."""
    if not file.names:
        return Told(None, file.why_no_names)
    if (name := file.names.first_of(_SERVERS)) is not None:
        return Told(True, f"function {name}: net/http/pprof serves every profile")
    if _LOOKUP not in file.names or not lookups:
        return Told(False, f"neither net/http/pprof nor {_LOOKUP} is linked in")
    if file.container.arch != "amd64":
        return Told(None, f"{_LOOKUP} is linked in; which profile it is asked for is looked at on amd64 only")
    for call in calls_with_length(file.container, set(lookups)):
        if _is_name(file.container, call):
            return Told(True, f'{_LOOKUP} is called with "{_NAME.decode()}" at {call:#x}')
    return Told(False, f'{_LOOKUP} is linked in, but no call of it has the constant "{_NAME.decode()}"')


def calls_with_length(container: Container, targets: set[int]) -> Iterator[int]:
    """Addresses of amd64 calls of one of the targets, shortly behind an instruction that makes %ebx the name's length.

    What only looks like such instructions may be among them.
    """
    for offset in container.search(_LENGTH, [segment for segment in container.loads if segment.flags & PF_X]):
        address = container.address_of(offset)
        if address is not None:
            yield from _near_calls(container.data[offset : offset + _REACH], address, targets)


def _near_calls(code: bytes, address: int, targets: set[int]) -> Iterator[int]:
    """Where `code`, which stands at `address`, has e8 and the distance to a target."""
    at = code.find(_CALL)
    while 0 <= at < len(code) - 4:
        if address + at + 5 + int.from_bytes(code[at + 1 : at + 5], "little", signed=True) in targets:
            yield address + at
        at = code.find(_CALL, at + 1)


def _is_name(container: Container, call: int) -> bool:
    try:
        before = container.read(call - _REACH, _REACH)
        lea = before.rfind(_LEA_RAX)
        if lea < 0 or lea + 7 > _REACH or before.rfind(_LENGTH) < 0:
            return False
        (distance,) = struct.unpack_from("<i", before, lea + 3)
        return container.read(call - _REACH + lea + 7 + distance, len(_NAME)) == _NAME
    except BadAddress:
        return False
