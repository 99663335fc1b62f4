"""What is known of the functions that a function calls: the runtime's special ones, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

# Checked against Go 1.18.10 … 1.27.4: cmd/compile/internal/ssagen/ssa.go (calls that end a block without successor),
# runtime/panic.go, runtime/asm_amd64.s. `panicCheck1` and `panicCheck2` return and are not listed.
_NEVER_RETURNS = re.compile(
    r"runtime\.(gopanic|goexit[01]?|throw|throwinit|fatal|fatalthrow|fatalpanic|unreachableMethod|block|deferPanic|sigpanic0?|"
    r"goPanic\w+|panic(Index|Slice|Extend|Bounds|Simd)\w*|"
    r"panic(divide|overflow|shift|float|mem|memAddr|nil|wrap|dottypeE|dottypeI|nildottype|rangestate|"
    r"makeslicelen|makeslicecap|unsafe\w*|makemap|makechan))"
)
# runtime/asm_amd64.s: gcWriteBarrier keeps every register but R11 and writes to heap or write barrier buffer only.
_WRITE_BARRIER = re.compile(r"runtime\.gcWriteBarrier\w*")
# runtime/race_amd64.s: C code on g0's stack; it neither panics nor writes to the caller's frame.
_HARMLESS = re.compile(r"runtime\.race(funcenter|funcexit|read|write|readrange|writerange)")


class Callees(Struct, frozen=True):
    """Entry addresses of functions whose effect on their caller is known. Fewer entries: fewer sites, none wrong."""

    never_return: frozenset[int] = frozenset()
    #: keep every register but R11, do not write to the caller's frame, return always
    write_barriers: frozenset[int] = frozenset()
    #: may change every register but SP, do not write to the caller's frame, return always
    harmless: frozenset[int] = frozenset()
    #: addresses of single call instructions, indirect ones too, whose callee is as the harmless ones
    harmless_calls: frozenset[int] = frozenset()

    @classmethod
    def of(cls, functions: Iterable[tuple[str, int]]) -> Callees:
        """From the names and entry addresses of the functions of the image, `.abi0` of the symbol table or not."""
        found: tuple[set[int], set[int], set[int]] = (set(), set(), set())
        for name, address in functions:
            if not name.startswith("runtime."):
                continue
            name = name.removesuffix(".abi0")
            for pattern, addresses in zip((_NEVER_RETURNS, _WRITE_BARRIER, _HARMLESS), found, strict=True):
                if pattern.fullmatch(name):
                    addresses.add(address)
        return cls(*(frozenset(addresses) for addresses in found))


NO_CALLEES = Callees()
