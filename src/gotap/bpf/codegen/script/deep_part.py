"""What the parts of a round of deep captures share (gotap.bpf.codegen.script.deep_steps)."""

from __future__ import annotations

import numpy as np

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen.script import deep_memory as memory
from gotap.bpf.codegen.script.deep_memory import DeepSetting
from gotap.bpf.isa import R1, R2, R3, R6, R7, R8, R9, Reg
from gotap.probe.shapes_table import POINTER, PointerFlags

#: The subprogram that copies.
COPY = "deep.copy"


def at(table: np.dtype[np.void], name: str) -> int:
    """Offset of a column in a row."""
    assert table.fields is not None
    return int(table.fields[name][1])


class Part:
    """Emits a part of the round. Parts lead to each other by labels: `deep.next` ends the round, `deep.cut` also tells
    that it went no further, `deep.push` notes the new piece, `deep.values`, `deep.head` and `deep.bytes` copy it.
    """

    def __init__(self, asm: Assembler, setting: DeepSetting) -> None:
        self.asm = asm
        self.setting = setting
        self.scratch = setting.scratch

    def get(self, register: Reg, place: int) -> None:
        self.asm.load(register, R7, self.scratch + place)

    def put(self, place: int, value: Reg | int) -> None:
        self.asm.store(R7, self.scratch + place, value)

    def second(self, register: Reg) -> None:
        """The word behind the pointer, if it was taken. Loses R1, R3."""
        asm = self.asm
        self.get(R1, memory.AT)
        asm.add(R1, 16)
        self.get(R3, memory.END)
        asm.jgt(R1, R3, "deep.next")
        asm.load(register, R6, 8)

    def values(self, most: int | None = None) -> None:
        """R2 values of shape R1, of which `most` are taken, are at R9."""
        self.put(memory.LENGTH, R2)
        self.put(memory.MOST, self.setting.element_limit if most is None else most)
        self.asm.jump("deep.values")

    def deeper(self, cut: str) -> None:
        """NEW_DEPTH = one step more, unless it is free; else goes to `cut`. Keeps R0 and R3 to R5."""
        asm = self.asm
        free = asm.new_label("free")
        self.get(R1, memory.DEPTH)
        asm.load(R2, R8, at(POINTER, "flags"), 1)
        asm.jset(R2, PointerFlags.FREE, free)
        asm.mov(R2, R1)
        asm.and_(R2, memory.CHAIN_STEP - 1)
        asm.jgt(R2, min(self.setting.limits.depth, memory.DEEPEST), cut)
        asm.add(R1, 1)
        asm.label(free)
        self.put(memory.NEW_DEPTH, R1)

    def skip_read_only(self, there: str) -> None:
        """Goes there when R9 lies in memory that the executable tells of. Loses R1, R2."""
        asm = self.asm
        for start, end in self.setting.read_only:
            asm.mov(R1, R9)
            asm.constant(R2, start + self.setting.bias)
            asm.sub(R1, R2)
            asm.constant(R2, end - start)
            asm.jlt(R1, R2, there)
