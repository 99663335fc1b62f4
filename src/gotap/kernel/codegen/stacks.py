"""Stacks of goroutines by frame pointers, innermost first: the probed instruction, then return addresses.

Go keeps frame pointers on amd64 (since 1.7). Where a function's own is not pushed yet, or not any more, RBP is its
caller's, which shows by its place above the return address. Functions that the runtime runs on a thread's own stack
(systemstack, mcall), and those that C calls, go on where the goroutine stands: see probe.script.stackwords.
A stack ends early, and visibly so to who knows that goroutines begin in runtime.goexit, where memory cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable

from gotap.kernel.asm import Assembler
from gotap.kernel.codegen import frame
from gotap.kernel.isa import PT_REGS, R0, R1, R2, R3, R4, R6, R8, R9, R10, Helper, Reg
from gotap.probe.script.stackwords import Callback, StackWords

#: Frames of one stack, as for the kernel's own (PERF_MAX_STACK_DEPTH).
MOST_FRAMES = 127

#: State of a walk, offsets in the emitter's 56 bytes of stack.
_SAVED_R8, _SAVED_R9, _FLOOR, _HIGH, _OUT, _CROSSED, _BP = range(0, 56, 8)
STATE_SIZE = 56
_USER_STACK = 1 << 8  # BPF_F_USER_STACK


class StackEmitter:
    """Emits walks for one program; R6–R9 are kept.

    `state`: STATE_SIZE bytes of the program's stack. `registers`: R6 is struct pt_regs of the program at a Go
    instruction; else the kernel walks, which knows no change of stack. `sp_offset`: from SP at the site to the return
    address, None where that is not known.
    """

    def __init__(
        self,
        asm: Assembler,
        words: StackWords | None,
        bias: int,
        sp_offset: int | None,
        *,
        registers: bool = True,
        state: int = frame.LOOP,
    ) -> None:
        self.asm = asm
        self.words = words
        self.bias = bias
        self.sp_offset = sp_offset
        self.registers = registers
        self.state = state

    def capture(self, frames: int, address: Callable[[Reg], None], fail: str) -> None:
        """At most `frames` addresses, 8 bytes each, to where `address` says; R0 = how many. Fails when there is none.

        `address` puts a pointer into the register it is given, and may lose R0 to R5.
        """
        assert 0 < frames <= MOST_FRAMES
        if not self.registers:
            self.kernel_walk(frames, address, fail)
            return
        asm = self.asm
        labels = _Labels(asm)
        address(R1)
        asm.store(R10, self.state + _OUT, R1)
        asm.store(R10, self.state + _SAVED_R8, R8)
        asm.store(R10, self.state + _SAVED_R9, R9)
        asm.load(R2, R6, PT_REGS["rip"])
        asm.store(R1, 0, R2)
        asm.mov(R9, 1)
        if frames > 1:
            self.start(labels)
            self.walk(frames, labels)
        asm.label(labels.done)
        asm.mov(R0, R9)
        asm.load(R8, R10, self.state + _SAVED_R8)
        asm.load(R9, R10, self.state + _SAVED_R9)

    def kernel_walk(self, frames: int, address: Callable[[Reg], None], fail: str) -> None:
        asm = self.asm
        address(R2)
        asm.mov(R1, R6)
        asm.mov(R3, 8 * frames)
        asm.mov(R4, _USER_STACK)
        asm.call(Helper.GET_STACK)
        asm.jsle(R0, 0, fail)
        asm.rsh(R0, 3)

    def start(self, labels: _Labels) -> None:
        """R8 = the first frame pointer to follow; the function's own return address is taken."""
        asm = self.asm
        asm.store(R10, self.state + _CROSSED, 0)
        if self.words is not None:
            asm.load(R3, R6, PT_REGS["r14"])
            self.read(R3, self.words.high, labels.done)
            asm.store(R10, self.state + _HIGH, R0)
        asm.load(R8, R6, PT_REGS["rbp"])
        asm.load(R3, R6, PT_REGS["rsp"])
        if self.sp_offset:
            asm.add(R3, self.sp_offset)
        asm.store(R10, self.state + _FLOOR, R3)
        if self.sp_offset is None:
            return
        self.read(R3, 0, labels.done)
        self.push()
        callers = asm.new_label("callers")
        asm.load(R1, R10, self.state + _FLOOR)
        asm.jge(R8, R1, callers)
        self.read(R8, 0, labels.done)
        asm.mov(R8, R0)
        asm.label(callers)

    def walk(self, frames: int, labels: _Labels) -> None:
        """R8 points to a saved frame pointer with the return address above it; R9 frames are there."""
        asm, words = self.asm, self.words
        asm.label(labels.loop)
        asm.jge(R9, frames, labels.done)
        asm.load(R1, R10, self.state + _FLOOR)
        asm.jlt(R8, R1, labels.left)
        if words is not None:
            asm.load(R1, R10, self.state + _HIGH)
            asm.jge(R8, R1, labels.left)
        self.read_pair(R8, 0, labels.done)
        asm.load(R0, R10, frame.PAIR + 8)
        asm.jeq(R0, 0, labels.left)
        self.push()
        if words is not None and words.callback is not None:
            self.follow_callback(words, words.callback, frames, labels)
        asm.mov(R1, R8)
        asm.add(R1, 16)
        asm.store(R10, self.state + _FLOOR, R1)
        asm.load(R8, R10, frame.PAIR)
        asm.jump(labels.loop)
        asm.label(labels.left)
        if words is not None:
            self.cross(words, labels)

    def cross(self, words: StackWords, labels: _Labels) -> None:
        """The chain has left the stack: on a thread's own stack (g0) it goes on where the goroutine stands."""
        asm = self.asm
        saved = asm.new_label("saved")
        asm.load(R1, R10, self.state + _CROSSED)
        asm.jne(R1, 0, labels.done)
        asm.store(R10, self.state + _CROSSED, 1)
        asm.load(R3, R6, PT_REGS["r14"])
        self.read(R3, words.m, labels.done)
        asm.mov(R8, R0)
        self.read(R8, words.g0, labels.done)
        asm.load(R1, R6, PT_REGS["r14"])
        asm.jne(R0, R1, labels.done)
        self.read(R8, words.curg, labels.done)
        asm.jeq(R0, 0, labels.done)
        asm.mov(R8, R0)
        for offset, place in ((words.high, _HIGH), (words.sp, _FLOOR), (words.bp, _BP)):
            self.read(R8, offset, labels.done)
            asm.store(R10, self.state + place, R0)
        self.read(R8, words.pc, labels.done)
        asm.load(R8, R10, self.state + _BP)
        asm.jeq(R0, 0, labels.done)
        self.in_range(words.switch, saved)
        asm.load(R3, R10, self.state + _FLOOR)  # systemstack has no frame: SP points to the return address
        self.read(R3, 0, labels.done)
        asm.label(saved)
        self.push()
        asm.jump(labels.loop)

    def follow_callback(self, words: StackWords, callback: Callback, frames: int, labels: _Labels) -> None:
        """R0 returns into cgocallback: its frame ends in the saved pc of whoever called C, by way of cgocall."""
        asm, other = self.asm, self.asm.new_label("go")
        self.in_range((callback.start, callback.end), other)
        asm.add(R8, 16 + callback.depth)
        self.read_pair(R8, 0, labels.done)
        asm.load(R0, R10, frame.PAIR)
        self.in_range(words.switch, labels.done)  # else C called on a thread of its own
        asm.jge(R9, frames, labels.done)
        asm.load(R0, R10, frame.PAIR + 8)  # asmcgocall has no frame either
        self.push()
        self.in_range((callback.caller_start, callback.caller_end), labels.done)
        asm.add(R8, 8 + callback.caller_depth)
        asm.store(R10, self.state + _FLOOR, R8)
        asm.jump(labels.loop)
        asm.label(other)

    def push(self) -> None:
        """The address in R0 is the next frame. Loses R1, R2."""
        asm = self.asm
        asm.load(R1, R10, self.state + _OUT)
        asm.mov(R2, R9)
        asm.lsh(R2, 3)
        asm.add(R1, R2)
        asm.store(R1, 0, R0)
        asm.add(R9, 1)

    def in_range(self, addresses: tuple[int, int], outside: str) -> None:
        """Jumps unless R0 is among the (unrelocated) addresses. Loses R1."""
        asm = self.asm
        asm.constant(R1, addresses[0] + self.bias)
        asm.jlt(R0, R1, outside)
        asm.constant(R1, addresses[1] + self.bias)
        asm.jge(R0, R1, outside)

    def read(self, base: Reg, offset: int, fail: str) -> None:
        """R0 = the word of the process at `base + offset`."""
        self._read(base, offset, frame.READ, 8, fail)
        self.asm.load(R0, R10, frame.READ)

    def read_pair(self, base: Reg, offset: int, fail: str) -> None:
        self._read(base, offset, frame.PAIR, 16, fail)

    def _read(self, base: Reg, offset: int, place: int, size: int, fail: str) -> None:
        asm = self.asm
        if base is not R3:
            asm.mov(R3, base)
        if offset:
            asm.add(R3, offset)
        asm.mov(R1, R10)
        asm.add(R1, place)
        asm.mov(R2, size)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, fail)


class _Labels:
    def __init__(self, asm: Assembler) -> None:
        self.loop, self.left, self.done = (asm.new_label(name) for name in ("frame", "left", "walked"))
