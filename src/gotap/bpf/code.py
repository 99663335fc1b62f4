"""An assembled program: instructions whose maps are still names."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gotap.bpf import disasm
from gotap.bpf.isa import Instruction, pack
from gotap.errors import GotapError


class AssemblerError(GotapError):
    """The program cannot be expressed: an unknown label, an immediate or a distance that does not fit."""


class Relocation(Struct, frozen=True):
    """The LD_IMM64 at `index` loads the address of a map, or of `offset` bytes into its (first) value."""

    index: int
    map: str
    offset: int | None = None

    def text(self) -> str:
        return f"map[{self.map}]" + ("" if self.offset is None else f"+{self.offset}")


class Code(Struct, frozen=True):
    """An assembled program. `subprograms`: (index of the first instruction, label), ascending, without the program
    itself; `labels`: (index, label) of all labels, for listings."""

    instructions: tuple[Instruction, ...]
    relocations: tuple[Relocation, ...]
    subprograms: tuple[tuple[int, str], ...]
    labels: tuple[tuple[int, str], ...]

    def __len__(self) -> int:
        return len(self.instructions)

    @property
    def maps(self) -> frozenset[str]:
        """Names of the maps that `bytes` wants."""
        return frozenset(relocation.map for relocation in self.relocations)

    def bytes(self, maps: Mapping[str, int]) -> bytes:
        """What PROG_LOAD takes; `maps` gives each map's file descriptor."""
        instructions = list(self.instructions)
        for relocation in self.relocations:
            first = instructions[relocation.index]
            try:
                fd = maps[relocation.map]
            except KeyError:
                raise AssemblerError(f"the program uses a map that it was not given: {relocation.map}") from None
            instructions[relocation.index] = Instruction(first.opcode, first.dst, first.src, first.offset, fd)
        return pack(instructions)

    def listing(self) -> str:
        """The program as text with its labels and map names: what golden files hold."""
        return disasm.listing(self.instructions, {one.index: one.text() for one in self.relocations}, self.labels)
