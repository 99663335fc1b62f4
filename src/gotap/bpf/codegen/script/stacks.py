"""Stacks of goroutines by frame pointers, innermost first: the probed instruction, then return addresses.

Go keeps frame pointers on amd64 (since 1.7). A function's own stands between SP and its return address; where RBP
points elsewhere, it is not set yet, or not any more, and RBP is the caller's. Functions that the runtime runs on a
thread's own stack (systemstack, mcall, morestack), and those that C calls, go on where the goroutine stands: see
probe.script.stackwords.
A stack ends early, and visibly so to who knows that goroutines begin in runtime.goexit, where memory cannot be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.words import WordEmitter
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Helper, Reg
from gotap.probe.script.stackwords import Callback, StackWords

#: Frames of one stack, as for the kernel's own (PERF_MAX_STACK_DEPTH).
MOST_FRAMES = 127

_USER_STACK = 1 << 8  # BPF_F_USER_STACK


#: In a step of a loop, which has a stack of its own: what is read goes there, since reading is quickest so.
_IN_STEP = replace(script_frame.IN_FRAME, base=R10, read=-8, pair=-24)


class StackEmitter:
    """Emits walks for one program. R6 and R7 are kept, R8 and R9 lost.

    `registers`: R6 is struct pt_regs of the program at a Go instruction; else the kernel walks, which knows no change
    of stack. `sp_offset`: from SP at the site to the return address, None where that is not known. `has_loop`: walks
    are loops of bpf_loop, which the verifier walks once instead of once a frame; R7 is a script's frame, and
    `subprograms` places them behind the program.
    """

    def __init__(
        self,
        asm: Assembler,
        words: WordEmitter,
        stack_words: StackWords | None,
        sp_offset: int | None,
        *,
        registers: bool = True,
        has_loop: bool = False,
    ) -> None:
        self.asm = asm
        self.words = words
        self.stack_words = stack_words
        self.sp_offset = sp_offset
        self.registers = registers
        self.has_loop = has_loop
        self._steps: list[Callable[[], None]] = []  # of loops: subprograms that are still to be placed

    def subprograms(self) -> None:
        while self._steps:
            self._steps.pop()()

    def capture(self, frames: int, address: Callable[[Reg], None], fail: str) -> None:
        """At most `frames` addresses, 8 bytes each, to where `address` says; R0 = how many. Fails when there is none.

        `address` emits a pointer to there into the register it is given (R1 or R2); it may lose R1 to R3.
        """
        assert 0 < frames <= MOST_FRAMES
        if not self.registers:
            self.kernel_walk(frames, address, fail)
            return
        asm = self.asm
        asm.mov(R9, 0)
        asm.load(R0, R6, PT_REGS["rip"])
        self.push(address)
        if frames > 1:
            with contextlib.ExitStack() as stack:
                slots = [stack.enter_context(self.words.temporary()) for _ in range(7)]
                walk = _Walk(self, frames, address, slots)
                walk.emit(self._steps if self.has_loop else None)
        asm.mov(R0, R9)

    def kernel_walk(self, frames: int, address: Callable[[Reg], None], fail: str) -> None:
        asm = self.asm
        address(R2)
        asm.mov(R1, R6)
        asm.mov(R3, 8 * frames)
        asm.mov(R4, _USER_STACK)
        asm.call(Helper.GET_STACK)
        asm.jsle(R0, 0, fail)
        asm.rsh(R0, 3)

    def push(self, address: Callable[[Reg], None]) -> None:
        """The address in R0, which is kept, is the next frame; R9 counts them."""
        asm = self.asm
        address(R1)
        asm.mov(R2, R9)
        asm.lsh(R2, 3)
        asm.add(R1, R2)
        asm.store(R1, 0, R0)
        asm.add(R9, 1)


class _Walk:
    """One walk: R8 is the frame pointer to follow, R9 counts the frames. Slots: `floor`, below which no frame can be;
    `high`, where the stack ends; `crossed`, whether the walk has left a thread's own stack; `last`, the return address
    found last; `base`, `pointer` and `count` keep a frame pointer, R8 and R9.
    """

    def __init__(
        self, stacks: StackEmitter, frames: int, address: Callable[[Reg], None], slots: Sequence[int]
    ) -> None:
        self.stacks = stacks
        self.address = address
        self.slots = slots
        self.asm = stacks.asm
        self.words = stacks.words
        self.known = stacks.stack_words
        self.sp_offset = stacks.sp_offset
        self.frames = frames
        self.floor, self.high, self.crossed, self.last, self.base, self.pointer, self.count = slots
        self.push: Callable[[], None] = lambda: stacks.push(address)
        self.loop, self.left, self.done = (self.asm.new_label(name) for name in ("frame", "left", "walked"))

    def emit(self, steps: list[Callable[[], None]] | None) -> None:
        """`steps`: where the loop's body goes, None: it stands here."""
        self.start()
        if steps is None:
            self.asm.label(self.loop)
            self.step()
        else:
            self.call_loop(steps)
        self.asm.label(self.done)

    def call_loop(self, steps: list[Callable[[], None]]) -> None:
        asm, name = self.asm, self.asm.new_label("walk")
        inside = self.words.memory is not script_frame.ON_STACK
        state = script_frame.LOOP_STATE_INSIDE if inside else script_frame.LOOP_STATE
        self.keep()
        asm.store(R10, state, R6)
        asm.store(R10, state + 8, R7)
        asm.mov(R1, self.frames)
        asm.ld_func(R2, name)
        asm.mov(R3, R10)
        asm.add(R3, state)
        asm.mov(R4, 0)
        asm.call(Helper.LOOP)
        self.words.recall(R9, self.count)
        body = _Walk(self.stacks, self.frames, self.address, self.slots)
        steps.append(lambda: body.callback(name))

    def callback(self, name: str) -> None:
        """One step: (R1 round, R2 state) → R0 1 when the walk is at its end."""
        asm, memory = self.asm, self.words.memory
        self.words.memory = _IN_STEP
        asm.label(name)
        asm.load(R6, R2, 0)
        asm.load(R7, R2, 8)
        self.words.recall(R8, self.pointer)
        self.words.recall(R9, self.count)
        self.step()
        for label, result in ((self.loop, 0), (self.done, 1)):
            asm.label(label)
            self.keep()
            asm.mov(R0, result)
            asm.exit_()
        self.words.memory = memory

    def keep(self) -> None:
        self.words.keep(self.pointer, R8)
        self.words.keep(self.count, R9)

    def start(self) -> None:
        """R8 = the first frame pointer to follow; the function's own return address is taken."""
        asm = self.asm
        if self.known is not None:
            asm.mov(R0, 0)
            self.words.keep(self.crossed, R0)
            self.words.keep(self.last, R0)
            asm.load(R3, R6, PT_REGS["r14"])
            self.read(R3, self.known.high)
            self.words.keep(self.high, R0)
        asm.load(R8, R6, PT_REGS["rbp"])
        asm.load(R3, R6, PT_REGS["rsp"])
        if self.sp_offset:
            asm.add(R3, self.sp_offset)
        self.words.keep(self.floor, R3)
        if self.sp_offset is None:
            return
        self.read(R3, 0)
        self.words.keep(self.last, R0)
        self.push()
        callers = asm.new_label("callers")
        self.words.recall(R1, self.floor)
        asm.jge(R8, R1, callers)
        asm.load(R1, R6, PT_REGS["rsp"])
        asm.jlt(R8, R1, callers)
        self.read(R8, 0)
        asm.mov(R8, R0)
        asm.label(callers)

    def step(self) -> None:
        """R8 points to a saved frame pointer with the return address above it; goes on at `loop` or at `done`."""
        asm, memory = self.asm, self.words.memory
        asm.jge(R9, self.frames, self.done)
        self.words.recall(R1, self.floor)
        asm.jlt(R8, R1, self.left)
        if self.known is not None:
            self.words.recall(R1, self.high)
            asm.jge(R8, R1, self.left)
        self.read_pair()
        asm.load(R0, memory.base, memory.pair + 8)
        asm.jeq(R0, 0, self.left)
        self.words.keep(self.last, R0)
        self.push()
        if self.known is not None and self.known.callback is not None:
            self.follow_callback(self.known, self.known.callback)
        asm.add(R8, 16)
        self.words.keep(self.floor, R8)
        asm.load(R8, memory.base, memory.pair)
        asm.jump(self.loop)
        asm.label(self.left)
        if self.known is not None:
            self.cross(self.known)
        else:
            asm.jump(self.done)

    def cross(self, known: StackWords) -> None:
        """The chain has left the stack: on a thread's own stack (g0) it goes on where the goroutine stands."""
        asm, memory = self.asm, self.words.memory
        further, saved, ready = (asm.new_label(name) for name in ("further", "saved", "ready"))
        self.words.recall(R1, self.crossed)
        asm.jne(R1, 0, self.done)
        asm.mov(R1, 1)
        self.words.keep(self.crossed, R1)
        self.words.recall(R0, self.last)
        self.in_range(known.base, further)
        asm.jump(self.done)
        asm.label(further)
        asm.load(R3, R6, PT_REGS["r14"])
        self.read(R3, known.m)
        asm.mov(R8, R0)
        self.read(R8, known.g0)
        asm.load(R1, R6, PT_REGS["r14"])
        asm.jne(R0, R1, self.done)
        self.read(R8, known.curg)
        asm.jeq(R0, 0, self.done)
        asm.mov(R8, R0)
        for offset, slot in ((known.high, self.high), (known.sp, self.floor), (known.bp, self.base)):
            self.read(R8, offset)
            self.words.keep(slot, R0)
        self.read(R8, known.pc)
        self.words.recall(R8, self.base)
        asm.jeq(R0, 0, self.done)
        self.in_range(known.switch, saved)
        if known.switch_depth:  # systemstack has saved its caller's frame pointer, and set its own
            self.read_pair()
            asm.load(R0, memory.base, memory.pair + 8)
            asm.load(R8, memory.base, memory.pair)
        else:
            self.words.recall(R3, self.floor)  # SP points to its return address
            self.read(R3, 0)
        asm.jump(ready)
        asm.label(saved)
        self.push()
        self.words.recall(R0, self.last)
        self.in_range(known.grow, self.loop)
        asm.jge(R9, self.frames, self.done)
        self.words.recall(R3, self.floor)  # the stack grows in a prologue: SP points to the return address
        self.read(R3, 0)
        asm.label(ready)
        self.push()
        asm.jump(self.loop)

    def follow_callback(self, known: StackWords, callback: Callback) -> None:
        """R0 returns into cgocallback: its frame ends in the saved pc of whoever called C, by way of cgocall."""
        asm = self.asm
        other, own_thread = asm.new_label("go"), asm.new_label("c")
        self.in_range((callback.start, callback.end), other)
        asm.add(R8, 16 + callback.depth)
        self.read(R8, 0)
        self.in_range(known.switch, own_thread)
        asm.jge(R9, self.frames, self.done)
        asm.add(R8, 8 + callback.switch_depth)
        self.read(R8, 0)
        self.push()
        self.in_range((callback.caller_start, callback.caller_end), self.done)
        asm.add(R8, callback.caller_depth)
        self.words.keep(self.floor, R8)
        asm.jump(self.loop)
        asm.label(own_thread)  # which C started: what calls into Go there is made to look like goexit
        self.in_range(known.base, self.done)
        asm.jge(R9, self.frames, self.done)
        self.push()
        asm.jump(self.done)
        asm.label(other)

    def in_range(self, addresses: tuple[int, int], outside: str) -> None:
        """Jumps unless R0 is among the (unrelocated) addresses; one jump, since the verifier walks each. Loses R1, R2.
        """
        asm = self.asm
        asm.constant(R2, addresses[0] + self.words.bias)
        asm.mov(R1, R0)
        asm.sub(R1, R2)
        asm.jge(R1, addresses[1] - addresses[0], outside)

    def read(self, base: Reg, offset: int) -> None:
        """R0 = the word of the process at `base + offset`; where it cannot be read, the stack ends."""
        if base is not R3:
            self.asm.mov(R3, base)
        if offset:
            self.asm.add(R3, offset)
        self.words.read(8, self.done)

    def read_pair(self) -> None:
        """Two words at R8, to where pairs go."""
        asm, memory = self.asm, self.words.memory
        asm.mov(R3, R8)
        self.words.point(R1, memory.pair)
        asm.mov(R2, 16)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, self.done)
