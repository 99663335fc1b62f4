"""Whether a program serves or writes the profile "threadcreate", whose stacks are empty (go.dev/issue/6104).

net/http/pprof serves every profile by its name. Otherwise someone asks runtime/pprof.Lookup for it by name. That
Lookup is linked in shows little: the profile's functions come with it, whatever it is asked for. So its calls are
looked at, on amd64: what constant goes in as the name.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from gotap.image.container import Container
from gotap.image.errors import BadAddress
from gotap.image.gofile import GoFile
from gotap.image.memory import PF_X
from gotap.image.told import Told

_NAME = b"threadcreate"
_SERVERS = ("net/http/pprof.Index", "net/http/pprof.handler.ServeHTTP", "net/http/pprof.init.0")
_LOOKUP = "runtime/pprof.Lookup"
#: How far before a call its arguments are looked for, in bytes.
_REACH = 48
_LEA_RAX = b"\x48\x8d\x05"  # lea disp32(%rip), %rax: the name's text
_LENGTH = b"\xbb" + struct.pack("<I", len(_NAME))  # mov $12, %ebx: its length
_PIECE = 1 << 22


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
    calls = [call for address in lookups for call in calls_of(file.container, address)]
    for call in calls:
        if _is_name(file.container, call):
            return Told(True, f'{_LOOKUP} is called with "{_NAME.decode()}" at {call:#x}')
    return Told(False, f'{_LOOKUP} is called {len(calls)} times, never with the constant "{_NAME.decode()}"')


def calls_of(container: Container, target: int) -> list[int]:
    """Addresses of the amd64 instructions `call target`, and of what only looks like one. Raises nothing."""
    found: list[int] = []
    for segment in container.loads:
        if not segment.flags & PF_X:
            continue
        for start in range(0, segment.filesz, _PIECE):
            low = segment.offset + start
            piece = np.frombuffer(container.data[low : low + min(_PIECE + 4, segment.filesz - start)], np.uint8)
            found += [segment.vaddr + start + at for at in _near_calls(piece, target - segment.vaddr - start)]
    return found


def _near_calls(code: NDArray[np.uint8], target: int) -> list[int]:
    """Where e8 stands in front of the distance to a place `target` bytes from the code's start."""
    at = np.flatnonzero(code[:-4] == 0xE8) if len(code) > 4 else np.zeros(0, np.int64)
    distances = np.zeros(len(at), np.uint32)
    for byte in range(4):
        distances |= code[at + 1 + byte].astype(np.uint32) << np.uint32(8 * byte)
    hits: list[int] = at[at + 5 + distances.view(np.int32) == target].tolist()
    return hits


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
