"""The Go modules that a running program knows: the chain of runtime.moduledata in its memory.

The linker makes one; `plugin.Open`, `-linkshared` libraries (runtime.addmoduledata) and JIT compilers append theirs.
"""

from __future__ import annotations

from msgspec import Struct

from gotap.image.pclntab import MAGIC_1_18, MAGIC_1_20
from gotap.process.memory import Memory

#: Word index of `next`, the last field of `type moduledata struct` in runtime/symtab.go, read in Go 1.18.10, 1.19.13
#: (68), 1.20.14 (70), 1.21.13, 1.22.12 (73), 1.23.12, 1.24.13, 1.25.10 (72), 1.26.8 (73) and 1.27.4 (70).
NEXT = {"1.18": 68, "1.20": 70, "1.21": 73, "1.23": 72, "1.26": 73, "1.27": 70}

#: By the layout that gotap.image.moduledata tells apart: all that it may be, as the version may be missing or patched.
#: A wrong one cannot mislead, for it must point at a moduledata.
_NEXT_BY_LAYOUT = {(1, 18): (68,), (1, 20): (70, 72, 73), (1, 26): (73,), (1, 27): (70,)}

_TEXT = 22  # text, etext: the same words from Go 1.16 on
_MAGICS = (MAGIC_1_18, MAGIC_1_20)
_MAX_MODULES = 1024  # each plugin and each JIT compilation is one; a corrupt chain must end


class LoadedModule(Struct, frozen=True):
    """A moduledata in memory; addresses as loaded."""

    address: int
    text: int
    etext: int


def walk_modules(memory: Memory, address: int, layout: tuple[int, int]) -> list[LoadedModule]:
    """The chain from the moduledata at `address` (as loaded) on; empty when there is none in that place."""
    positions = _NEXT_BY_LAYOUT.get(layout, ())
    found: dict[int, LoadedModule] = {}
    pending = [address]
    while pending and len(found) < _MAX_MODULES:
        at = pending.pop()
        words = memory.words(at, max(positions, default=_TEXT + 1) + 1) if at not in found else None
        if words is None or not _is_moduledata(memory, words):
            continue
        found[at] = LoadedModule(at, words[_TEXT], words[_TEXT + 1])
        pending += [words[position] for position in positions if words[position]]
    return list(found.values())


def _is_moduledata(memory: Memory, words: tuple[int, ...]) -> bool:
    """Its first word points at a function table, and its text is not upside down."""
    header = memory.words(words[0], 1)
    return header is not None and header[0] & 0xFFFFFFFF in _MAGICS and 0 < words[_TEXT] <= words[_TEXT + 1]
