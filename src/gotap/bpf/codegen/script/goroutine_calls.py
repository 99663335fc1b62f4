"""The open calls of a goroutine: where each is kept.

A goroutine has one value of HEADS, with room for a few calls; those that find none there are entries of CALLS. So a
call costs a lookup at each end, and neither an insertion nor a deletion: the value stays until the goroutine ends, if
its end is seen, and otherwise until it has no open call. When half of all entries are taken, values without calls go at
once.

Only programs that run for a goroutine touch its value, and it runs one instruction at a time. A value that was deleted
may become another goroutine's at once: nobody keeps its address beyond that.
"""

from __future__ import annotations

from collections.abc import Iterator

from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.routine_program import RoutineProgram
from gotap.bpf.codegen.words import pack_key
from gotap.bpf.enums import Update
from gotap.bpf.isa import R0, R1, R2, R3, R4, R5, R6, R7, R8, R10, Helper, Reg
from gotap.probe.record import Layout

_FIND = "findcall"


def named(layout: Layout) -> int:
    """What stands for a layout where calls are named."""
    return layout.operation_id + 1


class GoroutineCallsProgram(RoutineProgram):
    """A program about calls. CALL_KEY of the frame names one, GOROUTINE_KEY its goroutine."""

    call = True
    #: On the stack: address of the goroutine's value of HEADS, or 0.
    head = frame.LINK + 8
    _wants_find = False

    # Maps

    def key(self, map: str, key: int) -> None:
        """R1 = the map, R2 = the key in the frame."""
        self.asm.ld_map(R1, map)
        self.asm.mov(R2, R7)
        self.asm.add(R2, key)

    def find(self, map: str, key: int) -> None:
        """R0 = the value, or 0."""
        self.key(map, key)
        self.asm.call(Helper.MAP_LOOKUP)

    def update(self, map: str, key: int, value: int, mode: Update) -> None:
        """R0 = 0 when the value in the frame has been put into the map."""
        asm = self.asm
        self.key(map, key)
        asm.mov(R3, R7)
        if value:
            asm.add(R3, value)
        asm.mov(R4, int(mode))
        asm.call(Helper.MAP_UPDATE)

    # The goroutine

    @property
    def keeps_heads(self) -> bool:
        """Whether goroutines keep their values until they end: that is where the unwinding of all calls is told."""
        return self.setting.unwinder and self.target.goid is not None

    def find_head(self) -> None:
        """R0 = the goroutine's value, or 0, while there is no frame. It is remembered where the verifier knows it for a
        pointer."""
        asm = self.asm
        asm.ld_map(R1, script_frame.HEADS)
        asm.mov(R2, R10)
        asm.add(R2, frame.ROW_KEY)
        asm.call(Helper.MAP_LOOKUP)
        asm.store(R10, self.head, R0)

    def have_head(self, full: str) -> None:
        """R8 = the goroutine's value, which is made if there was none; jumps to `full` when there is no room."""
        asm, found = self.asm, self.asm.new_label("head")
        asm.load(R8, R10, self.head)
        asm.jne(R8, 0, found)
        self.key(script_frame.HEADS, script_frame.GOROUTINE_KEY)
        asm.ld_map_value(R3, script_frame.HEAD_TEMPLATE)
        asm.mov(R4, int(Update.ANY))
        asm.call(Helper.MAP_UPDATE)
        asm.jne(R0, 0, full)
        if self.keeps_heads:
            self._count_heads(1)
        self.find(script_frame.HEADS, script_frame.GOROUTINE_KEY)
        asm.jeq(R0, 0, full)
        asm.mov(R8, R0)
        asm.store(R10, self.head, R8)
        asm.label(found)

    def forget_head(self) -> None:
        """The goroutine's value goes."""
        asm, none = self.asm, self.asm.new_label("gone")
        self.key(script_frame.HEADS, script_frame.GOROUTINE_KEY)
        asm.call(Helper.MAP_DELETE)
        if self.keeps_heads:
            asm.jne(R0, 0, none)
            self._count_heads(-1)
        asm.label(none)

    def forget_empty_head(self, head: Reg) -> None:
        """The goroutine's value goes if it has no open call and is not to stay."""
        asm, stays = self.asm, self.asm.new_label("stays")
        asm.load(R1, head, script_frame.HEAD_LAYOUT, 4)
        asm.jne(R1, 0, stays)
        if self.keeps_heads:
            asm.ld_map_value(R1, script_frame.HEAD_COUNT)
            asm.load(R2, R1, 0)
            asm.load(R3, R1, 8)
            asm.jle(R2, R3, stays)
        self.forget_head()
        asm.label(stays)

    def _count_heads(self, by: int) -> None:
        asm = self.asm
        asm.ld_map_value(R1, script_frame.HEAD_COUNT)
        asm.mov(R2, by)
        asm.atomic_add(R1, 0, R2)

    # One call

    def call_key(self, layout: Layout) -> None:
        """CALL_KEY = this goroutine's call of the layout at DEPTH."""
        asm, key = self.asm, script_frame.CALL_KEY
        asm.constant(R1, pack_key(self.target.number, layout.operation_id))
        asm.store(R7, key, R1)
        for source, offset in ((frame.ROW_KEY + 8, 8), (frame.DEPTH, 16)):
            asm.load(R1, R10, source)
            asm.store(R7, key + offset, R1)

    def innermost_key(self, base: Reg, key: int, goroutine: int) -> None:
        """The key at `base` + `key` = the call that R0, a value of HEADS, names as the innermost; `goroutine`: where
        from `base` the goroutine stands."""
        asm = self.asm
        asm.store(base, key, self.target.number, 4)
        asm.load(R1, R0, script_frame.HEAD_LAYOUT, 4)
        asm.sub(R1, 1)
        asm.store(base, key + 4, R1, 4)
        asm.load(R1, base, goroutine)
        asm.store(base, key + 8, R1)
        asm.load(R1, R0, script_frame.HEAD_DEPTH)
        asm.store(base, key + 16, R1)

    def find_call(self, key: int) -> None:
        """R0 = the call of a key in the frame, in the goroutine's value R2 or in CALLS, or 0."""
        asm = self.asm
        asm.mov(R1, R7)
        asm.add(R1, key)
        self._wants_find = True
        asm.call_subprogram(_FIND)

    def look_in_head(self, head: Reg, layout: Reg, depth: Reg, found: str) -> None:
        """Jumps to `found` with `head` = the call in this value of a goroutine. Loses R5, and `head` where it is not
        there."""
        asm, at = self.asm, 0
        for place in self._places():
            other = asm.new_label("other")
            asm.add(head, place - at)
            at = place
            asm.load(R5, head, script_frame.HERE_LAYOUT, 4)
            asm.jne(R5, layout, other)
            asm.load(R5, head, script_frame.HERE_DEPTH)
            asm.jeq(R5, depth, found)
            asm.label(other)

    def place_call(self, layout: Layout, full: str) -> None:
        """The call in the frame is open: in the goroutine's value R8, or in CALLS; jumps to `full` if neither has
        room."""
        asm = self.asm
        free, placed = asm.new_label("free"), asm.new_label("placed")
        inner = script_frame.LINK + script_frame.INNER_LAYOUT
        asm.load(R1, R10, frame.DEPTH)
        asm.store(R7, script_frame.LINK + script_frame.HERE_DEPTH, R1)
        asm.mov(R3, R8)
        for at in self._places():
            asm.load(R1, R8, at + script_frame.HERE_LAYOUT, 4)
            asm.add(R3, at if at == script_frame.HEAD_SIZE else self.setting.call_size)
            asm.jeq(R1, 0, free)
        asm.store(R7, inner, 0)
        self.update(script_frame.CALLS, script_frame.CALL_KEY, script_frame.LINK, Update.NOEXIST)
        asm.jne(R0, 0, full)
        asm.jump(placed)
        asm.label(free)
        asm.constant(R1, named(layout) << 32)  # one store each of what is read at once
        asm.store(R7, inner, R1)
        for offset in range(0, self.setting.call_size, 8):
            asm.load(R1, R7, script_frame.LINK + offset)
            asm.store(R3, offset, R1)
        asm.label(placed)

    def free_call(self) -> None:
        """The call of CALL_KEY at R8 is no more."""
        asm, entry, done = self.asm, self.asm.new_label("entry"), self.asm.new_label("freed")
        asm.load(R1, R8, script_frame.HERE_LAYOUT, 4)
        asm.jeq(R1, 0, entry)
        asm.store(R8, script_frame.HERE_LAYOUT, 0, 4)
        asm.jump(done)
        asm.label(entry)
        self.key(script_frame.CALLS, script_frame.CALL_KEY)
        asm.call(Helper.MAP_DELETE)
        asm.label(done)

    def _places(self) -> Iterator[int]:
        """Where calls stand in a value of HEADS."""
        size = self.setting.call_size
        return iter(range(script_frame.HEAD_SIZE, self.setting.head_size, size))

    def subprograms(self) -> None:
        super().subprograms()
        if self._wants_find:
            self._find()

    def _find(self) -> None:
        """Places find: (R1 key of a call, R2 its goroutine's value) → the call, or 0."""
        asm, found = self.asm, self.asm.new_label("found")
        asm.label(_FIND)
        asm.mov(R6, R1)
        asm.load(R3, R6, 4, 4)
        asm.add(R3, 1)
        asm.load(R4, R6, 16)
        asm.mov(R0, R2)
        self.look_in_head(R0, R3, R4, found)
        asm.ld_map(R1, script_frame.CALLS)
        asm.mov(R2, R6)
        asm.call(Helper.MAP_LOOKUP)
        asm.label(found)
        asm.exit_()
