"""Calls: what is kept from a function's entry to its return.

The open calls of a goroutine are chained, innermost first: its value of HEADS names the innermost, each call the one
outside of it. Calls are found by goroutine, layout and depth (stack.hi − SP at the entry), so recursion, growing stacks
and changes of thread do not matter.

As many probes as follow a function, as many calls are open at one depth. They return in any order, so each also names
the one inside of it at its depth; and whatever is deeper has been given up before a call returns.
"""

from __future__ import annotations

from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.goroutine_calls import GoroutineCallsProgram
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Helper, Reg

_POP = "pop"


class CallProgram(GoroutineCallsProgram):
    """A program about calls in their chain."""

    #: How many of the maps of what is kept calls of this program may be in.
    classes = 0
    _wants_pop = False

    # Calls that are over

    def end_deeper(self, *, entering: bool) -> None:
        """Calls deeper than this one that are still open ended without anybody seeing it: the unwinder gives them up,
        and starts this program once more. There is no frame yet. The goroutine's value is remembered.

        `entering`: neither is there a call of another function at this very depth any more.
        """
        asm = self.asm
        self.find_head()
        if not self.setting.unwinder:
            return
        clean, deeper, over = asm.new_label("clean"), asm.new_label("deeper"), asm.new_label("over")
        asm.jeq(R0, 0, clean)
        asm.load(R1, R0, script_frame.HEAD_DEPTH)
        asm.load(R2, R10, frame.DEPTH)
        asm.jgt(R1, R2, deeper)
        if not entering:
            asm.jump(clean)
        else:
            asm.jne(R1, R2, clean)
            self.entered_elsewhere(clean)
            asm.load(R0, R10, self.head)
            asm.load(R2, R10, frame.DEPTH)
            asm.sub(R2, 1)
            asm.jne(R0, 0, over)
            asm.jump(clean)
        asm.label(deeper)
        asm.label(over)
        asm.store(R0, script_frame.HEAD_LIMIT, R2)
        asm.store(R0, script_frame.HEAD_RESUME, 1 + self.number)
        asm.mov(R1, R6)
        asm.ld_map(R2, script_frame.UNWINDERS)
        asm.mov(R3, 0)
        asm.call(Helper.TAIL_CALL)  # it returns only when there is none, or after too many
        asm.label(clean)

    def entered_elsewhere(self, here: str) -> None:
        """R0 is the goroutine's value: jumps to `here` if its innermost call was entered where this program runs."""
        asm = self.asm
        found = asm.new_label("innermost")
        asm.mov(R8, R0)
        asm.load(R3, R8, script_frame.HEAD_LAYOUT, 4)
        asm.load(R4, R8, script_frame.HEAD_DEPTH)
        asm.mov(R0, R8)
        self.look_in_head(R0, R3, R4, found)
        asm.mov(R0, R8)
        self.innermost_key(R10, frame.SCOPE_KEY, frame.ROW_KEY + 8)
        asm.ld_map(R1, script_frame.CALLS)
        asm.mov(R2, R10)
        asm.add(R2, frame.SCOPE_KEY)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, here)
        asm.label(found)
        asm.load(R1, R0, script_frame.ENTRY_IP)
        asm.load(R2, R6, PT_REGS["rip"])
        asm.jeq(R1, R2, here)

    # One call

    def take(self) -> None:
        """The frame becomes what was kept of the call at R8, and the call is closed."""
        asm = self.asm
        for offset in range(0, self.setting.call_size, 8):
            asm.load(R1, R8, offset)
            asm.store(R7, script_frame.LINK + offset, R1)
        if self.classes:
            self.take_kept()
        self.pop()

    def take_kept(self) -> None:
        asm = self.asm
        taken, lost = asm.new_label("taken"), asm.new_label("lost")
        asm.load(R9, R7, script_frame.LINK + script_frame.KEPT_CLASS, 2)
        asm.jeq(R9, 0, taken)
        for number, size in enumerate(self.setting.kept_sizes[: self.classes], 1):
            other, fits = asm.new_label("class"), asm.new_label("fits")
            asm.jne(R9, number, other)
            self.find(f"{script_frame.KEPT}{number}", script_frame.CALL_KEY)
            asm.jeq(R0, 0, lost)
            asm.mov(R3, R0)
            asm.mov(R1, R7)
            asm.load(R2, R7, script_frame.field("used"), 2)
            asm.jle(R2, size, fits)
            asm.mov(R2, size)
            asm.label(fits)
            asm.call(Helper.PROBE_READ_KERNEL)
            asm.jump(taken)
            asm.label(other)
        asm.label(lost)
        asm.store(R7, script_frame.field("present"), 0)
        asm.label(taken)

    def delete_kept(self) -> None:
        """What is kept of the call of CALL_KEY goes; R1 is its class."""
        asm, done = self.asm, self.asm.new_label("deleted")
        asm.jeq(R1, 0, done)
        for number in range(1, 1 + self.classes):
            other = asm.new_label("class")
            asm.jne(R1, number, other)
            self.key(f"{script_frame.KEPT}{number}", script_frame.CALL_KEY)
            asm.call(Helper.MAP_DELETE)
            asm.jump(done)
            asm.label(other)
        asm.label(done)

    def beside(self, head: Reg) -> None:
        """R0 = this goroutine's call of the layout in R1 at the depth of CALL_KEY, or 0; `head`: its value."""
        asm, key, walk = self.asm, script_frame.CALL_KEY, script_frame.WALK_KEY
        asm.store(R7, walk, self.target.number, 4)
        asm.sub(R1, 1)
        asm.store(R7, walk + 4, R1, 4)
        for offset in (8, 16):
            asm.load(R1, R7, key + offset)
            asm.store(R7, walk + offset, R1)
        asm.mov(R2, head)
        self.find_call(walk)

    def pop(self) -> None:
        """Closes the call of CALL_KEY, which is at R8: it leaves the chain, and what was kept of it goes."""
        asm, whole = self.asm, self.asm.new_label("whole")
        asm.mov(R1, R7)
        asm.mov(R2, R8)
        asm.load(R3, R10, self.head)
        self._wants_pop = True
        asm.call_subprogram(_POP)
        asm.jeq(R0, 0, whole)
        self.count(Counter.STALE)
        asm.label(whole)

    def subprograms(self) -> None:
        if self._wants_pop:
            self._pop()
        super().subprograms()

    def _pop(self) -> None:
        """Places pop: (R1 frame, R2 call, R3 its goroutine's value) → 1 if the chain has lost calls, else 0."""
        asm = self.asm
        unlinked, inside = asm.new_label("unlinked"), asm.new_label("inside")
        asm.label(_POP)
        asm.mov(R7, R1)
        asm.mov(R8, R2)
        asm.mov(R9, R3)
        asm.mov(R6, 0)
        self._unlink_outer()
        asm.load(R1, R8, script_frame.INNER_LAYOUT, 4)
        asm.jne(R1, 0, inside)
        self._leave_head(unlinked)
        asm.jump(unlinked)
        asm.label(inside)
        self.beside(R9)
        asm.mov(R6, 1)
        asm.jeq(R0, 0, unlinked)
        asm.mov(R6, 0)
        asm.load(R1, R8, script_frame.OUTER_LAYOUT, 4)
        asm.store(R0, script_frame.OUTER_LAYOUT, R1, 4)
        asm.load(R1, R8, script_frame.OUTER_DEPTH)
        asm.store(R0, script_frame.OUTER_DEPTH, R1)
        asm.label(unlinked)
        if self.classes:
            asm.load(R1, R8, script_frame.KEPT_CLASS, 2)
            self.delete_kept()
        self.free_call()
        self.forget_empty_head(R9)
        asm.mov(R0, R6)
        asm.exit_()

    def _unlink_outer(self) -> None:
        """The call outside of the one at R8, if it is at the same depth, gets the one inside of it."""
        asm = self.asm
        done = asm.new_label("outer")
        asm.load(R1, R8, script_frame.OUTER_LAYOUT, 4)
        asm.jeq(R1, 0, done)
        asm.load(R2, R8, script_frame.OUTER_DEPTH)
        asm.load(R3, R7, script_frame.CALL_KEY + 16)
        asm.jne(R2, R3, done)
        self.beside(R9)
        asm.jeq(R0, 0, done)
        asm.load(R1, R8, script_frame.INNER_LAYOUT, 4)
        asm.store(R0, script_frame.INNER_LAYOUT, R1, 4)
        asm.label(done)

    def _leave_head(self, unlinked: str) -> None:
        """The chain at R9 begins with the call outside of the one at R8, if there is any.

        If calls deeper than this one were too many to be given up, the chain goes on without them.
        """
        asm = self.asm
        mine = asm.new_label("mine")
        asm.load(R1, R9, script_frame.HEAD_DEPTH)
        asm.load(R2, R7, script_frame.CALL_KEY + 16)
        asm.mov(R6, 1)
        asm.jgt(R1, R2, mine)
        asm.mov(R6, 0)
        asm.jne(R1, R2, unlinked)
        asm.load(R1, R9, script_frame.HEAD_LAYOUT, 4)
        asm.load(R2, R7, script_frame.CALL_KEY + 4, 4)
        asm.add(R2, 1)
        asm.jne(R1, R2, unlinked)
        asm.label(mine)
        asm.load(R1, R8, script_frame.OUTER_LAYOUT, 4)
        asm.store(R9, script_frame.HEAD_LAYOUT, R1, 4)
        asm.load(R1, R8, script_frame.OUTER_DEPTH)
        asm.store(R9, script_frame.HEAD_DEPTH, R1)
