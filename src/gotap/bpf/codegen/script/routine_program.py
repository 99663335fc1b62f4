"""What the program of any routine is made of: statements, events, maps, stacks, deep values."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from gotap.bpf.asm import Code
from gotap.bpf.codegen.planner import Step
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.deep import DeepEmitter, DeepSetting
from gotap.bpf.codegen.script.events import EventEmitter
from gotap.bpf.codegen.script.keys import KeyEmitter, Scratch, TextSources
from gotap.bpf.codegen.script.script_captures import ScriptCaptures
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.script_program import ScriptProgram, steps_for
from gotap.bpf.codegen.script.script_roots import loops, roots
from gotap.bpf.codegen.script.scriptmaps import ScriptMapEmitter
from gotap.bpf.codegen.script.setting import ScriptSetting
from gotap.bpf.codegen.script.stacks import StackEmitter
from gotap.bpf.codegen.script.statements import StatementEmitter
from gotap.bpf.codegen.target import Place, Target
from gotap.bpf.isa import R7
from gotap.probe import ir
from gotap.probe.script.record import EventFlags
from gotap.probe.script.routine import Routine


class About(Struct, frozen=True):
    """The arguments of gotap.bpf.codegen.script.routines.generate_routine."""

    place: Place
    target: Target
    setting: ScriptSetting
    probe: int
    site: int | None
    registers: bool
    program: int


class RoutineProgram(ScriptProgram):
    """A program with what its statements need. `call`: its frame is a call's."""

    call = False

    def __init__(self, routine: Routine, about: About) -> None:
        setting, place = about.setting, about.place
        super().__init__(roots(routine), loops(routine), about.probe, place, about.target, setting, about.site)
        self.number = about.program
        stacks = StackEmitter(
            self.asm,
            self.words,
            setting.stack_words,
            place.sp_offset,
            registers=about.registers,
            has_loop=setting.has_loop,
        )
        self.stacks = stacks
        sources = TextSources(
            self.words.own_text,
            lambda text, fail: self.scriptmaps.stored_text(text, fail),
            setting.record_size,
            self.words.text_limit,
        )
        size = script_frame.KEY_BUFFER_SIZE + script_frame.VALUE_BUFFER_SIZE - 8
        scratch = Scratch(R7, script_frame.KEY_BUFFER, size)
        keys = KeyEmitter(self.asm, self.words, stacks, scratch, sources, about.target.number)
        specs = {spec.number: spec for spec in setting.maps}
        self.scriptmaps = ScriptMapEmitter(
            self.asm, self.words, keys, specs, lambda: self.count(Counter.MAP_FULL), setting.cpus
        )
        self.words.text = keys.text
        self.words.stored = self.scriptmaps.stored
        self.captures = ScriptCaptures(
            self.asm, self.words, self.gomaps, self.plan, self.heap_full, stacks, setting.record_size
        )
        self.words.prefetch = self.captures.prefetch
        self.deep = self.deep_emitter()
        self.events = EventEmitter(self, self.captures, self.scriptmaps, self.deep, call=self.call)
        self.statements = StatementEmitter(self, self.events, self.scriptmaps)

    def deep_emitter(self) -> DeepEmitter | None:
        """A callback of its own needs a slot of the stack, which a loop's body has hardly any of."""
        setting, values = self.setting, self.setting.values
        if values is None:
            return None
        slot = script_frame.LOOP_STATE if self.memory is script_frame.ON_STACK else script_frame.LOOP_STATE_INSIDE
        deep = DeepSetting(
            setting.record_size,
            script_frame.QUEUE,
            script_frame.FRAME_TAIL,
            slot,
            values.limits,
            self.target.bias,
            values.read_only,
            values.dynamic_first,
            values.dynamic_count,
            setting.has_loop,
        )
        return DeepEmitter(self.asm, self.words, deep)

    def heap_full(self) -> None:
        self.flag(EventFlags.HEAP_FULL)

    def condition(self, when: Sequence[ir.Word], steps: Sequence[Step], leave: str) -> None:
        """Reads what the predicate needs, jumps to `leave` unless it holds, and reads the rest of the steps."""
        first, later = steps_for(steps, when)
        for step in first:
            self.captures.prefetch(step)
        if when:
            false, holds = self.asm.new_label("false"), self.asm.new_label("holds")
            for word in when:
                self.words.require(word, false, false)
            self.asm.jump(holds)
            if self.asm.wanted(false):
                self.asm.label(false)
                self.count(Counter.FALSE)
                self.asm.jump(leave)
            self.asm.label(holds)
        for step in later:
            self.captures.prefetch(step)

    def clear_locals(self) -> None:
        for slot in sorted(self.locals):
            self.asm.store(R7, script_frame.LOCALS + 8 * slot, 0)

    def complete(self) -> Code:
        """The end of the program, and what it calls."""
        self.finish()
        self.subprograms()
        return self.asm.finish()

    def subprograms(self) -> None:
        self.statements.subprograms()
        self.stacks.subprograms()
        if self.deep is not None:
            self.deep.subprograms()
        super().subprograms()
