"""Emit: columns, values and stacks go into the frame's record, and the record into the ring."""

from __future__ import annotations

from gotap.bpf.asm import AssemblerError
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.deep import DeepEmitter
from gotap.bpf.codegen.script.script_captures import ScriptCaptures
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.script_program import ScriptProgram
from gotap.bpf.codegen.script.scriptmaps import ScriptMapEmitter
from gotap.bpf.codegen.wake import wake_flags
from gotap.bpf.isa import R0, R1, R2, R3, R4, R7, R8, Helper, RingFlags
from gotap.probe.ir import Capture
from gotap.probe.script.record import EventFlags
from gotap.probe.script.routine import CaptureStack, CaptureValue, Emit

#: What an event changes of the header, besides the identity of a firing: saved before it, put back behind it.
_WORDS = (0, script_frame.field("present"), script_frame.field("weight"))


class EventEmitter:
    """Emits events of one program. R7 is the frame; R8 and R9 are lost.

    `deep`: None when no values are captured. `call`: the frame is a call's, whose header says all since its entry; else
    each event says when and where it is.
    """

    def __init__(
        self,
        program: ScriptProgram,
        captures: ScriptCaptures,
        maps: ScriptMapEmitter,
        deep: DeepEmitter | None,
        *,
        call: bool,
    ) -> None:
        self.program = program
        self.asm = program.asm
        self.captures = captures
        self.maps = maps
        self.deep = deep
        self.call = call

    def emit(self, emit: Emit) -> None:
        asm = self.asm
        for index, word in enumerate(_WORDS):
            asm.load(R1, R7, word)
            asm.store(R7, script_frame.SAVED + 8 * index, R1)
        if not self.call:
            self.program.identify()
        self.fill(emit.captures, emit.values, emit.stacks)
        asm.store(R7, script_frame.field("event"), emit.event, 1)
        if emit.epoch_of is not None:
            self.maps.epoch(emit.epoch_of)
            asm.store(R7, script_frame.field("weight"), R0, 4)
        self.send(emit.wake, stop=emit.stop and self.program.setting.stops)
        for index, word in enumerate(_WORDS):
            asm.load(R1, R7, script_frame.SAVED + 8 * index)
            asm.store(R7, word, R1)

    def fill(
        self, captures: tuple[Capture, ...], values: tuple[CaptureValue, ...], stacks: tuple[CaptureStack, ...]
    ) -> None:
        """Columns, then the values' own bytes, then what they lead to, behind what an earlier part of the call left."""
        late = self.deep is not None and self.call
        if self.deep is not None and (values or (late and (captures or stacks))):
            self.deep.open()
        for capture in captures:
            self.captures.capture(capture, shared=False)
        for stack in stacks:
            absent = self.asm.new_label("nostack")
            self.captures.stack(stack, absent)
            self.asm.label(absent)
        if self.deep is None:
            if values:
                raise AssemblerError("values are captured, and nothing is known of their types")
        elif values:
            self.deep.capture(values)
        elif late and (captures or stacks):
            self.deep.close()

    def send(self, wake: bool, *, stop: bool) -> None:
        """The record in the smallest size that holds it. The reader is woken when much waits, or when it should be."""
        asm, program = self.asm, self.program
        sized, lost, sent = asm.new_label("sized"), asm.new_label("lost"), asm.new_label("sent")
        largest = program.setting.record_size
        asm.load(R8, R7, script_frame.field("used"), 2)
        for size in script_frame.SIZES:
            if size < largest:
                asm.mov(R3, size)
                asm.jle(R8, size, sized)
        asm.mov(R3, largest)
        asm.label(sized)
        if wake:
            asm.store(R7, script_frame.READ, R3)
            asm.load(R3, R7, script_frame.READ)
            asm.mov(R4, int(RingFlags.FORCE_WAKEUP))
        else:
            wake_flags(asm, script_frame.IN_FRAME)
        asm.jgt(R3, largest, lost)  # it is not; so the verifier walks one way from here, not one for each size
        asm.ld_map(R1, script_frame.RING)
        asm.mov(R2, R7)
        asm.call(Helper.RINGBUF_OUTPUT)
        asm.jne(R0, 0, lost)
        if stop:
            asm.ld_map_value(R1, script_frame.STOPPED, 0)
            asm.store(R1, 0, 1)
        program.count(Counter.EVENTS)
        self.count_cuts(sent)
        asm.jump(sent)
        asm.label(lost)
        program.count(Counter.RING_FULL)
        asm.label(sent)

    def count_cuts(self, whole: str) -> None:
        """Counts an event from which something was left out; jumps to `whole` when nothing was."""
        asm, flags = self.asm, script_frame.field("flags")
        asm.load(R1, R7, flags, 1)
        asm.and_(R1, EventFlags.HEAP_FULL | EventFlags.DEPTH_CUT)
        asm.jeq(R1, 0, whole)
        for flag, counter in ((EventFlags.HEAP_FULL, Counter.HEAP_FULL), (EventFlags.DEPTH_CUT, Counter.DEPTH_CUT)):
            other = asm.new_label("cut")
            asm.load(R1, R7, flags, 1)
            asm.and_(R1, flag)
            asm.jeq(R1, 0, other)
            self.program.count(counter)
            asm.label(other)
