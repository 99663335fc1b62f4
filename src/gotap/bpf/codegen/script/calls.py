"""Calls of functions, at their entries and returns."""

from __future__ import annotations

from gotap.bpf.asm import Code
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.call_chains import CallProgram
from gotap.bpf.codegen.script.goroutine_calls import named
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.enums import Update
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R3, R6, R7, R8, R10, Helper
from gotap.probe.record import Layout
from gotap.probe.script.routine import Ended, Enter, Leave


class EnterProgram(CallProgram):
    """A call begins."""

    def generate(self, routine: Enter) -> Code:
        self.classes = self.setting.kept_classes(routine.layout.operation_id)
        self.start()
        self.counters()
        self.goroutine("lost", depth=True)
        self.end_deeper(entering=True)
        if self.setting.thinning:
            self.thin()
        self.count(Counter.HITS)
        self.claim()
        self.keys()
        self.header(routine.layout)
        if self.setting.thinning:
            self.weigh()
        self.condition(routine.when, self.steps, "release")
        if routine.captures or routine.values or routine.stacks:
            self.events.fill(routine.captures, routine.values, routine.stacks)
        self.identify()
        self.open(routine.layout)
        self.lost()
        return self.complete()

    def lost(self) -> None:
        asm = self.asm
        asm.jump("release")
        if asm.wanted("lost"):
            asm.label("lost")
            self.count(Counter.NO_GOROUTINE)
            asm.jump("exit")

    def open(self, layout: Layout) -> None:
        """The frame's record becomes an open call, the innermost of its goroutine."""
        asm = self.asm
        full, new, opened = asm.new_label("full"), asm.new_label("new"), asm.new_label("opened")
        self.call_key(layout)
        asm.load(R1, R6, PT_REGS["rip"])
        asm.store(R7, script_frame.LINK + script_frame.ENTRY_IP, R1)
        self.have_head(full)
        self.link()
        if self.setting.unwinder:  # nothing deeper is open, unless it was too much
            asm.load(R1, R8, script_frame.HEAD_DEPTH)
            asm.load(R2, R10, frame.DEPTH)
            asm.jlt(R1, R2, new)
        asm.mov(R2, R8)
        self.find_call(script_frame.CALL_KEY)
        asm.jeq(R0, 0, new)
        self.replace()
        asm.jump(opened)
        asm.label(new)
        self.place_call(layout, full)
        if self.classes:
            self.keep_new(full)
        self.name(layout)
        asm.jump(opened)
        asm.label(full)
        self.count(Counter.CALLS_FULL)
        asm.label(opened)

    def keep_new(self, full: str) -> None:
        """What was captured of a call that has just been placed is kept; else the call goes, too."""
        asm, kept, unkept = self.asm, self.asm.new_label("kept"), self.asm.new_label("unkept")
        self.keep(unkept)
        asm.jump(kept)
        asm.label(unkept)
        asm.mov(R2, R8)
        self.find_call(script_frame.CALL_KEY)
        asm.jeq(R0, 0, full)
        asm.mov(R8, R0)
        self.free_call()
        asm.load(R8, R10, self.head)
        self.forget_empty_head(R8)
        asm.jump(full)
        asm.label(kept)

    def replace(self) -> None:
        """R0 is an earlier call of this key, whose end was missed: this one takes its place in the chain."""
        asm, kept, unkept = self.asm, self.asm.new_label("kept"), self.asm.new_label("unkept")
        asm.mov(R8, R0)
        self.count(Counter.STALE)
        if not self.classes:
            self.replace_words()
            return
        asm.load(R1, R8, script_frame.KEPT_CLASS, 2)
        self.delete_kept()
        self.replace_words()
        self.keep(unkept)
        asm.jump(kept)
        asm.label(unkept)
        asm.store(R8, script_frame.KEPT_CLASS, 0, 2)
        self.count(Counter.CALLS_FULL)
        asm.label(kept)

    def replace_words(self) -> None:
        """All but the names of calls, which stay."""
        asm = self.asm
        asm.load(R1, R7, script_frame.LINK + script_frame.KEPT_CLASS, 4)
        asm.store(R8, script_frame.KEPT_CLASS, R1, 4)
        whole = range(script_frame.CALL_HEADER, self.setting.call_size, 8)
        for offset in (script_frame.ENTRY_IP, *whole):
            asm.load(R1, R7, script_frame.LINK + offset)
            asm.store(R8, offset, R1)

    def link(self) -> None:
        """The call outside of this one is the innermost so far, of the goroutine's value R8; how much is kept of this
        one, and for whom it is followed."""
        asm = self.asm
        asm.load(R3, R8, script_frame.HEAD_LAYOUT, 4)
        self.kept_class()
        asm.lsh(R1, 32)
        asm.or_(R3, R1)
        asm.constant(R1, self.probe << 48)
        asm.or_(R3, R1)
        asm.store(R7, script_frame.LINK + script_frame.OUTER_LAYOUT, R3)
        asm.load(R1, R8, script_frame.HEAD_DEPTH)
        asm.store(R7, script_frame.LINK + script_frame.OUTER_DEPTH, R1)

    def kept_class(self) -> None:
        """R1 = in which of the maps of what is kept this call will be."""
        asm, chosen = self.asm, self.asm.new_label("class")
        asm.mov(R1, 0)
        if self.classes:
            asm.load(R2, R7, script_frame.field("used"), 2)
            asm.jle(R2, self.setting.call_record, chosen)
            for number, size in enumerate(self.setting.kept_sizes[: self.classes], 1):
                asm.mov(R1, number)
                asm.jle(R2, size, chosen)
        asm.label(chosen)

    def keep(self, full: str) -> None:
        """What was captured goes to the map of its class."""
        asm, done = self.asm, self.asm.new_label("kept")
        for number in range(1, 1 + self.classes):
            other = asm.new_label("class")
            asm.load(R1, R7, script_frame.LINK + script_frame.KEPT_CLASS, 2)
            asm.jne(R1, number, other)
            self.update(f"{script_frame.KEPT}{number}", script_frame.CALL_KEY, 0, Update.ANY)
            asm.jne(R0, 0, full)
            asm.jump(done)
            asm.label(other)
        asm.label(done)

    def name(self, layout: Layout) -> None:
        """The chain of the goroutine's value R8 begins with this call."""
        asm, done = self.asm, self.asm.new_label("named")
        asm.store(R8, script_frame.HEAD_LAYOUT, named(layout), 4)
        asm.load(R1, R10, frame.DEPTH)
        asm.store(R8, script_frame.HEAD_DEPTH, R1)
        asm.load(R2, R7, script_frame.LINK + script_frame.OUTER_DEPTH)
        asm.jne(R1, R2, done)
        asm.load(R1, R7, script_frame.LINK + script_frame.OUTER_LAYOUT, 4)
        self.beside(R8)
        asm.jeq(R0, 0, done)
        asm.store(R0, script_frame.INNER_LAYOUT, named(layout), 4)
        asm.label(done)


class LeaveProgram(CallProgram):
    """A call returns."""

    def generate(self, routine: Leave) -> Code:
        asm, layout = self.asm, routine.layout
        self.classes = self.setting.kept_classes(layout.operation_id)
        self.words.moment = "return"
        self.start()
        self.counters()
        self.goroutine("lost", depth=True)
        self.end_deeper(entering=False)
        self.claim()
        self.keys()
        self.call_key(layout)
        asm.load(R2, R10, self.head)
        asm.jeq(R2, 0, "unpaired")
        self.find_call(script_frame.CALL_KEY)
        asm.jeq(R0, 0, "unpaired")
        asm.mov(R8, R0)
        self.take()
        if self.setting.timed:
            asm.call(Helper.KTIME_GET_NS)
            asm.store(R7, script_frame.field("end"), R0)
        asm.store(R7, script_frame.field("ended"), int(Ended.RETURN), 1)
        self.clear_locals()
        self.condition(routine.when, self.steps, "release")
        self.statements.body(routine.body)
        asm.jump("release")
        asm.label("unpaired")
        if layout.operation_id not in self.setting.filtered:
            self.count_unpaired()
        asm.jump("release")
        if asm.wanted("lost"):
            asm.label("lost")
            self.count(Counter.NO_GOROUTINE)
            asm.jump("exit")
        return self.complete()

    def count_unpaired(self) -> None:
        """A call that began before the attach; where firings are thinned it may just not have been taken."""
        asm = self.asm
        if not self.setting.thinning:
            self.count(Counter.UNPAIRED)
            return
        whole = asm.new_label("whole")
        self.thinned(whole)
        asm.jump("release")
        asm.label(whole)
        self.count(Counter.UNPAIRED)
