"""Records that outgrow their rows: texts without room there go to a whole record in the spill map, of the same key.

Texts there begin behind the first part and 8 bytes more, so `used` tells whether there is such a record. When it is
sent, the row is copied to its front; few records take that way.
"""

from __future__ import annotations

from collections.abc import Callable

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.isa import R0, R1, R2, R3, R4, R6, R7, R8, R10, Helper

_ROOM, _WHOLE = "spill", "whole"
_START = frame.FIRST_PART + 8


class SpillEmitter:
    """Emits for one program what deals with such records; R7 is the row of ROW_KEY."""

    def __init__(self, asm: Assembler, heap_full: Callable[[], None]) -> None:
        self.asm = asm
        self.heap_full = heap_full
        self._wanted: set[str] = set()

    def room(self, limit: int, fail: str) -> None:
        """R1 = the whole record, R8 = where a text of up to `limit` bytes goes; keeps R3. Fails when it is full."""
        asm = self.asm
        self._wanted.add(_ROOM)
        behind, full, room = asm.new_label("behind"), asm.new_label("full"), asm.new_label("room")
        asm.jge(R8, _START, behind)
        asm.mov(R8, _START)
        asm.label(behind)
        asm.jgt(R8, frame.RECORD_SIZE - limit, full)
        asm.store(R10, frame.READ, R3)
        self._call(_ROOM)
        asm.jne(R0, 0, room)
        asm.label(full)
        self.heap_full()
        asm.jump(fail)
        asm.label(room)
        asm.store(R7, frame.field("used"), R8, 2)
        asm.load(R3, R10, frame.READ)
        asm.mov(R1, R0)

    def whole(self, lost: str) -> None:
        """R0 = the whole record, complete; without one, jumps to `lost`."""
        self._wanted.add(_WHOLE)
        self._call(_WHOLE)
        self.asm.jeq(R0, 0, lost)

    def delete(self) -> None:
        """Gives the record back."""
        asm = self.asm
        asm.ld_map(R1, frame.SPILL)
        asm.mov(R2, R10)
        asm.add(R2, frame.ROW_KEY)
        asm.call(Helper.MAP_DELETE)

    def _call(self, name: str) -> None:
        asm = self.asm
        asm.mov(R1, R10)
        asm.add(R1, frame.ROW_KEY)
        asm.mov(R2, R7)
        asm.call_subprogram(name)

    def subprograms(self) -> None:
        """Places what was called: (R1 row's key, R2 row) → R0 whole record or 0."""
        asm = self.asm
        if _ROOM in self._wanted:
            there = asm.new_label("there")
            asm.label(_ROOM)
            asm.mov(R6, R1)
            self._lookup()
            asm.jne(R0, 0, there)
            asm.ld_map(R1, frame.SPILL)
            asm.mov(R2, R6)
            asm.ld_map_value(R3, frame.SPILL_TEMPLATE)
            asm.mov(R4, 0)
            asm.call(Helper.MAP_UPDATE)
            self._lookup()
            asm.label(there)
            asm.exit_()
        if _WHOLE in self._wanted:
            none = asm.new_label("none")
            asm.label(_WHOLE)
            asm.mov(R6, R1)
            asm.mov(R8, R2)
            self._lookup()
            asm.jeq(R0, 0, none)
            for offset in range(0, frame.FIRST_PART, 8):
                asm.load(R1, R8, offset)
                asm.store(R0, offset, R1)
            asm.label(none)
            asm.exit_()

    def _lookup(self) -> None:
        asm = self.asm
        asm.ld_map(R1, frame.SPILL)
        asm.mov(R2, R6)
        asm.call(Helper.MAP_LOOKUP)
