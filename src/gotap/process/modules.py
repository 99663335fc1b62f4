"""The Go modules that a running program knows: the chain of runtime.moduledata in its memory.

The linker makes one; `plugin.Open`, `-linkshared` libraries (runtime.addmoduledata) and JIT compilers append theirs.
"""

from __future__ import annotations

from msgspec import Struct

from gotap.process.memory import Memory

#: Word index of `next`, the last field of `type moduledata struct` in runtime/symtab.go, read in Go 1.18.10, 1.19.13
#: (68), 1.20.14 (70), 1.21.13, 1.22.12 (73), 1.23.12, 1.24.13, 1.25.10 (72), 1.26.8 (73) and 1.27.4 (70).
NEXT = {"1.18": 68, "1.20": 70, "1.21": 73, "1.23": 72, "1.26": 73, "1.27": 70}

#: By the layout that gotap.image.functions.moduledata tells apart: all that it may be, as the version may be missing or
#: patched. A wrong one cannot mislead, for it must point at a moduledata.
_NEXT_BY_LAYOUT = {(1, 18): (68,), (1, 20): (70, 72, 73), (1, 26): (73,), (1, 27): (70,)}

_TEXT = 22  # text, etext: the same words from Go 1.16 on
_MAX_MODULES = 1024  # each plugin and each JIT compilation is one; a corrupt chain must end


class LoadedModule(Struct, frozen=True):
    """A moduledata in memory; addresses as loaded."""

    address: int
    text: int
    etext: int


def walk_modules(memory: Memory, address: int, layout: tuple[int, int], word: int = 8) -> list[LoadedModule]:
    """The chain from the moduledata at `address` (as loaded) on, of a program whose words have `word` bytes.

    Empty for layouts before Go 1.18, and when there is no moduledata in that place.
    """
    positions = _NEXT_BY_LAYOUT.get(layout, ())
    found: dict[int, LoadedModule] = {}
    pending = [address] if positions else []
    while pending and len(found) < _MAX_MODULES:
        at = pending.pop()
        words = None if at in found else memory.words(at, max(positions) + 1, word)
        if words is None or not _is_moduledata(memory, words, word):
            continue
        found[at] = LoadedModule(at, words[_TEXT], words[_TEXT + 1])
        pending += [words[position] for position in positions if words[position]]
    return list(found.values())


def _is_moduledata(memory: Memory, words: tuple[int, ...], word: int) -> bool:
    """Its first word points at a function table, which may lack Go's magic (garble), and its text has a length."""
    header = memory.read(words[0], 8)
    if header is None or header[4:6] != b"\0\0" or header[6] not in (1, 2, 4) or header[7] != word:
        return False
    return 0 < words[_TEXT] <= words[_TEXT + 1]
